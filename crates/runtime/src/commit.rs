//! One batch, from decoding to publishing: it is transacted as often as it takes, and in
//! parts where one of its inputs is poison.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use contracts::{DecodeError, ErrorCode, Message, Poison, TraceContext, headers};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::batch::{Batch, Origin, UNDECODABLE, kind_of, refused_by_database};
use crate::calls::Call;
use crate::dlq::dead_letter;
use crate::failpoint::{Point, reach};
use crate::fault::{Fault, RunError};
use crate::intake::RawRecord;
use crate::progress::{self, ReadTo};
use crate::settings::Backoff;
use crate::stored::{self, StoredHeader, StoredRecord};
use crate::worker::{Answers, DueTimer, Worker, topic_name};
use crate::{Body, Handler, Home, Input, Observations, Outbox, clock, measure};

/// How often a batch that lost a race for its inserts is tried again before the
/// conflict is taken for a property of the data.
const MAX_CONFLICTS: u32 = 5;

/// What handling a batch came to.
pub(crate) struct Handled<C> {
    records: BTreeMap<Home, Vec<StoredRecord>>,
    calls: Vec<Call<C>>,
    /// Inputs that the handler refused; the state is as if they had not been there.
    pub(crate) refused: Vec<(usize, Poison)>,
}

/// What a committed batch has still to do, kept while its commit is in doubt.
pub(crate) struct Prepared<C> {
    pub(crate) homes: BTreeMap<Home, Moved>,
    calls: Vec<Call<C>>,
    pub(crate) observations: Option<Observations>,
}

/// How the row of one home moved.
pub(crate) struct Moved {
    pub(crate) read_to: Option<ReadTo>,
    pub(crate) public_sequence: i64,
    inner: Outputs,
    /// What is published in a transaction.
    public: Outputs,
}

/// Messages, and how the row holds them.
#[derive(Default)]
struct Outputs {
    records: Vec<StoredRecord>,
    bytes: Vec<u8>,
}

impl Outputs {
    fn new(records: Vec<StoredRecord>) -> Result<Self, Fault> {
        let bytes = stored::to_bytes(&records)
            .map_err(|error| RunError::Defect(format!("outputs cannot be stored: {error}")))?;
        Ok(Self { records, bytes })
    }
}

/// Why an attempt failed.
pub(crate) enum Failure<C> {
    /// One input is to blame.
    Input(usize, Poison),
    /// The commit was sent and not answered.
    InDoubt(String, Prepared<C>),
    Fault(Fault),
}

impl<C> From<Fault> for Failure<C> {
    fn from(fault: Fault) -> Self {
        Failure::Fault(fault)
    }
}

impl<H: Handler> Worker<H> {
    /// Handles records, due timers and answers in one batch.
    pub(crate) async fn process(
        &mut self,
        records: Vec<(u64, RawRecord)>,
        timers: Vec<DueTimer>,
        answers: Answers<H::Answer>,
    ) -> Result<(), Fault> {
        let now = clock::now();
        let mut batch = Batch::new();
        for answer in answers {
            if self.owns(answer.home) {
                let span = self.spans.start("answer", Some(answer.trace));
                let trace = span.context;
                let input = Input {
                    home: answer.home,
                    offset: None,
                    now,
                    trace,
                    body: Body::Answer(answer.answer),
                };
                batch.push(input, Origin::Answer, span);
            }
        }
        for timer in timers {
            let span = self.spans.start("timer", timer.trace);
            let input = Input {
                home: timer.home,
                offset: None,
                now,
                trace: span.context,
                body: Body::Timer(timer.id),
            };
            batch.push(input, Origin::Timer, span);
        }
        for (generation, record) in records {
            if !self.is_expected(generation, &record) {
                continue;
            }
            let parent = record.header("traceparent").and_then(TraceContext::parse);
            match self.decode(&record).await? {
                Ok(message) => {
                    let span = self.spans.start(message.record_type().name(), parent);
                    let input = Input {
                        home: record.home,
                        offset: Some(record.offset),
                        now,
                        trace: span.context,
                        body: Body::Message(message),
                    };
                    batch.push(input, Origin::Record(record), span);
                }
                Err(poison) => {
                    let span = self.spans.start(UNDECODABLE, parent);
                    batch.push_poison(record, span, poison);
                }
            }
        }
        self.commit_batch(batch).await
    }

    /// Decodes a record, waiting for as long as the registry is away.
    async fn decode(&mut self, record: &RawRecord) -> Result<Result<Message, Poison>, Fault> {
        let mut backoff = Backoff::new(&self.settings);
        loop {
            match self
                .codec
                .decode(record.home.topic, record.payload.as_deref())
                .await
            {
                Ok(message) => return Ok(Ok(message)),
                Err(DecodeError::Poison(poison)) => return Ok(Err(poison)),
                Err(DecodeError::Unavailable(error)) => {
                    measure::fault("registry");
                    let pause = backoff.next();
                    tracing::warn!(
                        %error, home = %record.home, offset = record.offset, ?pause,
                        "the schema registry is not available; trying again after a pause"
                    );
                    self.pause(pause).await?;
                }
            }
        }
    }

    /// Commits a batch, in parts where one of its inputs is poison, and waits
    /// transient faults out.
    pub(crate) async fn commit_batch(&mut self, batch: Batch<H::Answer>) -> Result<(), Fault> {
        let mut parts = VecDeque::from([batch]);
        let mut backoff = Backoff::new(&self.settings);
        let mut conflicts = 0;
        while let Some(mut batch) = parts.pop_front() {
            while !batch.is_empty() {
                let failure = match self.attempt(&mut batch).await {
                    Ok(()) => break,
                    Err(failure) => failure,
                };
                match failure {
                    Failure::Input(index, poison) => batch.condemn(index, poison),
                    Failure::InDoubt(reason, prepared) => {
                        self.wait_out(&mut backoff, reason).await?;
                        if self.was_committed(&prepared).await? {
                            self.finish(&mut batch, prepared).await?;
                            break;
                        }
                    }
                    Failure::Fault(Fault::Transient(reason)) => {
                        self.wait_out(&mut backoff, reason).await?;
                    }
                    Failure::Fault(Fault::Conflict(reason)) if conflicts < MAX_CONFLICTS => {
                        conflicts += 1;
                        measure::fault("conflict");
                        tracing::debug!(reason, "another instance was faster; reading again");
                        let pause = backoff.next();
                        self.pause(pause).await?;
                    }
                    Failure::Fault(Fault::Conflict(reason) | Fault::Deterministic(reason)) => {
                        match batch.inputs.len() {
                            0 => return Err(Fault::Fatal(RunError::Defect(reason))),
                            1 => batch.condemn(0, refused_by_database(reason)),
                            _ => parts.push_front(batch.split()),
                        }
                    }
                    Failure::Fault(fault) => return Err(fault),
                }
            }
        }
        Ok(())
    }

    async fn attempt(&mut self, batch: &mut Batch<H::Answer>) -> Result<(), Failure<H::Call>> {
        let started = Instant::now();
        self.ensure_session().await?;
        reach(Point::BeforeTransaction);
        let prepared = match self.transact(batch).await {
            Ok(prepared) => prepared,
            Err(failure) => {
                self.forget_rows();
                // After a transient fault the connection is given up as a whole.
                if !matches!(
                    failure,
                    Failure::InDoubt(..) | Failure::Fault(Fault::Transient(_))
                ) {
                    self.roll_back().await;
                }
                return Err(failure);
            }
        };
        self.finish(batch, prepared).await?;
        if batch.handled() > 0 {
            measure::batch(batch.handled(), started.elapsed());
        }
        Ok(())
    }

    /// Lets the handler work, and encodes what it sends.
    pub(crate) fn handle(
        &self,
        batch: &Batch<H::Answer>,
        state: Option<&mut H::State>,
    ) -> Result<Handled<H::Call>, Failure<H::Call>> {
        let mut records: BTreeMap<Home, Vec<StoredRecord>> = BTreeMap::new();
        let mut calls = Vec::new();
        let mut refused = Vec::new();
        let Some(state) = state else {
            return Ok(Handled {
                records,
                calls,
                refused,
            });
        };
        for (index, input) in batch.inputs.iter().enumerate() {
            let mut out = Outbox::default();
            let handled = catch_unwind(AssertUnwindSafe(|| {
                self.handler.handle(state, input, &mut out)
            }));
            match handled {
                Ok(Ok(())) => {}
                Ok(Err(poison)) => {
                    refused.push((index, poison));
                    continue;
                }
                Err(panic) => {
                    let detail = format!("the handler panicked: {}", panic_text(panic.as_ref()));
                    let poison = Poison {
                        code: ErrorCode::HandlerPanicked,
                        detail,
                    };
                    return Err(Failure::Input(index, poison));
                }
            }
            for message in &out.messages {
                let record = self
                    .encode(message, input)
                    .map_err(|poison| Failure::Input(index, poison))?;
                records.entry(input.home).or_default().push(record);
            }
            calls.extend(out.calls.into_iter().map(|(home, call)| Call {
                home,
                trace: input.trace,
                call,
            }));
        }
        Ok(Handled {
            records,
            calls,
            refused,
        })
    }

    /// Takes the inputs that were refused out of the batch, numbers its public outputs,
    /// and says how the progress rows move.
    pub(crate) fn prepare(
        &self,
        batch: &mut Batch<H::Answer>,
        handled: Handled<H::Call>,
    ) -> Result<Prepared<H::Call>, Fault> {
        let Handled {
            mut records,
            calls,
            refused,
        } = handled;
        for (index, poison) in refused.into_iter().rev() {
            batch.condemn(index, poison);
        }
        for condemned in &batch.condemned {
            records
                .entry(condemned.record.home)
                .or_default()
                .push(dead_letter(
                    H::NAME,
                    self.codec.topics(),
                    &condemned.record,
                    &condemned.poison,
                ));
        }
        let read_to = batch.read_to();
        let mut homes = BTreeMap::new();
        for home in batch.homes() {
            let before = self.owned.get(&home);
            let mut public_sequence = before.map_or(0, |owned| owned.public_sequence);
            let (mut public, inner): (Vec<_>, Vec<_>) = records
                .remove(&home)
                .unwrap_or_default()
                .into_iter()
                .partition(|record| record.sequence.is_some());
            for record in &mut public {
                public_sequence += 1;
                record.sequence = Some(public_sequence);
            }
            let moved = Moved {
                read_to: read_to
                    .get(&home)
                    .copied()
                    .or(before.and_then(|owned| owned.read_to)),
                public_sequence,
                inner: Outputs::new(inner)?,
                public: Outputs::new(public)?,
            };
            homes.insert(home, moved);
        }
        Ok(Prepared {
            homes,
            calls,
            observations: None,
        })
    }

    fn encode(&self, message: &Message, input: &Input<H::Answer>) -> Result<StoredRecord, Poison> {
        let payload = self.codec.encode(message).map_err(|error| Poison {
            code: ErrorCode::ContractViolated,
            detail: format!(
                "handling it would publish a {} that cannot be encoded: {error}",
                message.record_type().full_name()
            ),
        })?;
        if payload.len() > self.settings.max_message_bytes {
            return Err(Poison {
                code: ErrorCode::RecordTooLarge,
                detail: format!(
                    "handling it would publish a {} of {} bytes; the limit is {}",
                    message.record_type().full_name(),
                    payload.len(),
                    self.settings.max_message_bytes
                ),
            });
        }
        let topic = message.record_type().topic();
        Ok(StoredRecord {
            topic: topic_name(&self.codec, topic).to_owned(),
            // Numbered when all outputs of the batch are known.
            sequence: (topic.is_public() && self.lane.is_some()).then_some(0),
            key: Some(message.key().into_bytes()),
            payload: Some(payload),
            headers: headers(message, &self.source, input.now, &input.trace)
                .into_iter()
                .map(|(name, value)| StoredHeader {
                    name,
                    value: Some(value),
                })
                .collect(),
        })
    }

    /// What the row of a home must hold: its unacknowledged outputs and the new
    /// ones.
    pub(crate) fn row_bytes(&self, home: Home, moved: &Moved) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(owned) = self.owned.get(&home) {
            for (group, stored) in &owned.outputs {
                if !group.is_acknowledged() {
                    bytes.extend_from_slice(stored);
                }
            }
        }
        bytes.extend_from_slice(&moved.inner.bytes);
        bytes.extend_from_slice(&moved.public.bytes);
        bytes
    }

    /// After the commit: publishes, calls, and remembers where the rows stand.
    async fn finish(
        &mut self,
        batch: &mut Batch<H::Answer>,
        prepared: Prepared<H::Call>,
    ) -> Result<(), Fault> {
        reach(Point::AfterCommit);
        if let Some(observe) = prepared.observations {
            observe();
        }
        let inner = prepared
            .homes
            .values()
            .map(|moved| moved.inner.records.len());
        self.publisher.next_batch(inner.sum());
        for (home, moved) in prepared.homes {
            let Moved { inner, public, .. } = moved;
            let mut by_topic: BTreeMap<String, u64> = BTreeMap::new();
            for record in inner.records.iter().chain(&public.records) {
                *by_topic.entry(record.topic.clone()).or_default() += 1;
            }
            let mut published = Vec::new();
            if !inner.records.is_empty() {
                published.push((self.publisher.publish(&inner.records).await?, inner.bytes));
            }
            if !public.records.is_empty() {
                published.push((self.publish_in_lane(home, public.records)?, public.bytes));
            }
            if let Some(owned) = self.owned.get_mut(&home) {
                // What was acknowledged since the row was written may still be in it.
                owned.row_holds_outputs = !(owned.outputs.is_empty() && published.is_empty());
                owned.forget_acknowledged();
                owned.outputs.extend(published);
                owned.stamp.revision += 1;
                owned.read_to = moved.read_to;
                owned.public_sequence = moved.public_sequence;
                owned.written = Instant::now();
            }
            for (topic, count) in by_topic {
                measure::outputs(topic, count);
            }
        }
        reach(Point::AfterPublishing);
        for call in prepared.calls {
            self.calls.make(call);
        }
        let now_ms = Timestamp::now().as_millisecond();
        for (input, item) in batch.inputs.iter().zip(&mut batch.items) {
            let kind = kind_of(&input.body);
            measure::input(kind, "handled");
            if let Origin::Record(record) = &item.origin
                && let Some(sent_ms) = record.timestamp_ms
            {
                let age = u64::try_from(now_ms - sent_ms).unwrap_or(0);
                measure::message_age(kind, Duration::from_millis(age));
            }
            let cart = match &input.body {
                Body::Message(message) => message.cart_id().map(|cart| cart.to_string()),
                Body::Timer(_) | Body::Answer(_) => None,
            };
            item.span.end(cart, None);
        }
        for condemned in &mut batch.condemned {
            let topic = topic_name(&self.codec, condemned.record.home.topic);
            let (code, detail) = (condemned.poison.code.as_str(), &condemned.poison.detail);
            measure::input(condemned.kind, "refused");
            measure::dead_letter(topic, code);
            tracing::error!(
                code, detail, topic,
                partition = condemned.record.home.partition,
                offset = condemned.record.offset,
                trace_id = %condemned.span.context,
                "a record could not be handled; it is on {} with its bytes unchanged",
                self.codec.topics().dlq(condemned.record.home.topic),
            );
            condemned.span.end(None, Some(detail));
        }
        Ok(())
    }

    /// Whether a batch whose commit was not answered has been committed. The
    /// lock waits for the former connection's transaction to end either way.
    async fn was_committed(&mut self, prepared: &Prepared<H::Call>) -> Result<bool, Fault> {
        let lock = progress::lock(prepared.homes.keys().copied());
        let rows = self.retrying(vec![&lock]).await?;
        let stamps = progress::stamps(rows.first().map_or(&[], Vec::as_slice))?;
        // All rows of a batch move together: one tells for all.
        let Some(home) = prepared.homes.keys().next() else {
            return Ok(false);
        };
        match (
            self.owned.get(home).map(|owned| owned.stamp),
            stamps.get(home),
        ) {
            (Some(ours), Some(found)) if found.epoch == ours.epoch => {
                Ok(found.revision > ours.revision)
            }
            (ours, found) => Err(Fault::Fenced(format!(
                "{home} has another owner now: the row has {found:?}, this instance {ours:?}"
            ))),
        }
    }

    pub(crate) async fn roll_back(&mut self) {
        if let Some(session) = &self.session
            && session.rollback().await.is_err()
        {
            self.session = None;
        }
    }

    pub(crate) fn session(&mut self) -> Result<&mut crate::session::Session, Fault> {
        self.session
            .as_mut()
            .ok_or_else(|| Fault::Transient("the database connection is gone".into()))
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
