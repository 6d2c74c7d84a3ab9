//! Everything that was ever published on some topics, as a test sees it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contracts::ids::CartId;
use contracts::{Codec, Message, RecordType, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::Notify;

/// Limit of every wait of a test. Generous: it only ends tests that fail.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// One record.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Full name of its topic.
    pub topic: String,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Decoded, where it can be.
    pub message: Option<Message>,
}

impl Seen {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers
            .iter()
            .find(|(header, _)| header == name)
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    }

    pub fn record_type(&self) -> Option<RecordType> {
        self.message.as_ref().map(Message::record_type)
    }
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    outcomes: AtomicUsize,
    grown: Notify,
    stop: AtomicBool,
}

/// Reads topics from their beginning, as any `read_committed` consumer would.
pub struct Recorder(Arc<Shared>);

impl Drop for Recorder {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Recorder {
    /// Starts to read every topic of an installation, dead letters included, and
    /// remembers at least so many of the newest records.
    pub fn start(bootstrap_servers: &str, codec: &Codec, remember: usize) -> Self {
        let names = codec.topics();
        let topics: Vec<String> = Topic::ALL
            .iter()
            .flat_map(|&topic| {
                let dlq = topic.is_consumed().then(|| names.dlq(topic).to_owned());
                [Some(names.name(topic).to_owned()), dlq]
            })
            .flatten()
            .collect();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .set("group.id", "recorder")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()
            .expect("a consumer");
        let mut partitions = TopicPartitionList::new();
        for topic in &topics {
            for partition in partitions_of(&consumer, topic) {
                partitions
                    .add_partition_offset(topic, partition, Offset::Beginning)
                    .expect("a partition");
            }
        }
        consumer.assign(&partitions).expect("assigned");
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        let codec = codec.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            while !reader.stop.load(Ordering::Relaxed) {
                let Some(Ok(record)) = consumer.poll(Duration::from_millis(100)) else {
                    continue;
                };
                let topic = names_topic(&codec, record.topic());
                let message = topic
                    .and_then(|topic| runtime.block_on(codec.decode(topic, record.payload())).ok());
                let seen = Seen {
                    topic: record.topic().to_owned(),
                    key: record.key().map(<[u8]>::to_vec),
                    payload: record.payload().map(<[u8]>::to_vec),
                    headers: record.headers().map_or_else(Vec::new, |headers| {
                        headers
                            .iter()
                            .map(|header| {
                                (
                                    header.key.to_owned(),
                                    header.value.unwrap_or_default().to_vec(),
                                )
                            })
                            .collect()
                    }),
                    message,
                };
                if topic.is_some_and(Topic::is_public) {
                    reader.outcomes.fetch_add(1, Ordering::Relaxed);
                }
                let mut all = lock(&reader.seen);
                if all.len() >= remember.saturating_mul(2) {
                    let forgotten = all.len() - remember;
                    all.drain(..forgotten);
                }
                all.push(seen);
                drop(all);
                reader.grown.notify_waiters();
            }
        });
        Self(shared)
    }

    /// Waits until `find` finds what it looks for.
    pub async fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&[Seen]) -> Option<T>) -> T {
        let waiting = async {
            loop {
                let grown = self.0.grown.notified();
                if let Some(found) = find(&lock(&self.0.seen)) {
                    return found;
                }
                grown.await;
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("{what}: not seen within {PATIENCE:?}"),
        }
    }

    /// The messages of one cart so far, in the order in which they were read.
    pub fn of_cart(&self, cart: CartId) -> Vec<Message> {
        lock(&self.0.seen)
            .iter()
            .filter_map(|seen| seen.message.clone())
            .filter(|message| message.cart_id() == Some(cart))
            .collect()
    }

    /// How many records of the public topics it has seen, also those that it has
    /// forgotten.
    pub fn outcomes(&self) -> usize {
        self.0.outcomes.load(Ordering::Relaxed)
    }

    /// All records so far.
    pub fn all(&self) -> Vec<Seen> {
        lock(&self.0.seen).clone()
    }
}

/// The partitions of a topic. A broker that has not heard of it yet, or does not answer, is
/// asked again.
fn partitions_of(consumer: &BaseConsumer, topic: &str) -> Vec<i32> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Ok(metadata) = consumer.fetch_metadata(Some(topic), Duration::from_secs(10)) {
            let found = &metadata.topics()[0];
            let partitions: Vec<_> = found.partitions().iter().map(|one| one.id()).collect();
            if found.error().is_none() && !partitions.is_empty() {
                return partitions;
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{topic}: not found within {PATIENCE:?}");
}

fn names_topic(codec: &Codec, name: &str) -> Option<Topic> {
    codec.topics().topic(name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
