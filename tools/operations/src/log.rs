//! Finds records in the logs: at offsets, or from a time on; never from the
//! beginning. One thread and one consumer a topic; nothing is committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use audit::{Error, Kafka, Quiet, Result};
use contracts::Topic;
use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::partition;

/// How long one poll waits.
const POLL: Duration = Duration::from_millis(50);
/// Bytes that a broker sends at once: what is looked for is near the start.
const FETCH_BYTES: &str = "65536";

/// A record as it is in a log.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) at: Option<Timestamp>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Raw {
    pub(crate) fn of(record: &BorrowedMessage<'_>) -> Self {
        let headers = record.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect()
        });
        Self {
            partition: record.partition(),
            offset: record.offset(),
            at: record
                .timestamp()
                .to_millis()
                .and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            payload: record.payload().map(<[u8]>::to_vec),
            headers,
        }
    }

    /// A header as text; the last one of this name, as the newest adds itself
    /// behind the others.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().rev().find(|(header, _)| header == name);
        let value = found?.1.as_deref()?;
        Some(String::from_utf8_lossy(value).into_owned())
    }
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Start {
    /// The record at this offset, and no other.
    Exactly(i64),
    /// At this offset.
    Offset(i64),
    /// At the first record that is not older.
    Time(Timestamp),
    /// So many offsets before the end.
    Tail(i64),
}

/// A topic, or its dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Log {
    pub(crate) topic: Topic,
    pub(crate) is_dlq: bool,
}

/// What to look for.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub(crate) log: Log,
    /// `None`: the partition of the key, or any where the topic is between services,
    /// which choose a partition by batch.
    pub(crate) partition: Option<i32>,
    pub(crate) start: Start,
    /// Ends the search; `None`: all records of the key are wanted, as far as the
    /// search may go.
    pub(crate) wanted: Option<&'static str>,
}

/// What came of a look-up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// The records of the key, in the order of the log; for [`Start::Exactly`] the
    /// record, whatever its key.
    pub(crate) records: Vec<Raw>,
    /// The one that was wanted.
    pub(crate) wanted: Option<usize>,
    /// The search ended at its limit, and not at the end of the log.
    pub(crate) cut: bool,
}

/// How a group of consumers is getting on with a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends {
    pub(crate) low: i64,
    pub(crate) high: i64,
    /// What the group has committed.
    pub(crate) committed: Option<i64>,
}

/// What was looked up.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// In the order of the look-ups.
    pub(crate) found: Vec<Found>,
    /// The log of each.
    pub(crate) logs: Vec<Log>,
    /// By log and partition.
    pub(crate) ends: BTreeMap<(Log, i32), Ends>,
    /// Records that came from the brokers and were looked at.
    pub(crate) read: u64,
}

/// Everything that is wanted of the logs, said at once.
pub(crate) struct Questions<'q> {
    pub(crate) kafka: &'q Kafka,
    /// The full name of a log.
    pub(crate) name: &'q (dyn Fn(Log) -> String + Sync),
    pub(crate) key: &'q [u8],
    pub(crate) lookups: Vec<Lookup>,
    /// Logs whose ends are wanted, with the group that reads them.
    pub(crate) ends: Vec<(Log, String)>,
    /// Records that one search may read of a partition.
    pub(crate) at_most: u64,
}

impl Questions<'_> {
    /// Asks all topics at the same time. Blocks.
    pub(crate) fn ask(&self) -> Result<Answers> {
        let mut by_log: BTreeMap<Log, Vec<usize>> = BTreeMap::new();
        for (index, lookup) in self.lookups.iter().enumerate() {
            by_log.entry(lookup.log).or_default().push(index);
        }
        for (log, _) in &self.ends {
            by_log.entry(*log).or_default();
        }
        let asked: Vec<Result<Part>> = std::thread::scope(|scope| {
            let threads: Vec<_> = by_log
                .iter()
                .map(|(log, indexes)| scope.spawn(|| self.ask_one(*log, indexes)))
                .collect();
            let broke_down = || Error::Invalid("a thread that reads Kafka broke down".to_owned());
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| broke_down())?)
                .collect()
        });
        let mut answers = Answers {
            found: vec![Found::default(); self.lookups.len()],
            logs: self.lookups.iter().map(|lookup| lookup.log).collect(),
            ..Answers::default()
        };
        for part in asked {
            let part = part?;
            answers.read += part.read;
            answers.ends.extend(part.ends);
            for (index, found) in part.found {
                answers.found[index] = found;
            }
        }
        Ok(answers)
    }

    fn ask_one(&self, log: Log, indexes: &[usize]) -> Result<Part> {
        let group = self.ends.iter().find(|(of, _)| *of == log);
        let mut reader = Reader::open(self.kafka, (self.name)(log), group.map(|(_, g)| g))?;
        let mut part = Part::default();
        if group.is_some() {
            for (partition, ends) in reader.ends()? {
                part.ends.insert((log, partition), ends);
            }
        }
        let of_key = partition::of_key(self.key, reader.partitions);
        // Along the log, so that what was just read need not be read again.
        let mut lookups: Vec<(Vec<Place>, usize)> = Vec::new();
        for index in indexes {
            let lookup = &self.lookups[*index];
            let partitions = match lookup.partition {
                Some(partition) => partition..partition + 1,
                None if log.topic.is_inner() && !log.is_dlq => 0..reader.partitions,
                None => of_key..of_key + 1,
            };
            let mut places = Vec::new();
            for partition in partitions {
                let offset = reader.locate(partition, lookup.start)?;
                places.extend(offset.map(|offset| (partition, offset)));
            }
            if places.is_empty() {
                part.found.push((*index, Found::default()));
            } else {
                lookups.push((places, *index));
            }
        }
        lookups.sort_unstable();
        for (places, index) in lookups {
            let lookup = &self.lookups[index];
            let found = match lookup.start {
                Start::Exactly(_) => reader.one(&places)?,
                _ => reader.search(&places, self.key, lookup.wanted, self.at_most)?,
            };
            part.found.push((index, found));
        }
        part.read = reader.read;
        Ok(part)
    }
}

/// A partition, and an offset in it.
type Place = (i32, i64);

/// The answers about one log.
#[derive(Default)]
struct Part {
    found: Vec<(usize, Found)>,
    ends: BTreeMap<(Log, i32), Ends>,
    read: u64,
}

/// Reads one log here and there.
struct Reader {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    partitions: i32,
    timeout: Duration,
    read: u64,
}

impl Reader {
    /// `group` is only asked for its committed offsets.
    fn open(kafka: &Kafka, topic: String, group: Option<&String>) -> Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &kafka.bootstrap_servers)
            .set("client.id", "checkout-operations")
            .set(
                "group.id",
                group.map_or("checkout-operations", String::as_str),
            )
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "5")
            .set("fetch.message.max.bytes", FETCH_BYTES)
            .set("queued.min.messages", "1")
            // So little is queued that the queue is full at once; a second is the
            // default.
            .set("fetch.queue.backoff.ms", "5")
            .set("log.connection.close", "false");
        for (name, value) in &kafka.properties {
            config.set(name, value);
        }
        let consumer: BaseConsumer<Quiet> = config
            .create_with_context(Quiet)
            .map_err(Error::kafka("cannot create a Kafka consumer"))?;
        let metadata = consumer
            .fetch_metadata(Some(&topic), kafka.timeout)
            .map_err(Error::kafka(format!("cannot find topic {topic}")))?;
        let partitions = metadata
            .topics()
            .iter()
            .filter(|found| found.error().is_none())
            .map(|found| found.partitions().len())
            .next()
            .unwrap_or(0);
        if partitions == 0 {
            return Err(Error::Invalid(format!(
                "topic {topic} does not exist; `checkoutctl topics apply` creates it, \
                 --topic-prefix says what its name begins with"
            )));
        }
        Ok(Self {
            consumer,
            topic,
            partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
            timeout: kafka.timeout,
            read: 0,
        })
    }

    fn watermarks(&self, partition: i32) -> Result<(i64, i64)> {
        audit::ends(&self.consumer, &self.topic, partition, self.timeout)
    }

    fn list(&self, partition: i32, offset: Offset) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, partition, offset)
            .map_err(Error::kafka(format!("cannot read topic {}", self.topic)))?;
        Ok(list)
    }

    fn ends(&self) -> Result<Vec<(i32, Ends)>> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(&self.topic, 0, self.partitions - 1);
        // A group that never committed has no offsets; a broker that does not say
        // leaves them unknown.
        let committed = self
            .consumer
            .committed_offsets(asked, self.timeout)
            .unwrap_or_else(|_| TopicPartitionList::new());
        (0..self.partitions)
            .map(|partition| {
                let (low, high) = self.watermarks(partition)?;
                let committed =
                    committed
                        .find_partition(&self.topic, partition)
                        .and_then(|element| match element.offset() {
                            Offset::Offset(offset) => Some(offset),
                            _ => None,
                        });
                let ends = Ends {
                    low,
                    high,
                    committed,
                };
                Ok((partition, ends))
            })
            .collect()
    }

    /// The offset to begin at; `None` where there is nothing to read.
    fn locate(&self, partition: i32, start: Start) -> Result<Option<i64>> {
        if !(0..self.partitions).contains(&partition) {
            return Ok(None);
        }
        match start {
            Start::Exactly(offset) | Start::Offset(offset) => {
                let (low, high) = self.watermarks(partition)?;
                Ok(match start {
                    Start::Exactly(_) => (low..high).contains(&offset).then_some(offset),
                    _ => (offset < high).then_some(offset.max(low)),
                })
            }
            Start::Tail(back) => {
                let (low, high) = self.watermarks(partition)?;
                Ok((low < high).then_some(high.saturating_sub(back).max(low)))
            }
            Start::Time(at) => {
                let at = self.list(partition, Offset::Offset(at.as_millisecond()))?;
                let found =
                    self.consumer
                        .offsets_for_times(at, self.timeout)
                        .map_err(Error::kafka(format!(
                            "cannot look for a time in topic {}",
                            self.topic
                        )))?;
                Ok(found
                    .elements()
                    .first()
                    .and_then(|element| match element.offset() {
                        Offset::Offset(offset) => Some(offset),
                        _ => None,
                    }))
            }
        }
    }

    /// The record at a place; nothing where it was compacted away.
    fn one(&mut self, places: &[Place]) -> Result<Found> {
        let mut found = Found::default();
        self.each(places, |record| {
            if places.contains(&(record.partition(), record.offset())) {
                found.records.push(Raw::of(record));
                found.wanted = Some(0);
            }
            Go::Enough
        })?;
        Ok(found)
    }

    fn search(
        &mut self,
        places: &[Place],
        key: &[u8],
        wanted: Option<&str>,
        at_most: u64,
    ) -> Result<Found> {
        let mut found = Found::default();
        let mut left: BTreeMap<i32, u64> = places.iter().map(|(p, _)| (*p, at_most)).collect();
        let mut cut = false;
        // Partitions come in any order: the wanted one is the oldest of them all, and
        // a command that was sent again may be in another partition than the first.
        let mut oldest = None;
        self.each(places, |record| {
            let at = record.timestamp().to_millis();
            if oldest.is_some_and(|oldest| at >= oldest) {
                return Go::OnElsewhere;
            }
            if record.key() == Some(key) {
                let raw = Raw::of(record);
                let is_wanted =
                    wanted.is_some() && raw.header(contracts::CE_TYPE).as_deref() == wanted;
                found.records.push(raw);
                if is_wanted {
                    found.wanted = Some(found.records.len() - 1);
                    oldest = Some(at);
                    return Go::OnElsewhere;
                }
            }
            let left = left.entry(record.partition()).or_default();
            *left = left.saturating_sub(1);
            if *left > 0 {
                return Go::On;
            }
            cut = true;
            Go::OnElsewhere
        })?;
        found.cut = cut && found.wanted.is_none();
        Ok(found)
    }

    /// Reads from these places on for as long as it is told to go on, at most to the
    /// end of each partition.
    fn each(
        &mut self,
        places: &[Place],
        mut look: impl FnMut(&BorrowedMessage<'_>) -> Go,
    ) -> Result<()> {
        let cannot = || Error::kafka(format!("cannot read topic {}", self.topic));
        let mut assignment = TopicPartitionList::new();
        for (partition, offset) in places {
            assignment
                .add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))
                .map_err(cannot())?;
        }
        self.consumer.assign(&assignment).map_err(cannot())?;
        let mut unread: BTreeMap<i32, i64> = places.iter().copied().collect();
        let mut last_news = Instant::now();
        while !unread.is_empty() {
            match self.consumer.poll(POLL) {
                Some(Ok(record)) => {
                    last_news = Instant::now();
                    let first = unread.get(&record.partition());
                    if first.is_none_or(|first| record.offset() < *first) {
                        continue;
                    }
                    self.read += 1;
                    match look(&record) {
                        Go::On => {}
                        Go::OnElsewhere => {
                            unread.remove(&record.partition());
                        }
                        Go::Enough => return Ok(()),
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    unread.remove(&partition);
                }
                // librdkafka goes on trying by itself.
                Some(Err(error)) if last_news.elapsed() > self.timeout => {
                    return Err(cannot()(error));
                }
                None if last_news.elapsed() > self.timeout => {
                    return Err(Error::Invalid(format!(
                        "nothing came of topic {}, partitions {:?} within {:?}; check the \
                         brokers that lead them",
                        self.topic,
                        unread.keys().collect::<Vec<_>>(),
                        self.timeout
                    )));
                }
                Some(Err(_)) | None => {}
            }
        }
        Ok(())
    }
}

/// What a reader does after a record.
enum Go {
    On,
    /// It has seen enough of this partition.
    OnElsewhere,
    Enough,
}
