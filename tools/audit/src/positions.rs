//! How far each service is in what it consumes.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use contracts::topology::{CONSUMER_LABEL, topology};
use contracts::{Topic, TopicNames};
use rdkafka::Offset;
use rdkafka::message::Message;

use crate::books::Books;
use crate::error::Result;
use crate::log::LogReader;

/// A row of `progress`, compared with the partition's log.
#[derive(Debug, Clone)]
pub(crate) struct Position {
    pub(crate) service: &'static str,
    pub(crate) topic: Topic,
    pub(crate) partition: i32,
    /// The next record to read; `None` before the first.
    pub(crate) next_offset: Option<i64>,
    /// Messages have waited in the row for longer than the grace period.
    pub(crate) outputs_wait: bool,
    /// What the log has beyond it.
    pub(crate) found: Option<Found>,
}

/// What is in a log beyond a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A record that was not handled yet.
    Unread {
        offset: i64,
        /// When it was produced, in milliseconds since 1970.
        at_ms: i64,
        /// Records up to the end of the log, transaction markers included.
        at_most: i64,
    },
    /// The position is not in the log, which goes from `low` to `high`.
    Outside { low: i64, high: i64 },
}

/// The services whose tables the audit has rules of its own for.
pub const SERVICES: &[&str] = &["orchestrator", "inventory", "payment", "order"];

/// The service that consumes a topic, as `topics.yaml` has it; `None` where outsiders do.
pub fn consumer(topic: Topic) -> Option<&'static str> {
    let declared = topology().iter().find(|spec| spec.name == topic.name())?;
    let consumer = declared.labels.get(CONSUMER_LABEL)?.as_str();
    topic.is_consumed().then_some(consumer)
}

/// The services beyond [`SERVICES`] that consume a topic: participants of further steps.
pub fn further_services() -> BTreeSet<&'static str> {
    let consumers = Topic::ALL.iter().copied().filter_map(consumer);
    consumers
        .filter(|service| !SERVICES.contains(service))
        .collect()
}

/// Compares the rows that were read with the logs. The end of a log says too
/// little: markers of transactions have offsets and are no records. So each
/// partition is read from its position on, up to the first record.
pub(crate) fn compare(books: &mut Books, log: &LogReader, names: &TopicNames) -> Result<()> {
    for topic in Topic::ALL.iter().copied() {
        let Some(service) = consumer(topic).filter(|service| books.has_read(service)) else {
            continue;
        };
        let name = names.name(topic);
        let mut starts = Vec::new();
        let mut ends = std::collections::BTreeMap::new();
        for partition in log.partitions(name)? {
            let (low, high) = log.watermarks(name, partition)?;
            let place =
                |position: &Position| position.topic == topic && position.partition == partition;
            let index = match books.positions.iter().position(place) {
                Some(index) => index,
                None => {
                    books.positions.push(Position {
                        service,
                        topic,
                        partition,
                        next_offset: None,
                        outputs_wait: false,
                        found: None,
                    });
                    books.positions.len() - 1
                }
            };
            let position = &mut books.positions[index];
            let start = match position.next_offset {
                // The rows were read a moment before the ends of the logs.
                Some(next) if next < low || next > high => {
                    position.found = Some(Found::Outside { low, high });
                    continue;
                }
                Some(next) => Offset::Offset(next),
                None => Offset::Beginning,
            };
            starts.push((partition, start));
            ends.insert(partition, (high, index));
        }
        log.read(name, &starts, &mut |record| {
            if let Some((high, index)) = ends.get(&record.partition()) {
                books.positions[*index].found = Some(Found::Unread {
                    offset: record.offset(),
                    at_ms: record.timestamp().to_millis().unwrap_or(i64::MIN),
                    at_most: (high - record.offset()).max(1),
                });
            }
            Ok(ControlFlow::Break(()))
        })?;
    }
    Ok(())
}
