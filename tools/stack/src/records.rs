//! What is stored on topics, read from the beginning to the end.

use std::ops::ControlFlow;

use audit::{Kafka, LogReader};
use rdkafka::Offset;
use rdkafka::message::{BorrowedMessage, Headers, Message};

use crate::error::{Error, Result};

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
    let log = LogReader::new(&Kafka::at(servers))?;
    let mut found = Vec::new();
    for topic in topics {
        let partitions = log.partitions(topic)?.into_iter();
        let starts: Vec<_> = partitions
            .map(|partition| (partition, Offset::Beginning))
            .collect();
        log.read(topic, &starts, &mut |record| {
            if wanted(record.key()) {
                found.push(stored(record));
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(found)
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
