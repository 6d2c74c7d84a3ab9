//! What is stored on topics, read from the beginning to the end.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::error::{Error, Result};

/// Asking for a topic's partitions.
const METADATA_LIMIT: Duration = Duration::from_secs(30);
/// Without any record or end of a partition for so long, reading is given up.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// A record as it is stored.
#[derive(Debug, Clone)]
pub struct StoredRecord {
    /// Full name of the topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// When it was produced, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub payload: Option<Vec<u8>>,
    /// Headers.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// Reads all records that `topics` hold now, as a `read_committed` consumer
/// sees them, and keeps those that are `wanted` (by their key).
///
/// # Errors
/// When a topic does not exist, or Kafka does not answer for a minute.
pub async fn stored_records(
    bootstrap_servers: &str,
    topics: &[&str],
    wanted: impl Fn(Option<&[u8]>) -> bool + Send + 'static,
) -> Result<Vec<StoredRecord>> {
    let servers = bootstrap_servers.to_owned();
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    tokio::task::spawn_blocking(move || read(&servers, &topics, &wanted))
        .await
        .map_err(|error| Error::Invalid(error.to_string()))?
}

fn read(
    servers: &str,
    topics: &[String],
    wanted: &dyn Fn(Option<&[u8]>) -> bool,
) -> Result<Vec<StoredRecord>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "stack-records")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        // The end of a partition is told after one fetch that found nothing.
        .set("fetch.wait.max.ms", "10")
        .create()
        .map_err(Error::kafka("cannot create a consumer"))?;
    let mut found = Vec::new();
    // One topic after another, because librdkafka tells the end of a partition
    // by its number alone.
    for topic in topics {
        read_topic(&consumer, topic, wanted, &mut found)?;
    }
    Ok(found)
}

fn read_topic(
    consumer: &BaseConsumer,
    topic: &str,
    wanted: &dyn Fn(Option<&[u8]>) -> bool,
    found: &mut Vec<StoredRecord>,
) -> Result<()> {
    let cannot = || Error::kafka(format!("cannot read topic {topic}"));
    let mut open: HashSet<i32> = partitions(consumer, topic)?.into_iter().collect();
    let mut assignment = TopicPartitionList::new();
    for partition in &open {
        assignment
            .add_partition_offset(topic, *partition, Offset::Beginning)
            .map_err(cannot())?;
    }
    consumer.assign(&assignment).map_err(cannot())?;
    let mut last_news = Instant::now();
    while !open.is_empty() {
        let polled = consumer.poll(Duration::from_millis(100));
        let silent = last_news.elapsed() > SILENCE_LIMIT;
        match polled {
            Some(Ok(record)) => {
                last_news = Instant::now();
                if wanted(record.key()) {
                    found.push(stored(&record));
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                last_news = Instant::now();
                open.remove(&partition);
            }
            // librdkafka goes on trying by itself.
            Some(Err(error)) if silent => return Err(cannot()(error)),
            None if silent => {
                return Err(Error::Invalid(format!(
                    "partitions {open:?} of topic {topic} could not be read to their end within \
                     {} s",
                    SILENCE_LIMIT.as_secs()
                )));
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(())
}

fn stored(record: &BorrowedMessage<'_>) -> StoredRecord {
    let headers = record.headers().map_or_else(Vec::new, |headers| {
        let each = headers.iter().map(|header| {
            let value = header.value.unwrap_or_default().to_vec();
            (header.key.to_owned(), value)
        });
        each.collect()
    });
    StoredRecord {
        topic: record.topic().to_owned(),
        partition: record.partition(),
        offset: record.offset(),
        timestamp_ms: record.timestamp().to_millis().unwrap_or_default(),
        key: record.key().map(<[u8]>::to_vec),
        payload: record.payload().map(<[u8]>::to_vec),
        headers,
    }
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Result<Vec<i32>> {
    let metadata = consumer
        .fetch_metadata(Some(topic), METADATA_LIMIT)
        .map_err(Error::kafka(format!("cannot find topic {topic}")))?;
    let partitions: Vec<i32> = metadata
        .topics()
        .iter()
        .filter(|found| found.error().is_none())
        .flat_map(|found| found.partitions())
        .map(|partition| partition.id())
        .collect();
    match partitions.is_empty() {
        true => Err(Error::Invalid(format!("topic {topic} does not exist"))),
        false => Ok(partitions),
    }
}
