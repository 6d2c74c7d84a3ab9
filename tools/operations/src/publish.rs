//! Publishes the few records that operators cause.

use std::time::Duration;

use audit::{Error, Kafka, Result};
use contracts::{Codec, Message, TraceContext, headers};
use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;

/// What such records give as their source, whichever program was used: the producer
/// that topics.yaml names.
const SOURCE: &str = "/checkout/operators";

/// Where a record has been put: partition and offset.
pub(crate) type Place = (i32, i64);

/// A record as it goes to Kafka.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) topic: String,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A producer whose deliveries are awaited one by one.
pub(crate) struct Publisher {
    producer: FutureProducer,
    timeout: Duration,
}

impl Publisher {
    /// A delivery is given up after the timeout of Kafka.
    pub(crate) fn new(kafka: &Kafka) -> Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &kafka.bootstrap_servers)
            .set("client.id", "checkout-operations")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "1")
            // A dead letter is as large as its source accepts.
            .set("message.max.bytes", "8388608")
            .set("message.timeout.ms", kafka.timeout.as_millis().to_string())
            .set("log.connection.close", "false");
        for (name, value) in &kafka.properties {
            config.set(name, value);
        }
        Ok(Self {
            producer: config
                .create()
                .map_err(Error::kafka("cannot create a Kafka producer"))?,
            timeout: kafka.timeout,
        })
    }

    /// Publishes a message on its topic, as part of a new trace.
    pub(crate) async fn message(&self, codec: &Codec, message: &Message) -> Result<Place> {
        let value = codec
            .encode(message)
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let trace = TraceContext::new_root();
        self.send(Outgoing {
            topic: codec
                .topics()
                .name(message.record_type().topic())
                .to_owned(),
            key: Some(message.key().into_bytes()),
            payload: Some(value),
            headers: headers(message, SOURCE, Timestamp::now(), &trace)
                .into_iter()
                .map(|(name, value)| (name, Some(value)))
                .collect(),
        })
        .await
    }

    /// Publishes a record and waits until Kafka has it.
    pub(crate) async fn send(&self, outgoing: Outgoing) -> Result<Place> {
        let mut headers = OwnedHeaders::new();
        for (name, value) in &outgoing.headers {
            headers = headers.insert(Header {
                key: name,
                value: value.as_deref(),
            });
        }
        let mut record: FutureRecord<'_, [u8], [u8]> =
            FutureRecord::to(&outgoing.topic).headers(headers);
        record.key = outgoing.key.as_deref();
        record.payload = outgoing.payload.as_deref();
        let sent = self
            .producer
            .send(record, Timeout::After(self.timeout))
            .await;
        let delivered = sent.map_err(|(error, _)| {
            Error::kafka(format!("{} did not take a record", outgoing.topic))(error)
        })?;
        Ok((delivered.partition, delivered.offset))
    }
}
