//! Clients of the group whose committed offsets are the marks.

use std::collections::BTreeMap;

use audit::{Error, Result, Target};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, DeliveryResult, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::marks::Marks;

/// The name of the group, and of the transactions that write its offsets.
pub(super) fn group(target: &Target) -> String {
    format!("{}checkout-dead-letters", target.topics.prefix())
}

/// Reads the group's offsets; `read_committed` waits for transactions that are open.
pub(super) fn consumer(target: &Target, isolation: &str) -> Result<BaseConsumer> {
    client(target)
        .set("group.id", group(target))
        .set("enable.auto.commit", "false")
        .set("isolation.level", isolation)
        .create()
        .map_err(Error::kafka("cannot create a Kafka consumer"))
}

pub(super) fn producer(target: &Target) -> Result<BaseProducer<Unheard>> {
    client(target)
        .set("transactional.id", group(target))
        .create_with_context(Unheard)
        .map_err(Error::kafka("cannot create a Kafka producer"))
}

fn client(target: &Target) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &target.kafka.bootstrap_servers)
        .set("client.id", "checkout-operations")
        .set("log.connection.close", "false");
    for (name, value) in &target.kafka.properties {
        config.set(name, value);
    }
    config
}

/// What the group has committed, by partition. Blocks.
pub(super) fn committed(
    consumer: &BaseConsumer,
    target: &Target,
    dlq: &str,
    partitions: impl Iterator<Item = i32>,
) -> Result<BTreeMap<i32, Marks>> {
    let cannot = || Error::kafka(format!("cannot ask what was handled of {dlq}"));
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(dlq, partition);
    }
    let committed = consumer
        .committed_offsets(asked, target.kafka.timeout)
        .map_err(cannot())?;
    let mut marks = BTreeMap::new();
    for element in committed.elements() {
        element.error().map_err(cannot())?;
        if let Offset::Offset(offset) = element.offset() {
            marks.insert(element.partition(), Marks::of(offset, element.metadata()));
        }
    }
    Ok(marks)
}

/// What a producer says by itself is not for operators: that it is fenced is no error
/// here, and what fails is told by the call that fails.
pub(super) struct Unheard;

impl ClientContext for Unheard {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "a producer that marks letters");
    }
}

impl ProducerContext for Unheard {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
