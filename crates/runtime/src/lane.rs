//! The transactional lane: what outsiders read is published in transactions, so
//! that a `read_committed` consumer never sees a record twice, not even after a
//! crash.
//!
//! Each public output of a partition has a sequence number, which its progress
//! row keeps. A transaction publishes some of them and commits, with the group's
//! offsets, the last number published, as the offset's metadata. A new owner
//! reads that number back and knows what is already out. Kafka refuses the
//! offsets of a member whose generation is over, so a former owner cannot
//! publish any more.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use contracts::TopicNames;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, Statistics, TopicPartitionList};
use tokio::sync::oneshot;

use crate::Home;
use crate::failpoint::{Point, reach};
use crate::fault::{Fault, RunError};
use crate::measure;
use crate::polled::PolledProducer;
use crate::publisher::{Group, Shared, producer_config, record};
use crate::rebalance::Membership;
use crate::settings::Settings;
use crate::stored::StoredRecord;
use crate::traffic::Traffic;

/// How a published sequence number stands in an offset's metadata.
const MARK: &str = "published=";
/// The most records of one transaction.
const MAX_RECORDS: usize = 10_000;
/// For each record of a transaction, the next one waits so long, up to
/// `transaction_gather`, so that there are fewer and larger ones under load. All
/// partitions of the public topics are written, and their readers woken, by each.
const GATHER_FOR_EACH_RECORD: Duration = Duration::from_millis(1);
/// The pause between two tries of a transaction whose offsets a rebalance refuses.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// How often it is looked whether a transaction does not end.
const LOOK: Duration = Duration::from_millis(10);

/// The number in an offset's metadata; 0 where nothing was published.
pub(crate) fn published(metadata: &str) -> i64 {
    metadata
        .strip_prefix(MARK)
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Public outputs of one home and batch.
pub(crate) struct Publication {
    pub(crate) home: Home,
    /// The sequence number of the last record.
    pub(crate) sequence: i64,
    pub(crate) records: Vec<StoredRecord>,
    pub(crate) group: Arc<Group>,
}

enum Request {
    Publish(Publication),
    /// Where reading stands; told to Kafka with the next transaction.
    Positions(Vec<(Home, i64)>),
    /// What is known of a home that is owned from now on.
    Owned(Home, Known),
    /// Homes are given up; answered when no transaction will name them any more.
    Disowned(Vec<Home>, oneshot::Sender<()>),
    Stop,
}

/// The running lane.
pub(crate) struct Lane {
    requests: Sender<Request>,
    thread: JoinHandle<()>,
    busy: Busy,
    /// No transaction is tried again.
    stop: Arc<AtomicBool>,
    /// Nothing is committed any more.
    given_up: Arc<AtomicBool>,
    /// How long a transaction may take with all its tries. The client cannot be trusted to
    /// return: `send_offsets_to_transaction` has no limit once the offsets are on their way
    /// to a group coordinator that was killed (librdkafka 2.12; its issues 5456 and 5511).
    limit: Duration,
}

/// What the client is at, and since when; `None` while it waits for work.
type Busy = Arc<Mutex<Option<(Work, Instant)>>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Beginning,
    Transaction,
    Closing,
}

impl Work {
    fn did_not(self) -> &'static str {
        match self {
            Self::Beginning => "the client for transactions did not begin",
            Self::Transaction => "a transaction did not end",
            Self::Closing => "the client for transactions did not close",
        }
    }
}

/// Gives a lane up when it is dropped, see [`Lane::give_up`].
pub(crate) struct GivesUp(Arc<AtomicBool>);

impl Drop for GivesUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Lane {
    /// Starts the lane of a member of the group.
    pub(crate) fn start(
        settings: &Settings,
        topics: &TopicNames,
        membership: Membership,
        shared: Arc<Shared>,
    ) -> Result<Self, RunError> {
        let mut config = producer_config(settings);
        let timeout = settings.transaction_timeout;
        config
            // Unique: a member that died is fenced by its generation, and its open
            // transaction ends by the time-out.
            .set(
                "transactional.id",
                format!("{}-{}", settings.kafka.group_id, uuid::Uuid::new_v4()),
            )
            .set("transaction.timeout.ms", timeout.as_millis().to_string())
            .set("message.timeout.ms", timeout.as_millis().to_string());
        let deliveries = Arc::new(Deliveries::default());
        let context = LaneContext(Arc::clone(&deliveries), Traffic::of("lane"));
        let producer = PolledProducer::start(&config, context)?;
        // Bounded all the same: no more publications wait than messages may be
        // unacknowledged.
        let (requests, receiver) = mpsc::channel();
        let busy = Busy::default();
        let [stop, given_up] = [const { AtomicBool::new(false) }; 2].map(Arc::new);
        let mut worker = Worker {
            busy: Arc::clone(&busy),
            stop: Arc::clone(&stop),
            given_up: Arc::clone(&given_up),
            producer,
            deliveries,
            membership,
            topics: topics.clone(),
            shared: Arc::clone(&shared),
            timeout,
            gather: settings.transaction_gather,
            homes: BTreeMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("lane".into())
            .spawn(move || {
                let result = worker.run(&receiver);
                if worker.given_up.load(Ordering::SeqCst) {
                    tracing::info!(?result, "a client for transactions that was given up ends");
                } else if let Err(error) = result {
                    shared.break_down(format!("a transaction failed: {error}"));
                }
                // The client ends with it, which can take its time.
                worker.begin(Work::Closing);
            })
            .map_err(|error| RunError::Defect(format!("no thread for transactions: {error}")))?;
        Ok(Self {
            requests,
            thread,
            busy,
            stop,
            given_up,
            limit: timeout.saturating_mul(2),
        })
    }

    /// How long the transaction that is open has been; zero when none is.
    pub(crate) fn open_for(&self) -> Duration {
        match *locked(&self.busy) {
            Some((Work::Transaction, since)) => since.elapsed(),
            _ => Duration::ZERO,
        }
    }

    /// Fails once the client does not come back from what it is at.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match *locked(&self.busy) {
            Some((work, since)) if since.elapsed() > self.limit => Err(Fault::Broken(format!(
                "{} within {:?}",
                work.did_not(),
                self.limit
            ))),
            _ => Ok(()),
        }
    }

    /// Publishes in the next transaction; the group shows when it is committed.
    pub(crate) fn publish(&self, publication: Publication) -> Result<(), Fault> {
        self.send(Request::Publish(publication))
    }

    /// Tells Kafka the offsets reached, for lag monitors. In a transaction too:
    /// an offset committed beside it would overwrite its mark.
    pub(crate) fn commit(&self, offsets: Vec<(Home, i64)>) -> Result<(), Fault> {
        self.send(Request::Positions(offsets))
    }

    /// A home is owned from now on.
    pub(crate) fn own(&self, home: Home, known: Known) -> Result<(), Fault> {
        self.send(Request::Owned(home, known))
    }

    /// Gives homes up: an offset that this member committed later would overwrite
    /// the mark of the next owner.
    pub(crate) async fn disown(&self, homes: &[Home]) -> Result<(), Fault> {
        let (done, mut answered) = oneshot::channel();
        self.send(Request::Disowned(homes.to_vec(), done))?;
        loop {
            match tokio::time::timeout(LOOK, &mut answered).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_)) => return Err(ended()),
                Err(_) => self.check()?,
            }
        }
    }

    /// Nothing more is published. Without, a transaction under way could be committed with
    /// the proof of a later membership: the consumer joins its group anew by itself when
    /// its partitions are given up.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// Gives it up when dropped. To be dropped before the membership can be given up with
    /// nobody left to end the transaction first, as when a stop takes too long.
    pub(crate) fn gives_up(&self) -> GivesUp {
        GivesUp(Arc::clone(&self.given_up))
    }

    fn send(&self, request: Request) -> Result<(), Fault> {
        self.requests.send(request).map_err(|_| ended())
    }

    /// Ends after what was asked for before. A transaction that is refused is not tried
    /// again, and one that does not end is left to itself.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // A lane that has ended needs no telling.
        let _ = self.requests.send(Request::Stop);
        while !self.thread.is_finished() {
            if self.check().is_err() {
                self.give_up();
                measure::transaction_abandoned();
                // Kafka refuses its transaction, or has it already: then the next owner waits
                // for its end.
                tracing::warn!(
                    "the client for transactions is left to itself; what it has open, Kafka \
                     ends after TRANSACTION_TIMEOUT_MS"
                );
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        if self.thread.join().is_err() {
            tracing::error!("the thread of transactions panicked");
        }
    }
}

fn ended() -> Fault {
    Fault::Broken("the lane of transactions has ended".into())
}

/// Counts the deliveries of the open transaction.
#[derive(Default)]
struct Deliveries {
    state: Mutex<(usize, Option<KafkaError>)>,
    changed: Condvar,
}

struct LaneContext(Arc<Deliveries>, Traffic);

impl ClientContext for LaneContext {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "transactional producer");
    }

    fn stats(&self, statistics: Statistics) {
        self.1.tell(&statistics);
    }
}

impl ProducerContext for LaneContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut state = locked(&self.0.state);
        state.0 = state.0.saturating_sub(1);
        if let Err((error, _)) = result {
            state.1.get_or_insert_with(|| error.clone());
        }
        self.0.changed.notify_all();
    }
}

impl Deliveries {
    fn expect(&self, records: usize) {
        *locked(&self.state) = (records, None);
    }

    /// Waits until all are delivered: `commit_transaction` would wait in steps of
    /// 100 ms.
    fn wait(&self, limit: Duration) -> Result<(), KafkaError> {
        let state = locked(&self.state);
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, limit, |state| state.0 > 0)
            .unwrap_or_else(PoisonError::into_inner);
        match state.1.take() {
            Some(error) => Err(error),
            // What is still under way fails with the transaction.
            None => Ok(()),
        }
    }
}

/// What is known of a home.
#[derive(Clone, Copy, Default)]
pub(crate) struct Known {
    /// The sequence number of the last public output that is out.
    pub(crate) published: i64,
    /// Where reading stands.
    pub(crate) next_offset: i64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker {
    busy: Busy,
    stop: Arc<AtomicBool>,
    given_up: Arc<AtomicBool>,
    producer: PolledProducer<LaneContext>,
    deliveries: Arc<Deliveries>,
    membership: Membership,
    topics: TopicNames,
    shared: Arc<Shared>,
    timeout: Duration,
    gather: Duration,
    homes: BTreeMap<Home, Known>,
}

impl Worker {
    fn begin(&self, work: Work) {
        *locked(&self.busy) = Some((work, Instant::now()));
    }

    fn end(&self) {
        *locked(&self.busy) = None;
    }

    fn run(&mut self, requests: &Receiver<Request>) -> Result<(), KafkaError> {
        self.begin(Work::Beginning);
        self.producer.init_transactions(self.timeout)?;
        self.end();
        let mut stop = false;
        while !stop {
            let Ok(first) = requests.recv() else {
                return Ok(());
            };
            let mut publications = Vec::new();
            let mut moved = BTreeMap::new();
            let mut records = 0;
            let mut disowned = None;
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Publish(publication) => {
                        records += publication.records.len();
                        moved.insert(publication.home, ());
                        publications.push(publication);
                    }
                    Request::Positions(offsets) => {
                        for (home, next_offset) in offsets {
                            self.homes.entry(home).or_default().next_offset = next_offset;
                            moved.insert(home, ());
                        }
                    }
                    Request::Owned(home, known) => {
                        self.homes.insert(home, known);
                    }
                    Request::Disowned(homes, done) => {
                        disowned = Some((homes, done));
                        break;
                    }
                    Request::Stop => {
                        stop = true;
                        break;
                    }
                }
                if records >= MAX_RECORDS {
                    break;
                }
                next = requests.try_recv().ok();
            }
            for publication in &publications {
                let known = self.homes.entry(publication.home).or_default();
                known.published = known.published.max(publication.sequence);
            }
            if !moved.is_empty() {
                let started = Instant::now();
                self.begin(Work::Transaction);
                self.transaction(&publications, moved.keys().copied())?;
                if !publications.is_empty() {
                    reach(Point::AfterPublicTransaction);
                }
                self.end();
                metrics::histogram!("saga_transaction_seconds").record(started.elapsed());
            }
            for publication in publications {
                self.shared
                    .acknowledge(&publication.group, publication.records.len());
            }
            if let Some((homes, done)) = disowned {
                self.homes.retain(|home, _| !homes.contains(home));
                // Whoever asked may have given up waiting.
                let _ = done.send(());
            }
            // One record is what a lone saga publishes.
            if records > 1 && !stop {
                let records = u32::try_from(records).unwrap_or(u32::MAX);
                std::thread::sleep(
                    self.gather
                        .min(GATHER_FOR_EACH_RECORD.saturating_mul(records)),
                );
            }
        }
        Ok(())
    }

    /// One transaction, begun again while a rebalance refuses its offsets, within the limit
    /// of one transaction.
    fn transaction(
        &self,
        publications: &[Publication],
        moved: impl Iterator<Item = Home> + Clone,
    ) -> Result<(), KafkaError> {
        let begin = Instant::now();
        let goes_on = || begin.elapsed() < self.timeout && !self.stop.load(Ordering::Relaxed);
        loop {
            self.producer.begin_transaction()?;
            match self.fill(publications, moved.clone()) {
                Ok(()) => {
                    if !publications.is_empty() {
                        reach(Point::InPublicTransaction);
                    }
                    return self.producer.commit_transaction(self.timeout);
                }
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() && goes_on() => {
                    tracing::debug!(%error, "a transaction is begun again");
                    self.producer.abort_transaction(self.timeout)?;
                    std::thread::sleep(REFUSED_PAUSE);
                }
                Err(error) => {
                    // The producer is given up in any case.
                    let _ = self.producer.abort_transaction(self.timeout);
                    return Err(error);
                }
            }
        }
    }

    fn fill(
        &self,
        publications: &[Publication],
        moved: impl Iterator<Item = Home>,
    ) -> Result<(), KafkaError> {
        let records = || {
            publications
                .iter()
                .flat_map(|publication| &publication.records)
        };
        self.deliveries.expect(records().count());
        for stored in records() {
            if let Err((error, _)) = self.producer.send(record(stored, ())) {
                return Err(error);
            }
        }
        self.deliveries.wait(self.timeout)?;
        let mut offsets = TopicPartitionList::new();
        for home in moved {
            let known = self.homes.get(&home).copied().unwrap_or_default();
            let topic = self.topics.name(home.topic);
            let offset = Offset::Offset(known.next_offset);
            offsets.add_partition_offset(topic, home.partition, offset)?;
            if let Some(mut element) = offsets.find_partition(topic, home.partition) {
                element.set_metadata(format!("{MARK}{}", known.published));
            }
        }
        if !publications.is_empty() {
            reach(Point::BeforePublicOffsets);
        }
        let group = self.membership.group_metadata();
        // Asked afterwards: what a member that joined anew proves is not of this lane.
        let group = group.filter(|_| !self.given_up.load(Ordering::SeqCst));
        let Some(group) = group else {
            return Err(KafkaError::Canceled);
        };
        self.producer
            .send_offsets_to_transaction(&offsets, &group, self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_read_back() {
        assert_eq!(published(&format!("{MARK}17")), 17);
        assert_eq!(published(""), 0);
        assert_eq!(published("somebody else's"), 0);
    }
}
