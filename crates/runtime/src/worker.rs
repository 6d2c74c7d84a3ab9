//! The loop of a service instance, from joining the group to leaving it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use contracts::{Codec, Topic, TraceContext};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use crate::batch::Batch;
use crate::calls::{Answer, Calls};
use crate::fault::{Fault, RunError};
use crate::intake::{Chunk, Intake, Notice, Position, RawRecord};
use crate::lane::{Lane, Publication};
use crate::publisher::{Group, Publisher};
use crate::session::{Connector, Session, Step};
use crate::settings::{Backoff, Settings};
use crate::stored::StoredRecord;
use crate::trace::Spans;
use crate::{Handler, Health, Home, measure, progress, stored, topics};

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
    measure::describe();
    let mut backoff = Backoff::new(&settings);
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
            () = tokio::time::sleep(pause) => {}
            _ = shutdown.changed() => {}
        }
    }
}

/// What this instance knows of a partition that it owns.
pub(crate) struct Owned {
    /// Chunks of older generations are not for this ownership.
    since: u64,
    pub(crate) stamp: progress::Stamp,
    pub(crate) next_offset: Option<i64>,
    /// The number of the last public output.
    pub(crate) public_sequence: i64,
    /// Published groups that may still be unacknowledged, with their stored bytes.
    pub(crate) outputs: VecDeque<(Arc<Group>, Vec<u8>)>,
    /// Whether the row holds outputs that a crash would publish again.
    pub(crate) row_holds_outputs: bool,
    pub(crate) written: Instant,
    /// The offset that Kafka was told.
    committed: Option<i64>,
}

impl Owned {
    /// Forgets the groups that are acknowledged.
    pub(crate) fn forget_acknowledged(&mut self) {
        self.outputs.retain(|(group, _)| !group.is_acknowledged());
    }
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
        let transactions = self.settings.public_transactions
            && H::PRODUCES.iter().any(|record| record.topic().is_public());
        let topics = self.codec.topics();
        let mut intake = Intake::start(&self.settings, topics, H::CONSUMES, transactions)?;
        if transactions {
            let membership = intake.membership.clone();
            let shared = self.publisher.shared();
            self.lane = Some(Lane::start(&self.settings, topics, membership, shared)?);
        }
        let mut result = self.serve(&mut intake).await;
        if result.is_ok() {
            result = self.drain(&intake).await;
        }
        self.health.set_group(false);
        if let Some(lane) = self.lane.take() {
            lane.stop().await;
        }
        intake.stop().await;
        result
    }

    async fn serve(&mut self, intake: &mut Intake) -> Result<(), Fault> {
        let mut tick = interval(self.settings.timer_tick);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last_commit = Instant::now();
        let mut shutdown = self.shutdown.clone();
        loop {
            self.publisher.check()?;
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
                        measure::unacknowledged(self.publisher.unacknowledged());
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
                self.commit_offsets(intake)?;
                timers = self.due_timers().await?;
            }
            // Take what is there now, without waiting for more.
            let most = self.settings.max_batch_records;
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

    fn pend(&mut self, chunk: Chunk) {
        let generation = chunk.generation;
        self.pending
            .extend(chunk.records.into_iter().map(|record| (generation, record)));
    }

    /// Whether a record is the next of a partition that is owned.
    pub(crate) fn is_expected(&self, generation: u64, record: &RawRecord) -> bool {
        self.owned.get(&record.home).is_some_and(|owned| {
            generation >= owned.since && owned.next_offset.is_none_or(|next| record.offset >= next)
        })
    }

    async fn on_notice(&mut self, notice: Option<Notice>) -> Result<(), Fault> {
        match notice {
            Some(Notice::Assigned {
                homes,
                generation,
                published,
                reply,
            }) => {
                let positions = self.claim(&homes, generation, &published).await?;
                self.health.set_group(true);
                // The callback waits for this; it fails only when its thread is gone.
                let _ = reply.send(positions);
            }
            Some(Notice::Revoked { homes, lost, reply }) => {
                if !lost {
                    self.release(&homes).await?;
                }
                for home in &homes {
                    self.owned.remove(home);
                }
                if let Some(lane) = &self.lane {
                    let limit = self.settings.transaction_timeout.saturating_mul(2);
                    lane.disown(&homes, limit).await?;
                }
                let _ = reply.send(());
            }
            Some(Notice::Failed(fault)) => return Err(fault),
            None => return Err(Fault::Broken("the consumer's thread ended".into())),
        }
        self.health.set_partitions(self.owned.len());
        measure::partitions(self.owned.len());
        Ok(())
    }

    /// Takes partitions over: fences former owners, publishes what they may not
    /// have published, and says where reading goes on.
    async fn claim(
        &mut self,
        homes: &[Home],
        generation: u64,
        published: &BTreeMap<Home, i64>,
    ) -> Result<Vec<Position>, Fault> {
        if homes.is_empty() {
            return Ok(Vec::new());
        }
        let claim = progress::claim(homes);
        let rows = self.retrying(vec![&claim]).await?;
        let mut positions = Vec::with_capacity(homes.len());
        for claimed in progress::claimed(rows.first().map_or(&[], Vec::as_slice))? {
            let home = claimed.home;
            let published = published.get(&home).copied().unwrap_or(0);
            if let Some(lane) = &self.lane {
                lane.own(home, published)?;
            }
            let outputs = self
                .publish_stored(home, &claimed.outputs, published)
                .await?;
            tracing::info!(home = %claimed.home, epoch = claimed.stamp.epoch, next_offset = claimed.next_offset, "partition claimed");
            positions.push((claimed.home, claimed.next_offset));
            self.owned.insert(
                claimed.home,
                Owned {
                    since: generation,
                    stamp: claimed.stamp,
                    next_offset: claimed.next_offset,
                    // The row may have been deleted by an operator; what is
                    // published stays published.
                    public_sequence: claimed.public_sequence.max(published),
                    row_holds_outputs: !claimed.outputs.is_empty(),
                    outputs,
                    written: Instant::now(),
                    committed: None,
                },
            );
        }
        Ok(positions)
    }

    /// Publishes what the former owner of a home may not have published.
    async fn publish_stored(
        &self,
        home: Home,
        stored: &[u8],
        published: i64,
    ) -> Result<VecDeque<(Arc<Group>, Vec<u8>)>, Fault> {
        let unreadable = |error: postcard::Error| {
            RunError::Defect(format!(
                "the outputs stored for {home} cannot be used: {error}"
            ))
        };
        let (public, inner): (Vec<_>, Vec<_>) = stored::from_bytes(stored)
            .map_err(unreadable)?
            .into_iter()
            .partition(|record| record.sequence.is_some() && self.lane.is_some());
        let public: Vec<_> = public
            .into_iter()
            .filter(|record| record.sequence > Some(published))
            .collect();
        if inner.is_empty() && public.is_empty() {
            return Ok(VecDeque::new());
        }
        tracing::info!(
            %home, inner = inner.len(), public = public.len(),
            "publishing stored outputs of the former owner"
        );
        let mut groups = VecDeque::new();
        if !inner.is_empty() {
            let bytes = stored::to_bytes(&inner).map_err(unreadable)?;
            groups.push_back((self.publisher.publish(&inner).await?, bytes));
        }
        if !public.is_empty() {
            let bytes = stored::to_bytes(&public).map_err(unreadable)?;
            groups.push_back((self.publish_in_lane(home, public)?, bytes));
        }
        Ok(groups)
    }

    /// Publishes numbered records of a home in the next transaction.
    pub(crate) fn publish_in_lane(
        &self,
        home: Home,
        records: Vec<StoredRecord>,
    ) -> Result<Arc<Group>, Fault> {
        let Some(lane) = &self.lane else {
            return Err(RunError::Defect("there is no lane for transactions".into()).into());
        };
        let group = self.publisher.expect(records.len());
        lane.publish(Publication {
            home,
            sequence: records
                .last()
                .and_then(|record| record.sequence)
                .unwrap_or(0),
            records,
            group: Arc::clone(&group),
        })?;
        Ok(group)
    }

    /// Waits, within the limit, until the outputs of these homes are
    /// acknowledged, and clears them from their rows.
    async fn release(&mut self, homes: &[Home]) -> Result<(), Fault> {
        let deadline = Instant::now() + self.settings.drain_timeout;
        let mut batch = Batch::new();
        for home in homes {
            while let Some(owned) = self.owned.get_mut(home) {
                owned.forget_acknowledged();
                if owned.outputs.is_empty() {
                    if owned.row_holds_outputs {
                        batch.settled.insert(*home);
                    }
                    break;
                }
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    // The next owner publishes them again.
                    tracing::warn!(%home, "given up with unacknowledged outputs");
                    break;
                }
                self.publisher.wait_for_progress(left).await?;
            }
        }
        self.commit_batch(batch).await
    }

    /// Clears acknowledged outputs of quiet partitions, so that a crash does not
    /// publish them again.
    async fn settle(&mut self) -> Result<(), Fault> {
        let mut batch = Batch::new();
        for (home, owned) in &mut self.owned {
            if owned.row_holds_outputs && owned.written.elapsed() >= self.settings.settle_after {
                owned.forget_acknowledged();
                if owned.outputs.is_empty() {
                    batch.settled.insert(*home);
                }
            }
        }
        self.commit_batch(batch).await
    }

    async fn drain(&mut self, intake: &Intake) -> Result<(), Fault> {
        let homes: Vec<Home> = self.owned.keys().copied().collect();
        let limit = self.settings.drain_timeout;
        // Bounded as a whole too: a stop must not hang on a database that is away.
        match tokio::time::timeout(limit.saturating_mul(2), self.release(&homes)).await {
            Ok(released) => released?,
            Err(_) => tracing::warn!("stopping without having cleared the progress rows"),
        }
        self.commit_offsets(intake)?;
        Ok(())
    }

    fn commit_offsets(&mut self, intake: &Intake) -> Result<(), Fault> {
        let mut offsets = Vec::new();
        for (home, owned) in &mut self.owned {
            if owned.committed != owned.next_offset
                && let Some(next) = owned.next_offset
            {
                owned.committed = owned.next_offset;
                offsets.push((*home, next));
            }
        }
        if offsets.is_empty() {
            return Ok(());
        }
        match &self.lane {
            Some(lane) => lane.commit(offsets),
            None => {
                intake.commit(offsets);
                Ok(())
            }
        }
    }

    async fn due_timers(&mut self) -> Result<Vec<DueTimer>, Fault> {
        let homes: Vec<Home> = self.owned.keys().copied().collect();
        if homes.is_empty() {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(self.settings.max_batch_records).unwrap_or(i64::MAX);
        let Some(due) = self.handler.due(&homes, Timestamp::now(), limit) else {
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
            () = tokio::time::sleep(pause) => Ok(()),
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
        let wanted = topics::wanted::<H>(self.codec.topics());
        let mut backoff = Backoff::new(&self.settings);
        loop {
            let missing = match tokio::task::block_in_place(|| {
                self.publisher
                    .missing_topics(&wanted, topics::METADATA_TIMEOUT)
            }) {
                Ok(missing) if missing.is_empty() => return Ok(()),
                Ok(missing) => format!(
                    "topics are missing: {}; create them with `checkoutctl topics apply`",
                    missing.join(", ")
                ),
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

    /// Whether an answer or timer still belongs here.
    pub(crate) fn owns(&self, home: Home) -> bool {
        self.owned.contains_key(&home)
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
