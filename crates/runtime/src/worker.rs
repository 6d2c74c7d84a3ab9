//! The loop of a service instance, from joining the group to leaving it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use contracts::{Codec, Topic, TraceContext};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::calls::{Answer, Calls};
use crate::fault::{Fault, RunError};
use crate::intake::{Chunk, Intake, RawRecord};
use crate::lane::Lane;
use crate::ownership::Owned;
use crate::publisher::Publisher;
use crate::readers::Readers;
use crate::session::{Connector, Session, Step};
use crate::settings::{Backoff, Settings};
use crate::trace::Spans;
use crate::{Cache, Handler, Health, Home, clock, failpoint, measure, progress, topics};

/// Runs a service until `shutdown` becomes true: then the batch in hand is
/// finished, its messages are acknowledged, and the group is left at once.
///
/// Transient faults (database, broker or registry away) are waited out for ever.
///
/// # Errors
/// What a person must look at: see [`RunError`].
pub async fn run<H: Handler>(
    handler: Arc<H>,
    codec: Codec,
    connector: Connector,
    settings: Settings,
    health: Health,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), RunError> {
    failpoint::configure();
    let mut backoff = Backoff::new(&settings);
    // One for all workers: it tells how long readers wait, whoever publishes meanwhile.
    let _readers = has_lane::<H>(&settings)
        .then(|| Readers::start(&settings, codec.topics()))
        .transpose()?;
    loop {
        if *shutdown.borrow() {
            return Ok(());
        }
        let started = Instant::now();
        let mut worker = Worker {
            handler: Arc::clone(&handler),
            codec: codec.clone(),
            connector: Arc::clone(&connector),
            publisher: Publisher::new(&settings)?,
            calls: Calls::new(Arc::clone(&handler), &settings),
            spans: Spans::new(settings.export_traces),
            session: None,
            lane: None,
            owned: BTreeMap::new(),
            cache: H::Cache::new(settings.max_cached_rows),
            reads_left: 0,
            pending: VecDeque::new(),
            source: format!("/checkout/{}", H::NAME),
            settings: settings.clone(),
            health: health.clone(),
            shutdown: shutdown.clone(),
        };
        let fault = match worker.work().await {
            Ok(()) | Err(Fault::Stopping) => return Ok(()),
            Err(fault) => fault,
        };
        health.set_group(false);
        health.set_partitions(0);
        measure::partitions(0);
        let (kind, reason) = match fault {
            Fault::Fatal(error) => return Err(error),
            Fault::Stopping => return Ok(()),
            Fault::Transient(reason) => ("transient", reason),
            Fault::Conflict(reason) => ("conflict", reason),
            Fault::Deterministic(reason) => ("deterministic", reason),
            Fault::Fenced(reason) => ("fenced", reason),
            Fault::Broken(reason) => ("broken", reason),
        };
        measure::fault(kind);
        if started.elapsed() > settings.backoff_max.saturating_mul(4) {
            backoff.reset();
        }
        let pause = backoff.next();
        tracing::warn!(
            kind,
            reason,
            ?pause,
            "leaving the group; starting again after a pause"
        );
        tokio::select! {
            () = sleep(pause) => {}
            _ = shutdown.changed() => {}
        }
    }
}

/// Whether a service publishes in transactions.
fn has_lane<H: Handler>(settings: &Settings) -> bool {
    let mut produced = H::PRODUCES.iter();
    settings.public_transactions && produced.any(|record| record.topic().is_public())
}

pub(crate) struct Worker<H: Handler> {
    pub(crate) handler: Arc<H>,
    pub(crate) codec: Codec,
    connector: Connector,
    pub(crate) publisher: Publisher,
    pub(crate) calls: Calls<H>,
    pub(crate) spans: Spans,
    pub(crate) session: Option<Session>,
    /// Where public outputs are published in transactions.
    pub(crate) lane: Option<Lane>,
    pub(crate) owned: BTreeMap<Home, Owned>,
    /// The rows of former batches.
    pub(crate) cache: H::Cache,
    /// So many batches read, whatever is kept.
    pub(crate) reads_left: u32,
    /// Records handed over and not yet in a batch.
    pending: VecDeque<(u64, RawRecord)>,
    /// `ce_source` of every message.
    pub(crate) source: String,
    pub(crate) settings: Settings,
    pub(crate) health: Health,
    shutdown: watch::Receiver<bool>,
}

impl<H: Handler> Worker<H> {
    async fn work(&mut self) -> Result<(), Fault> {
        self.check_topics().await?;
        self.ensure_session().await?;
        let transactions = has_lane::<H>(&self.settings);
        let topics = self.codec.topics();
        let mut intake = Intake::start(&self.settings, topics, H::CONSUMES, transactions)?;
        // Dropped before the intake, which nobody answers then.
        let mut _gives_up = None;
        if transactions {
            let membership = intake.membership.clone();
            let shared = self.publisher.shared();
            let lane = Lane::start(&self.settings, topics, membership, shared)?;
            _gives_up = Some(lane.gives_up());
            self.lane = Some(lane);
        }
        let mut result = self.serve(&mut intake).await;
        if result.is_ok() {
            result = self.drain(&intake).await;
        }
        self.health.set_group(false);
        if let Some(lane) = self.lane.take() {
            lane.stop().await;
            measure::transaction_open(Duration::ZERO);
        }
        intake.stop().await;
        result
    }

    async fn serve(&mut self, intake: &mut Intake) -> Result<(), Fault> {
        let mut tick = interval(self.settings.timer_tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_commit = Instant::now();
        let mut warned = None;
        let mut shutdown = self.shutdown.clone();
        loop {
            self.publisher.check()?;
            if let Some(lane) = &self.lane {
                lane.check()?;
            }
            if *shutdown.borrow_and_update() {
                return Ok(());
            }
            let full = self.publisher.unacknowledged() >= self.settings.max_unacknowledged_records;
            let mut timers = Vec::new();
            let mut answers = Vec::new();
            if self.pending.is_empty() || full {
                tokio::select! {
                    biased;
                    changed = shutdown.changed() => {
                        if changed.is_err() {
                            return Ok(());
                        }
                        continue;
                    }
                    notice = intake.notices.recv() => {
                        self.on_notice(notice).await?;
                        continue;
                    }
                    _ = tick.tick() => {
                        self.watch(&mut warned);
                        if last_commit.elapsed() >= self.settings.offset_commit_interval {
                            last_commit = Instant::now();
                            self.commit_offsets(intake)?;
                        }
                        if full {
                            continue;
                        }
                        timers = self.due_timers().await?;
                        self.settle().await?;
                    }
                    progressed = self.publisher.wait_for_progress(self.settings.timer_tick), if full => {
                        progressed?;
                        continue;
                    }
                    Some(answer) = self.calls.next(), if !full => answers.push(answer),
                    chunk = intake.chunks.recv(), if !full => match chunk {
                        Some(chunk) => self.pend(chunk),
                        None => return Err(Fault::Broken("the consumer's thread ended".into())),
                    },
                }
            } else if let Ok(notice) = intake.notices.try_recv() {
                self.on_notice(Some(notice)).await?;
                continue;
            } else if last_commit.elapsed() >= self.settings.offset_commit_interval {
                // Under load the tick above may never be reached.
                last_commit = Instant::now();
                self.watch(&mut warned);
                self.commit_offsets(intake)?;
                timers = self.due_timers().await?;
            }
            let most = self.settings.max_batch_records;
            // Take what is there now, without waiting for more.
            while answers.len() < most
                && let Some(answer) = self.calls.try_next()
            {
                answers.push(answer);
            }
            while self.pending.len() < most
                && let Ok(chunk) = intake.chunks.try_recv()
            {
                self.pend(chunk);
            }
            let take = self.pending.len().min(most);
            let records: Vec<_> = self.pending.drain(..take).collect();
            self.process(records, timers, answers).await?;
        }
    }

    /// Tells how much waits for Kafka, and reports a transaction that does not end; once
    /// in each `transaction_warn_after`.
    fn watch(&self, warned: &mut Option<Instant>) {
        measure::unacknowledged(self.publisher.unacknowledged());
        let Some(lane) = &self.lane else { return };
        let open_for = lane.open_for();
        measure::transaction_open(open_for);
        let limit = self.settings.transaction_warn_after;
        if open_for > limit && warned.is_none_or(|warned| warned.elapsed() > limit) {
            *warned = Some(Instant::now());
            tracing::warn!(
                ?open_for,
                "a transaction of this instance is still open and holds the readers of the \
                 public topics back: Kafka is slow or away. It is given up within twice \
                 TRANSACTION_TIMEOUT_MS, and what it did not commit is published again"
            );
        }
    }

    fn pend(&mut self, chunk: Chunk) {
        let generation = chunk.generation;
        self.pending
            .extend(chunk.records.into_iter().map(|record| (generation, record)));
    }

    async fn due_timers(&mut self) -> Result<Vec<DueTimer>, Fault> {
        let homes: Vec<Home> = self.owned.keys().copied().collect();
        if homes.is_empty() {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(self.settings.max_batch_records).unwrap_or(i64::MAX);
        let Some(due) = self.handler.due(&homes, clock::now(), limit) else {
            return Ok(Vec::new());
        };
        let rows = self.retrying(vec![&due]).await?;
        let mut timers = Vec::new();
        for row in rows.iter().flatten() {
            let name: &str = row.try_get(1)?;
            let partition: i32 = row.try_get(2)?;
            let id: Uuid = row.try_get(0)?;
            let traceparent: Option<&str> = row.try_get(3)?;
            let home = homes
                .iter()
                .find(|home| home.topic.name() == name && home.partition == partition);
            if let Some(home) = home {
                timers.push(DueTimer {
                    home: *home,
                    id,
                    trace: traceparent.and_then(TraceContext::parse),
                });
            }
        }
        measure::timers(timers.len());
        Ok(timers)
    }

    /// Sends statements outside a transaction, again and again while the
    /// database is away.
    pub(crate) async fn retrying(
        &mut self,
        sql: Vec<&crate::Sql>,
    ) -> Result<Vec<Vec<tokio_postgres::Row>>, Fault> {
        let mut backoff = Backoff::new(&self.settings);
        loop {
            self.ensure_session().await?;
            let result = match &self.session {
                Some(session) => {
                    session
                        .trip(sql.iter().map(|sql| Step::Sql(sql)).collect())
                        .await
                }
                None => continue,
            };
            match result {
                Ok(rows) => return Ok(rows),
                Err(Fault::Transient(reason)) => self.wait_out(&mut backoff, reason).await?,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Waits after a transient fault of the database, with a new connection next.
    pub(crate) async fn wait_out(
        &mut self,
        backoff: &mut Backoff,
        reason: String,
    ) -> Result<(), Fault> {
        self.health.set_database(false);
        self.session = None;
        measure::fault("transient");
        let pause = backoff.next();
        tracing::warn!(
            reason,
            ?pause,
            "the database is not available; trying again after a pause"
        );
        self.pause(pause).await
    }

    /// Sleeps, unless the service is to stop.
    pub(crate) async fn pause(&mut self, pause: Duration) -> Result<(), Fault> {
        let mut shutdown = self.shutdown.clone();
        tokio::select! {
            () = sleep(pause) => Ok(()),
            _ = shutdown.wait_for(|stop| *stop) => Err(Fault::Stopping),
        }
    }

    /// Opens a connection where there is none, waiting as long as it takes.
    pub(crate) async fn ensure_session(&mut self) -> Result<(), Fault> {
        if self
            .session
            .as_ref()
            .is_some_and(|session| !session.is_closed())
        {
            return Ok(());
        }
        let mut backoff = Backoff::new(&self.settings);
        loop {
            let texts = progress::STATEMENTS.iter().chain(H::STATEMENTS).copied();
            match Session::open(&self.connector, texts, self.settings.database_timeout).await {
                Ok(session) => {
                    self.session = Some(session);
                    self.health.set_database(true);
                    return Ok(());
                }
                Err(Fault::Transient(reason)) => self.wait_out(&mut backoff, reason).await?,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Waits until every topic exists that this service reads or writes.
    async fn check_topics(&mut self) -> Result<(), Fault> {
        let mut backoff = Backoff::new(&self.settings);
        loop {
            let topics = self.codec.topics();
            let missing = match self.publisher.partitions(topics::METADATA_TIMEOUT).await {
                Ok(found) => {
                    let missing = topics::missing::<H>(topics, &found);
                    if missing.is_empty() {
                        let inner = topics::inner(topics, &found);
                        self.publisher.spread_over(inner.into_iter());
                        self.publisher.keep_in_order(topics::compacted(topics));
                        return Ok(());
                    }
                    format!(
                        "topics are missing: {}; create them with `checkoutctl topics apply`",
                        missing.join(", ")
                    )
                }
                Err(Fault::Transient(reason)) => reason,
                Err(fault) => return Err(fault),
            };
            let pause = backoff.next();
            tracing::warn!(
                reason = missing,
                ?pause,
                "Kafka is not ready; trying again after a pause"
            );
            self.pause(pause).await?;
        }
    }
}

/// A timer that fires in the next batch.
pub(crate) struct DueTimer {
    pub(crate) home: Home,
    pub(crate) id: Uuid,
    /// The trace of what set it.
    pub(crate) trace: Option<TraceContext>,
}

/// The answers of a batch, as the pool hands them over.
pub(crate) type Answers<A> = Vec<Answer<A>>;

/// The topic of a home in this installation.
pub(crate) fn topic_name(codec: &Codec, topic: Topic) -> &str {
    codec.topics().name(topic)
}
