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

mod deliveries;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use contracts::TopicNames;
use tokio::sync::oneshot;

use self::deliveries::{Deliveries, LaneContext};
use self::writer::Writer;
use crate::Home;
use crate::fault::{Fault, RunError};
use crate::measure;
use crate::polled::PolledProducer;
use crate::publisher::{Group, Shared, producer_config};
use crate::rebalance::Membership;
use crate::settings::Settings;
use crate::stored::StoredRecord;
use crate::traffic::Traffic;

/// How a published sequence number stands in an offset's metadata.
const MARK: &str = "published=";
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
        let mut writer = Writer {
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
                let result = writer.run(&receiver);
                if writer.given_up.load(Ordering::SeqCst) {
                    tracing::info!(?result, "a client for transactions that was given up ends");
                } else if let Err(error) = result {
                    shared.break_down(format!("a transaction failed: {error}"));
                }
                // The client ends with it, which can take its time.
                writer.begin(Work::Closing);
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
