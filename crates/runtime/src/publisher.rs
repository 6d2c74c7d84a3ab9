//! The producer, and what Kafka has not yet acknowledged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;

use crate::fault::{Fault, RunError};
use crate::settings::Settings;
use crate::stored::StoredRecord;

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

#[derive(Debug, Default)]
struct Shared {
    unacknowledged: AtomicUsize,
    progressed: Notify,
    broken: OnceLock<String>,
}

struct Deliveries(Arc<Shared>);

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        // Connections come and go and librdkafka reconnects; a fatal error
        // shows as a failed delivery. librdkafka logs the first of each kind
        // itself: without a broker, this would be dozens of lines a second.
        tracing::debug!(%error, reason, "producer");
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Group>;

    fn delivery(&self, result: &DeliveryResult<'_>, group: Arc<Group>) {
        match result {
            Ok(_) => {
                self.0.unacknowledged.fetch_sub(1, Ordering::Relaxed);
                if group.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    self.0.progressed.notify_waiters();
                }
            }
            Err((error, _)) => {
                // The second and later ones say no more than the first.
                let _ = self.0.broken.set(error.to_string());
                self.0.progressed.notify_waiters();
            }
        }
    }
}

/// Publishes records in order and counts their acknowledgements.
pub(crate) struct Publisher {
    producer: ThreadedProducer<Deliveries>,
    shared: Arc<Shared>,
}

/// Room that a dead-letter record needs beyond the largest record of its topic:
/// the original value of up to the topic's limit, plus error headers.
const PRODUCER_MESSAGE_MAX_BYTES: &str = "8000000";

impl Publisher {
    pub(crate) fn new(settings: &Settings) -> Result<Self, RunError> {
        let mut config = rdkafka::ClientConfig::new();
        config
            .set("bootstrap.servers", &settings.kafka.bootstrap_servers)
            .set("client.id", &settings.kafka.client_id)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // A message is given up only with the whole producer: its row
            // keeps it, and the next producer sends it.
            .set("message.timeout.ms", "0")
            // Any wait here is a wait of every saga.
            .set("linger.ms", "0")
            .set("message.max.bytes", PRODUCER_MESSAGE_MAX_BYTES)
            // Java's partitioner, so that records of one cart from any client
            // meet in one partition.
            .set("partitioner", "murmur2_random");
        for (name, value) in &settings.kafka.properties {
            config.set(name, value);
        }
        let shared = Arc::new(Shared::default());
        let producer = config
            .create_with_context(Deliveries(Arc::clone(&shared)))
            .map_err(RunError::Configuration)?;
        Ok(Self { producer, shared })
    }

    /// Hands records to the producer; their acknowledgement shows in the group.
    pub(crate) async fn publish(&self, records: &[StoredRecord]) -> Result<Arc<Group>, Fault> {
        let group = Arc::new(Group {
            left: AtomicUsize::new(records.len()),
        });
        self.shared
            .unacknowledged
            .fetch_add(records.len(), Ordering::Relaxed);
        for record in records {
            let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
            for header in &record.headers {
                headers = headers.insert(Header {
                    key: &header.name,
                    value: header.value.as_deref(),
                });
            }
            let mut message: BaseRecord<'_, [u8], [u8], Arc<Group>> =
                BaseRecord::with_opaque_to(&record.topic, Arc::clone(&group)).headers(headers);
            message.key = record.key.as_deref();
            message.payload = record.payload.as_deref();
            while let Err((error, unsent)) = self.producer.send(message) {
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
            return Err(Fault::Broken(format!("a delivery failed: {reason}")));
        }
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            return Err(Fault::Broken(format!(
                "the producer failed: {code}: {reason}"
            )));
        }
        Ok(())
    }

    /// The topics of `wanted` that the cluster does not have.
    pub(crate) fn missing_topics(
        &self,
        wanted: &[String],
        limit: Duration,
    ) -> Result<Vec<String>, Fault> {
        let metadata = self
            .producer
            .client()
            .fetch_metadata(None, limit)
            .map_err(|error| Fault::Transient(format!("no broker answered: {error}")))?;
        Ok(wanted
            .iter()
            .filter(|name| {
                !metadata
                    .topics()
                    .iter()
                    .any(|topic| topic.name() == name.as_str() && !topic.partitions().is_empty())
            })
            .cloned()
            .collect())
    }
}
