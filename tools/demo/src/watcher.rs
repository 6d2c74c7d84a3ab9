//! What the public topics say, as any `read_committed` consumer sees it.

use std::time::{Duration, Instant};

use anyhow::Context;
use contracts::ids::CheckoutId;
use contracts::{Codec, Message, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use stack::Installation;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::carts::Ending;

/// Asking for a topic's partitions.
const METADATA_LIMIT: Duration = Duration::from_secs(30);
/// How soon it notices that nobody listens any more.
const POLL: Duration = Duration::from_millis(100);
/// The topics that say how checkouts end.
const TOPICS: [Topic; 2] = [Topic::OrderingOrders, Topic::OrderingCheckouts];

/// A checkout has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) checkout: CheckoutId,
    pub(crate) ending: Ending,
    /// When this program read it.
    pub(crate) at: Instant,
}

/// Follows both topics from their beginning; endings come through the result
/// until it is dropped. An error is the last thing that comes.
pub(crate) fn watch(
    installation: &Installation,
    codec: &Codec,
) -> anyhow::Result<mpsc::Receiver<anyhow::Result<Ended>>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &installation.bootstrap_servers)
        .set("client.id", "demo-watcher")
        .set(
            "group.id",
            format!("{}demo-watcher", installation.topic_prefix),
        )
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()
        .context("cannot create a consumer")?;
    let mut assignment = TopicPartitionList::new();
    for topic in TOPICS {
        let name = codec.topics().name(topic);
        let metadata = consumer
            .fetch_metadata(Some(name), METADATA_LIMIT)
            .with_context(|| format!("cannot find topic {name}"))?;
        for partition in metadata
            .topics()
            .iter()
            .flat_map(|found| found.partitions())
        {
            assignment.add_partition_offset(name, partition.id(), Offset::Beginning)?;
        }
    }
    consumer
        .assign(&assignment)
        .context("cannot read the public topics")?;
    let (sender, receiver) = mpsc::channel(1_024);
    let codec = codec.clone();
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name("watcher".into())
        .spawn(move || follow(&consumer, &codec, &runtime, &sender))
        .context("cannot start a thread")?;
    Ok(receiver)
}

/// Sends endings until nobody wants them any more.
fn follow(
    consumer: &BaseConsumer,
    codec: &Codec,
    runtime: &Handle,
    sender: &mpsc::Sender<anyhow::Result<Ended>>,
) {
    while !sender.is_closed() {
        // librdkafka goes on by itself after an error; a lasting one shows as
        // silence.
        let Some(Ok(record)) = consumer.poll(POLL) else {
            continue;
        };
        let at = Instant::now();
        let ended = match runtime.block_on(decode(&record, codec)) {
            Ok(Some((checkout, ending))) => Ok(Ended {
                checkout,
                ending,
                at,
            }),
            Ok(None) => continue,
            Err(error) => Err(error),
        };
        let last = ended.is_err();
        if sender.blocking_send(ended).is_err() || last {
            return;
        }
    }
}

/// What a record says of how a checkout ended.
async fn decode(
    record: &BorrowedMessage<'_>,
    codec: &Codec,
) -> anyhow::Result<Option<(CheckoutId, Ending)>> {
    let Some(topic) = codec.topics().topic(record.topic()) else {
        return Ok(None);
    };
    let message = codec
        .decode(topic, record.payload())
        .await
        .with_context(|| {
            let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
            format!("the record {topic}[{partition}]@{offset} cannot be decoded")
        })?;
    Ok(match message {
        Message::OrderCreated(order) => Some((order.checkout_id, Ending::Created)),
        Message::CheckoutFailed(failed) => {
            Some((failed.checkout_id, Ending::Failed(failed.reason)))
        }
        Message::CheckoutRejected(rejected) => {
            Some((rejected.checkout_id, Ending::Rejected(rejected.reason)))
        }
        _ => None,
    })
}
