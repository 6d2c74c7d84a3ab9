//! Whether the stored positions are those of the logs that are there: a topic may
//! have been deleted and made anew, or have lost records that were not read.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use contracts::TopicNames;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use uuid::Uuid;

use crate::Home;
use crate::fault::{Fault, RunError};
use crate::progress::ReadTo;
use crate::rebalance::broken;

/// Limit of asking a broker for the bounds of a log.
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit of reading the next of the last records again; after that the worker starts again,
/// because a log that was not compared may be another one. Of the next, and not of all: on
/// a busy broker those of many partitions take longer each time, and would never be read.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// What is asked of each partition at once: one record, but a broker gives whole batches.
const FETCH_BYTES: &str = "65536";
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(100);

/// A number that tells a record from another one at the same offset. It is kept
/// in databases: it must stay the same in every version.
pub(crate) fn digest(timestamp_ms: Option<i64>, key: Option<&[u8]>, payload: Option<&[u8]>) -> i64 {
    let parts = [
        &timestamp_ms.unwrap_or_default().to_be_bytes(),
        key.unwrap_or_default(),
        payload.unwrap_or_default(),
    ];
    let (high, _) = Uuid::new_v5(&Uuid::nil(), &parts.concat()).as_u64_pair();
    high.cast_signed()
}

/// The debug context of librdkafka whose lines [`made_anew`] reads: the one that says nothing
/// while records come in.
pub(crate) const DEBUG_CONTEXT: &str = "metadata";

/// The topic of a running consumer that was deleted and made anew, if a line of
/// librdkafka's log tells of one.
///
/// The consumer itself would go on at its offset in the new log, where that is long enough,
/// and give no other sign (`rd_kafka_topic_metadata_update` of librdkafka 2.12). The line
/// comes before the first record of the new log: brokers from Kafka 3.1 on are asked by the
/// topic's id. Older ones are asked by its name, and nothing tells in time.
pub(crate) fn made_anew(line: &str) -> Option<&str> {
    /// What a topic has before the first answer about it.
    const NO_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";
    let (topic, ids) = line.split_once(" changed id from ")?;
    let (_, topic) = topic.rsplit_once("Topic ")?;
    let (former, _) = ids.split_once(" to ")?;
    (former != NO_ID).then_some(topic)
}

/// Checks positions.
pub(crate) struct Positions {
    config: ClientConfig,
    /// Of one check. Nothing is read meanwhile, of no partition.
    limit: Duration,
}

impl Positions {
    /// `config` is that of the consumer; a check takes no longer than `limit`.
    pub(crate) fn new(config: &ClientConfig, limit: Duration) -> Self {
        let mut config = config.clone();
        // It reads beside the group, and no more than it has to.
        config
            .set("fetch.wait.max.ms", "10")
            .set("queued.min.messages", "1")
            .set("fetch.message.max.bytes", FETCH_BYTES)
            .set("statistics.interval.ms", "0")
            // Whatever is at the offset is compared.
            .set("isolation.level", "read_uncommitted");
        Self { config, limit }
    }

    /// Refuses positions that are not in their log, and those whose last record
    /// is another one now, so that nothing is skipped silently.
    pub(crate) fn check(
        &self,
        consumer: &BaseConsumer<impl ConsumerContext>,
        topics: &TopicNames,
        read: Vec<(Home, ReadTo)>,
    ) -> Result<(), Fault> {
        let begin = Instant::now();
        let left = || self.limit.saturating_sub(begin.elapsed());
        let mut last = BTreeMap::new();
        for (home, read_to) in read {
            let (topic, next_offset) = (topics.name(home.topic), read_to.next_offset);
            let (low, high) = consumer
                .fetch_watermarks(topic, home.partition, WATERMARK_TIMEOUT.min(left()))
                .map_err(broken)?;
            if !(low..=high).contains(&next_offset) {
                return Err(Fault::Fatal(RunError::PositionLost {
                    topic: topic.to_owned(),
                    home,
                    next_offset,
                    low,
                    high,
                }));
            }
            if let Some(digest) = read_to.last_record.filter(|_| low < next_offset) {
                last.insert(home, (next_offset - 1, digest));
            }
        }
        self.check_last(topics, last, begin + self.limit)
    }

    /// Reads the last records again and compares. Where none is, there was one: no topic
    /// that is read here is compacted.
    fn check_last(
        &self,
        topics: &TopicNames,
        mut last: BTreeMap<Home, (i64, i64)>,
        deadline: Instant,
    ) -> Result<(), Fault> {
        if last.is_empty() {
            return Ok(());
        }
        let reader: BaseConsumer = self.config.create().map_err(RunError::Configuration)?;
        let mut partitions = TopicPartitionList::new();
        for (home, (offset, _)) in &last {
            let topic = topics.name(home.topic);
            partitions
                .add_partition_offset(topic, home.partition, Offset::Offset(*offset))
                .map_err(broken)?;
        }
        reader.assign(&partitions).map_err(broken)?;
        let mut compared = Instant::now();
        while !last.is_empty() {
            if compared.elapsed() > READ_TIMEOUT || Instant::now() > deadline {
                let places: Vec<_> = last.keys().map(Home::to_string).collect();
                return Err(Fault::Broken(format!(
                    "the last records read could not be compared with the log within \
                     {READ_TIMEOUT:?} each and {:?} in all; if that goes on, see whether these \
                     were deleted and made anew: {}",
                    self.limit,
                    places.join(", ")
                )));
            }
            match reader.poll(POLL) {
                Some(Ok(record)) => {
                    let home = topics.topic(record.topic()).map(|topic| Home {
                        topic,
                        partition: record.partition(),
                    });
                    let expected = home.and_then(|home| Some((home, last.remove(&home)?)));
                    let Some((home, (offset, expected))) = expected else {
                        continue;
                    };
                    let found = digest(
                        record.timestamp().to_millis(),
                        record.key(),
                        record.payload(),
                    );
                    if record.offset() != offset || found != expected {
                        return Err(Fault::Fatal(RunError::TopicReplaced {
                            topic: record.topic().to_owned(),
                            home,
                            offset,
                        }));
                    }
                    compared = Instant::now();
                    // What comes after it is not wanted, and may be much.
                    let mut read = TopicPartitionList::new();
                    read.add_partition(record.topic(), record.partition());
                    reader.pause(&read).map_err(broken)?;
                }
                Some(Err(error)) => return Err(broken(error)),
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_made_anew_is_told_from_one_that_is_met() {
        let anew = "[thrd:main]: Topic a.commands changed id from \
                    9q1Fgs0nTEyYd4aN4lGzfg to Zk3y1QGbRUWLW2fE3kX5kw";
        assert_eq!(made_anew(anew), Some("a.commands"));
        let met = "[thrd:main]: Topic a.commands changed id from \
                   AAAAAAAAAAAAAAAAAAAAAA to Zk3y1QGbRUWLW2fE3kX5kw";
        assert_eq!(made_anew(met), None);
        let other = "[thrd:main]: Topic a.commands partition 0 Leader 1";
        assert_eq!(made_anew(other), None);
    }

    #[test]
    fn the_digest_is_the_same_in_every_version() {
        let one = digest(Some(1_750_000_000_000), Some(b"cart"), Some(b"payload"));
        assert_eq!(one, 6_634_741_766_912_761_075);
        assert_ne!(
            one,
            digest(Some(1_750_000_000_001), Some(b"cart"), Some(b"payload"))
        );
        assert_ne!(
            one,
            digest(Some(1_750_000_000_000), Some(b"other"), Some(b"payload"))
        );
        assert_ne!(
            one,
            digest(Some(1_750_000_000_000), Some(b"cart"), Some(b"other"))
        );
    }
}
