//! Which letters were handled: kept in Kafka as a group's committed offsets.
//!
//! The committed offset of a partition says that everything before it was handled,
//! and its metadata which offsets behind it were: `7,9-12`. Kafka forgets them some
//! time after the last commit (`offsets.retention.minutes`, a week by default). Then
//! letters that are still in their topic count as open again; that is harmless,
//! since a record that is redriven twice is recognised like any repeat.

use std::collections::{BTreeMap, BTreeSet};

use audit::{Error, Result, Target};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// What brokers take as metadata, by default, in bytes.
const METADATA_MAX_BYTES: usize = 4_096;

/// What was handled of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    handled_to: i64,
    handled: BTreeSet<i64>,
}

impl Marks {
    /// Everything before this offset was handled.
    pub(super) fn handled_to(&self) -> i64 {
        self.handled_to
    }

    pub(super) fn is_handled(&self, offset: i64) -> bool {
        offset < self.handled_to || self.handled.contains(&offset)
    }

    /// Adds offsets, in a log that begins at `low`.
    fn add(&mut self, offsets: impl IntoIterator<Item = i64>, low: i64) {
        self.handled.extend(offsets);
        self.handled_to = self.handled_to.max(low);
        while self.handled.remove(&self.handled_to) {
            self.handled_to += 1;
        }
        self.handled = self.handled.split_off(&self.handled_to);
    }

    fn of(committed: i64, metadata: &str) -> Self {
        let mut marks = Self {
            handled_to: committed,
            handled: BTreeSet::new(),
        };
        for range in metadata.split(',').filter(|range| !range.is_empty()) {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            // What somebody else has written there is not ours to judge.
            if let (Ok(from), Ok(to)) = (from.parse::<i64>(), to.parse::<i64>())
                && to.saturating_sub(from) < 1_000_000
            {
                marks.handled.extend(from..=to);
            }
        }
        marks
    }

    fn metadata(&self) -> String {
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for offset in &self.handled {
            match ranges.last_mut() {
                Some((_, to)) if *to + 1 == *offset => *to = *offset,
                _ => ranges.push((*offset, *offset)),
            }
        }
        let texts = ranges.into_iter().map(|(from, to)| match from == to {
            true => from.to_string(),
            false => format!("{from}-{to}"),
        });
        texts.collect::<Vec<_>>().join(",")
    }
}

fn consumer(target: &Target) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &target.kafka.bootstrap_servers)
        .set("client.id", "checkout-operations")
        .set(
            "group.id",
            format!("{}checkout-dead-letters", target.topics.prefix()),
        )
        .set("enable.auto.commit", "false")
        .set("log.connection.close", "false");
    for (name, value) in &target.kafka.properties {
        config.set(name, value);
    }
    config
        .create()
        .map_err(Error::kafka("cannot create a Kafka consumer"))
}

/// What was handled of a dead-letter topic, by partition. Blocks.
pub(super) fn read(
    target: &Target,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, Marks>> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(topic, *partition);
    }
    let committed = consumer(target)?
        .committed_offsets(asked, target.kafka.timeout)
        .map_err(Error::kafka(format!(
            "cannot ask what was handled of {topic}"
        )))?;
    Ok(committed
        .elements()
        .iter()
        .filter_map(|element| match element.offset() {
            Offset::Offset(offset) => {
                Some((element.partition(), Marks::of(offset, element.metadata())))
            }
            _ => None,
        })
        .collect())
}

/// Marks offsets of a dead-letter topic as handled, or only finds out whether that
/// is possible. Blocks.
pub(super) fn mark(
    target: &Target,
    topic: &str,
    handled: &BTreeMap<i32, Vec<i64>>,
    dry_run: bool,
) -> Result<()> {
    let partitions: Vec<i32> = handled.keys().copied().collect();
    let mut marks = read(target, topic, &partitions)?;
    let consumer = consumer(target)?;
    let mut commit = TopicPartitionList::new();
    for (partition, offsets) in handled {
        let (low, _) = consumer
            .fetch_watermarks(topic, *partition, target.kafka.timeout)
            .map_err(Error::kafka(format!("cannot ask for the ends of {topic}")))?;
        let marks = marks.entry(*partition).or_default();
        marks.add(offsets.iter().copied(), low);
        let metadata = marks.metadata();
        if metadata.len() > METADATA_MAX_BYTES {
            return Err(Error::Invalid(format!(
                "too many letters in the middle of {topic}, partition {partition}, would be \
                 handled, to remember which: handle the oldest ones first"
            )));
        }
        let cannot = || Error::kafka(format!("cannot mark letters of {topic}"));
        let mut element = commit.add_partition(topic, *partition);
        element
            .set_offset(Offset::Offset(marks.handled_to))
            .map_err(cannot())?;
        element.set_metadata(metadata);
    }
    if dry_run || handled.is_empty() {
        return Ok(());
    }
    consumer
        .commit(&commit, CommitMode::Sync)
        .map_err(Error::kafka(format!("cannot mark letters of {topic}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_close_up_and_survive_their_text() {
        let mut marks = Marks::default();
        marks.add([3, 5, 6, 7], 0);
        assert_eq!((marks.handled_to, marks.metadata().as_str()), (0, "3,5-7"));
        assert_eq!(Marks::of(0, "3,5-7"), marks);
        assert!(marks.is_handled(6) && !marks.is_handled(4) && !marks.is_handled(0));
        marks.add([0, 1, 2], 0);
        assert_eq!((marks.handled_to, marks.metadata().as_str()), (4, "5-7"));
        // The log has lost its beginning.
        marks.add([9], 6);
        assert_eq!((marks.handled_to, marks.metadata().as_str()), (8, "9"));
        marks.add([8], 6);
        assert_eq!((marks.handled_to, marks.metadata().as_str()), (10, ""));
    }

    #[test]
    fn metadata_of_others_is_passed_over() {
        let marks = Marks::of(2, "hello,4,7-,0-9999999999");
        assert_eq!(marks.handled, BTreeSet::from([4]));
    }
}
