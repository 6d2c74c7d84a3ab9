//! The producer, and what Kafka has not yet acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, IntoOpaque, Statistics};
use tokio::sync::Notify;

use crate::failpoint::{Point, reach};
use crate::fault::{Fault, RunError};
use crate::polled::PolledProducer;
use crate::settings::Settings;
use crate::stored::StoredRecord;
use crate::traffic::{STATISTICS_INTERVAL_MS, Traffic};

/// The messages of one batch that belong to one home.
#[derive(Debug)]
pub(crate) struct Group {
    left: AtomicUsize,
}

impl Group {
    /// Whether Kafka has acknowledged all of it.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }
}

/// What the producers of this instance tell the worker.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    unacknowledged: AtomicUsize,
    progressed: Notify,
    broken: OnceLock<String>,
}

impl Shared {
    /// So many records of a group are on Kafka.
    pub(crate) fn acknowledge(&self, group: &Group, records: usize) {
        self.unacknowledged.fetch_sub(records, Ordering::Relaxed);
        if group.left.fetch_sub(records, Ordering::AcqRel) == records {
            self.progressed.notify_waiters();
        }
    }

    /// A producer is unusable; the first reason counts.
    pub(crate) fn break_down(&self, reason: String) {
        let _ = self.broken.set(reason);
        self.progressed.notify_waiters();
    }
}

struct Deliveries(Arc<Shared>, Traffic);

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        // Connections come and go and librdkafka reconnects; a fatal error
        // shows as a failed delivery. librdkafka logs the first of each kind
        // itself: without a broker, this would be dozens of lines a second.
        tracing::debug!(%error, reason, "producer");
    }

    fn stats(&self, statistics: Statistics) {
        self.1.tell(&statistics);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Group>;

    fn delivery(&self, result: &DeliveryResult<'_>, group: Arc<Group>) {
        match result {
            Ok(_) => self.0.acknowledge(&group, 1),
            Err((error, _)) => self.0.break_down(format!("a delivery failed: {error}")),
        }
    }
}

/// Publishes records and counts their acknowledgements.
pub(crate) struct Publisher {
    /// Sends at once what it is given.
    producer: Arc<PolledProducer<Deliveries>>,
    /// Collects for a moment: without, a client sends the first record of a batch alone,
    /// and in a second request what it was given meanwhile, and the reader is woken for
    /// each.
    bulk: PolledProducer<Deliveries>,
    /// From how many records on a batch goes by the latter.
    bulk_from_records: usize,
    /// Whether this one does.
    is_bulk: bool,
    shared: Arc<Shared>,
    /// How many partitions the topics between services have.
    inner: HashMap<String, i32>,
    /// The topics of which the last record of a key is what holds.
    compacted: BTreeSet<String>,
    /// Counts batches.
    turn: i32,
}

/// The number of partitions of each topic.
pub(crate) type Partitions = BTreeMap<String, i32>;

/// What the client accepts at least: a dead letter is the original record, of up to the
/// topic's limit, and error headers.
const CLIENT_MESSAGE_MIN_BYTES: usize = 8_000_000;
/// What it accepts beyond the largest message that a service makes: its key and headers.
const CLIENT_MESSAGE_ROOM_BYTES: usize = 1_000_000;
/// The most that can be set.
const CLIENT_MESSAGE_MAX_BYTES: usize = 1_000_000_000;

/// A record as the client sends it.
pub(crate) fn record<O: IntoOpaque>(
    record: &StoredRecord,
    opaque: O,
) -> BaseRecord<'_, [u8], [u8], O> {
    let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
    for header in &record.headers {
        headers = headers.insert(Header {
            key: &header.name,
            value: header.value.as_deref(),
        });
    }
    let mut message = BaseRecord::with_opaque_to(&record.topic, opaque).headers(headers);
    message.key = record.key.as_deref();
    message.payload = record.payload.as_deref();
    message
}

/// What every producer of a service is set to.
pub(crate) fn producer_config(settings: &Settings) -> rdkafka::ClientConfig {
    let largest = (settings.max_message_bytes + CLIENT_MESSAGE_ROOM_BYTES)
        .clamp(CLIENT_MESSAGE_MIN_BYTES, CLIENT_MESSAGE_MAX_BYTES);
    let mut config = rdkafka::ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.kafka.bootstrap_servers)
        .set("client.id", &settings.kafka.client_id)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        // Any wait here is a wait of every saga.
        .set("linger.ms", "0")
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS)
        .set("message.max.bytes", largest.to_string())
        // Java's partitioner, so that records of one cart from any client
        // meet in one partition.
        .set("partitioner", "murmur2_random");
    for (name, value) in &settings.kafka.properties {
        config.set(name, value);
    }
    config
}

impl Publisher {
    pub(crate) fn new(settings: &Settings) -> Result<Self, RunError> {
        let mut config = producer_config(settings);
        // A message is given up with the whole producer: its row keeps it, and the next
        // producer sends it. A producer can be stuck though its brokers are well again.
        let timeout = settings.delivery_timeout.as_millis();
        config.set("message.timeout.ms", timeout.to_string());
        let shared = Arc::new(Shared::default());
        let deliveries = |name| Deliveries(Arc::clone(&shared), Traffic::of(name));
        let producer = PolledProducer::start(&config, deliveries("producer"))?;
        config.set("linger.ms", settings.bulk_linger.as_millis().to_string());
        let bulk = PolledProducer::start(&config, deliveries("bulk producer"))?;
        Ok(Self {
            producer: Arc::new(producer),
            bulk,
            bulk_from_records: settings.bulk_from_records,
            is_bulk: false,
            shared,
            inner: HashMap::new(),
            compacted: BTreeSet::new(),
            // Instances that start together do not go in step.
            turn: i32::from(rand::random::<u8>()),
        })
    }

    /// Publishes what is between services by batch from now on: all that a batch has
    /// for one of these topics goes to one partition, and the next batch takes the
    /// next one. A client sends a request for each partition, and the broker wakes the
    /// reader for each: what is one batch here is one batch there.
    pub(crate) fn spread_over(&mut self, inner: impl Iterator<Item = (String, i32)>) {
        self.inner = inner.collect();
    }

    /// Publishes by one producer what is on these topics, so that no record overtakes
    /// an older one of its key.
    pub(crate) fn keep_in_order(&mut self, compacted: BTreeSet<String>) {
        self.compacted = compacted;
    }

    /// Whether of this topic the last record of a key is what holds.
    pub(crate) fn is_compacted(&self, topic: &str) -> bool {
        self.compacted.contains(topic)
    }

    /// What is published from now on belongs to another batch, of so many records.
    pub(crate) fn next_batch(&mut self, records: usize) {
        self.turn = self.turn.wrapping_add(1);
        self.is_bulk = records >= self.bulk_from_records;
    }

    /// Hands records to the producer; their acknowledgement shows in the group.
    pub(crate) async fn publish(&self, records: &[StoredRecord]) -> Result<Arc<Group>, Fault> {
        let group = self.expect(records.len());
        for (number, record) in records.iter().enumerate() {
            if number == 1 {
                reach(Point::WhilePublishing);
            }
            let producer = match self.is_bulk && !self.is_compacted(&record.topic) {
                true => &self.bulk,
                false => &*self.producer,
            };
            let mut message = self::record(record, Arc::clone(&group));
            if let Some(partitions) = self.inner.get(&record.topic) {
                message = message.partition(self.turn.rem_euclid(*partitions));
            }
            while let Err((error, unsent)) = producer.send(message) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(Fault::Broken(format!(
                        "a message for {} was not accepted by the producer: {error}",
                        record.topic
                    )));
                }
                message = unsent;
                self.wait_for_progress(Duration::from_millis(100)).await?;
            }
        }
        Ok(group)
    }

    /// A group of so many messages that are about to be published.
    pub(crate) fn expect(&self, records: usize) -> Arc<Group> {
        self.shared
            .unacknowledged
            .fetch_add(records, Ordering::Relaxed);
        Arc::new(Group {
            left: AtomicUsize::new(records),
        })
    }

    /// What is shared with the lane of transactions.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Messages that Kafka has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.shared.unacknowledged.load(Ordering::Relaxed)
    }

    /// Waits until a group is acknowledged, at most `limit`.
    pub(crate) async fn wait_for_progress(&self, limit: Duration) -> Result<(), Fault> {
        let progressed = self.shared.progressed.notified();
        self.check()?;
        // Elapsing is no fault: the caller looks again.
        let _ = tokio::time::timeout(limit, progressed).await;
        self.check()
    }

    /// Fails once a delivery has failed for good.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        if let Some(reason) = self.shared.broken.get() {
            return Err(Fault::Broken(reason.clone()));
        }
        for producer in [&*self.producer, &self.bulk] {
            if let Some((code, reason)) = producer.client().fatal_error() {
                return Err(Fault::Broken(format!(
                    "the producer failed: {code}: {reason}"
                )));
            }
        }
        Ok(())
    }

    /// The topics that the cluster has.
    pub(crate) async fn partitions(&self, limit: Duration) -> Result<Partitions, Fault> {
        let producer = Arc::clone(&self.producer);
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = producer.client().fetch_metadata(None, limit)?;
            let topics = metadata.topics().iter();
            Ok::<_, KafkaError>(
                topics
                    .map(|topic| (topic.name().to_owned(), topic.partitions().len()))
                    .filter_map(|(name, partitions)| Some((name, i32::try_from(partitions).ok()?)))
                    .filter(|(_, partitions)| *partitions > 0)
                    .collect(),
            )
        });
        match asked.await {
            Ok(Ok(partitions)) => Ok(partitions),
            Ok(Err(error)) => Err(Fault::Transient(format!("no broker answered: {error}"))),
            Err(error) => Err(Fault::Broken(error.to_string())),
        }
    }
}
