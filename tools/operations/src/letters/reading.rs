//! Reads letters: where they are, what is in them, and what became of them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use audit::{Error, LogReader, Result, Target};
use contracts::{Codec, DLQ_CODE, DecodeError, RegistryConfig, Topic};
use rdkafka::Offset;
use rdkafka::message::Message as _;
use tokio::time::timeout;

use super::marks::Marks;
use super::{Discarded, Filter, Letter, Letters, remember};
use crate::log::Raw;
use crate::show::clean;

/// How often it is told how many records of a topic were read.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// How much is read at most. Whatever comes first ends it; one letter is read in any case.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Letters.
    pub letters: usize,
    /// What they hold, in bytes: all of it is in memory.
    pub bytes: usize,
}

/// Reads letters, so many at `most`; `tell` hears how far it is. A letter whose schema
/// the registry does not give is among them, undecoded.
///
/// # Errors
/// When Kafka cannot be asked, the registry's address cannot be right, or a topic is
/// none of dead letters.
pub async fn read(
    target: &Target,
    filter: &Filter,
    most: Most,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<Letters> {
    let registry = RegistryConfig {
        // Letters of many schemas would each wait for a registry that is away.
        gives_up: true,
        ..target.registry.clone()
    };
    let codec = Codec::connect(&registry, target.topics.clone(), &[]).await?;
    let mut letters = Vec::new();
    let mut left = most;
    let mut more = false;
    let mut registry_fault = None;
    for topic in filter.sources(&target.topics)? {
        let reading = Reading {
            target: target.clone(),
            filter: filter.clone(),
            topic,
            left,
        };
        let (found, cut) = reading.read_on_a_thread(tell).await?;
        more |= cut;
        left.letters = left.letters.saturating_sub(found.len());
        left.bytes = left
            .bytes
            .saturating_sub(found.iter().map(Read::bytes).sum());
        for read in found {
            tell(&format!("{} dead letters decoded", letters.len()));
            let decoded = codec.decode(topic, read.raw.payload.as_deref()).await;
            if let Err(error @ DecodeError::Unavailable(_)) = &decoded {
                registry_fault.get_or_insert_with(|| clean(&error.to_string()));
            }
            letters.push(Letter::of(&target.topics, topic, read, &decoded));
        }
    }
    letters.sort_by_key(|letter| (letter.topic, letter.at, letter.letter.offset));
    Ok(Letters {
        letters,
        more,
        registry_fault,
    })
}

/// A record of a dead-letter topic, and what became of it.
pub(super) struct Read {
    pub(super) raw: Raw,
    pub(super) key: Option<Vec<u8>>,
    pub(super) handled: bool,
    /// Also of a letter that was redriven since.
    pub(super) discarded: Option<Discarded>,
}

impl Read {
    fn bytes(&self) -> usize {
        self.raw.payload.as_ref().map_or(0, Vec::len)
    }
}

/// Reads the letters of one topic.
struct Reading {
    target: Target,
    filter: Filter,
    topic: Topic,
    left: Most,
}

impl Reading {
    /// The letters, and whether there are more; `tell` hears meanwhile how many records
    /// were looked at.
    async fn read_on_a_thread(
        self,
        tell: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(Vec<Read>, bool)> {
        let name = self.target.topics.dlq(self.topic).to_owned();
        let looked_at = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&looked_at);
        let mut work = tokio::task::spawn_blocking(move || self.read(&counted));
        loop {
            let number = looked_at.load(Ordering::Relaxed);
            tell(&format!("{name}: {number} records read"));
            if let Ok(done) = timeout(TELL_EVERY, &mut work).await {
                return done.map_err(|_| {
                    Error::Invalid("the thread that reads Kafka broke down".to_owned())
                })?;
            }
        }
    }

    fn read(&self, looked_at: &AtomicU64) -> Result<(Vec<Read>, bool)> {
        let name = self.target.topics.dlq(self.topic);
        let log = LogReader::new(&self.target.kafka)?;
        let partitions = log.partitions(name)?;
        let marks = remember::read(&self.target, name, &partitions)?;
        let starts = self.starts(&log, &partitions, &marks)?;
        let last_named: BTreeMap<i32, i64> = partitions
            .iter()
            .filter_map(|partition| {
                let last = self.filter.named(name, *partition).max()?;
                Some((*partition, last))
            })
            .collect();
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut cut = false;
        log.read(name, &starts, &mut |record| {
            looked_at.fetch_add(1, Ordering::Relaxed);
            let (partition, offset) = (record.partition(), record.offset());
            if last_named
                .get(&partition)
                .is_some_and(|last| offset > *last)
            {
                return Ok(ControlFlow::Break(()));
            }
            let of_partition = marks.get(&partition);
            let handled = of_partition.is_some_and(|marks| marks.is_handled(offset));
            let raw = Raw::of(record);
            let code = raw.header(DLQ_CODE);
            let code_fits = self.filter.code.is_none() || self.filter.code == code;
            if !self.filter.takes(name, partition, offset)
                || !code_fits
                || (handled && !self.filter.handled)
            {
                return Ok(ControlFlow::Continue(()));
            }
            let read = Read {
                raw,
                key: record.key().map(<[u8]>::to_vec),
                handled,
                discarded: of_partition.and_then(|marks| marks.discarded(offset).cloned()),
            };
            bytes += read.bytes();
            let is_much = bytes > self.left.bytes && !found.is_empty();
            if found.len() >= self.left.letters || is_much {
                cut = true;
                return Ok(ControlFlow::Break(()));
            }
            found.push(read);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((found, cut))
    }

    /// Where to begin in each partition in which there may be something.
    fn starts(
        &self,
        log: &LogReader,
        partitions: &[i32],
        marks: &BTreeMap<i32, Marks>,
    ) -> Result<Vec<(i32, Offset)>> {
        let name = self.target.topics.dlq(self.topic);
        let since = match self.filter.since {
            Some(since) => log.offsets_at(name, partitions, since.as_millisecond())?,
            None => partitions
                .iter()
                .map(|partition| (*partition, Offset::Beginning))
                .collect(),
        };
        let mut starts = Vec::new();
        for (partition, since) in since {
            let (low, high) = log.watermarks(name, partition)?;
            let mut from = match since {
                Offset::Offset(offset) => offset.max(low),
                Offset::End => high,
                _ => low,
            };
            // What is handled from the beginning on need not be read.
            if !self.filter.handled {
                from = from.max(marks.get(&partition).map_or(0, Marks::handled_to));
            }
            if !self.filter.letters.is_empty() {
                match self.filter.named(name, partition).min() {
                    Some(first) => from = from.max(first),
                    None => continue,
                }
            }
            if from < high {
                starts.push((partition, Offset::Offset(from)));
            }
        }
        Ok(starts)
    }
}
