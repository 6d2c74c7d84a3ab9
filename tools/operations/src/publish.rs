//! Publishes the few records that operators cause.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use audit::{Error, Kafka, Result};
use contracts::{Codec, Message, TraceContext, headers};
use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
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

/// Why it is not known that Kafka has a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// Kafka does not have it.
    Refused(String),
    /// Kafka was lost meanwhile, and may have it all the same.
    Unknown(String),
    /// Kafka had been lost, and it was not tried.
    NotTried(String),
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) => write!(f, "not published: {why}"),
            Self::Unknown(why) => write!(f, "it is not known whether it was published: {why}"),
            Self::NotTried(why) => {
                write!(
                    f,
                    "not tried, since Kafka was lost: {why}; check the brokers"
                )
            }
        }
    }
}

/// A producer whose deliveries are awaited one by one.
pub(crate) struct Publisher {
    producer: FutureProducer,
    timeout: Duration,
    /// How the cluster was lost, once it was.
    lost: OnceLock<String>,
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
            lost: OnceLock::new(),
        })
    }

    /// Publishes a message on its topic, as part of a new trace. Once the cluster was lost
    /// no other is tried: each would wait for it in vain.
    pub(crate) async fn message(&self, codec: &Codec, message: &Message) -> Result<Place, Unsent> {
        if let Some(why) = self.lost.get() {
            return Err(Unsent::NotTried(why.clone()));
        }
        let sent = self.try_message(codec, message).await;
        sent.map_err(|error| self.unsent(&error))
    }

    fn unsent(&self, error: &Error) -> Unsent {
        let why = error.to_string();
        if !is_gone(error) {
            return Unsent::Refused(why);
        }
        // What was told first is kept.
        let _ = self.lost.set(why.clone());
        Unsent::Unknown(why)
    }

    async fn try_message(&self, codec: &Codec, message: &Message) -> Result<Place> {
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
            Error::kafka(format!("{} did not confirm a record", outgoing.topic))(error)
        })?;
        Ok((delivered.partition, delivered.offset))
    }
}

/// Whether the cluster does not answer: it would not take the next record either, and may
/// have taken this one.
pub(crate) fn is_gone(error: &Error) -> bool {
    use RDKafkaErrorCode as Code;
    let Error::Kafka { cause, .. } = error else {
        return false;
    };
    matches!(
        cause.rdkafka_error_code(),
        Some(
            Code::MessageTimedOut
                | Code::OperationTimedOut
                | Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Fatal
        )
    )
}

#[cfg(test)]
mod tests {
    use contracts::ids::{CartId, GenericUuid, OperationId};
    use contracts::messages::{OperationAction, SagaOperation};
    use contracts::{RegistryConfig, TopicNames};
    use rdkafka::error::KafkaError;
    use uuid::Uuid;

    use super::*;

    fn failed(code: RDKafkaErrorCode) -> Error {
        Error::kafka("a topic did not confirm a record")(KafkaError::MessageProduction(code))
    }

    #[tokio::test]
    async fn nothing_is_tried_once_the_cluster_is_lost_and_what_was_on_its_way_is_not_known() {
        let publisher = Publisher::new(&Kafka::at("127.0.0.1:1")).unwrap();
        let registry = RegistryConfig::at("http://127.0.0.1:1");
        let names = TopicNames::default();
        let codec = Codec::connect(&registry, names, &[]).await.unwrap();
        let operation = SagaOperation {
            operation_id: OperationId::from_untyped_uuid(Uuid::nil()),
            cart_id: CartId::from_untyped_uuid(Uuid::nil()),
            checkout_id: None,
            action: OperationAction::Retry,
            step: None,
            evidence: None,
            operator: "night shift".to_owned(),
            reason: "a test".to_owned(),
            requested_at: Timestamp::UNIX_EPOCH,
        };
        let message = Message::from(operation);

        // One that is refused stops no other: the codec knows no schema to write.
        let refused = publisher.unsent(&failed(RDKafkaErrorCode::MessageSizeTooLarge));
        assert!(matches!(refused, Unsent::Refused(_)), "{refused}");
        let refused = publisher.message(&codec, &message).await.unwrap_err();
        assert!(matches!(refused, Unsent::Refused(_)), "{refused}");

        let unknown = publisher.unsent(&failed(RDKafkaErrorCode::MessageTimedOut));
        assert!(matches!(unknown, Unsent::Unknown(_)), "{unknown}");
        assert!(
            unknown.to_string().contains("not known whether"),
            "{unknown}"
        );
        let left = publisher.message(&codec, &message).await.unwrap_err();
        assert!(matches!(left, Unsent::NotTried(_)), "{left}");
        for part in ["not tried", "did not confirm", "check the brokers"] {
            assert!(left.to_string().contains(part), "{part}: {left}");
        }
    }
}
