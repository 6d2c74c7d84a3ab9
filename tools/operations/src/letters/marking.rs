//! Writes marks of one topic in a Kafka transaction, or only tries to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use audit::{Error, Result, Target};
use contracts::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};
use uuid::Uuid;

use super::Discarded;
use super::clients::{committed, consumer, group, producer};
use super::marks::{METADATA_MAX_BYTES, Marks};
use super::remember::Offsets;

/// How often marks are read and written when others come in between.
const TRIES_MAX: u32 = 20;

/// What becomes of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is undone. Kafka was asked for all that it could refuse.
    Try,
    /// It is kept.
    Keep,
}

/// Letters of one topic that are to be marked.
pub(super) struct Marking<'m> {
    pub(super) target: &'m Target,
    pub(super) topic: Topic,
    /// These, and then those.
    pub(super) batches: &'m [Offsets],
    pub(super) discarded: Option<&'m Discarded>,
    pub(super) purpose: Purpose,
}

impl Marking<'_> {
    /// Marks all of them or none. Blocks.
    pub(super) fn write(&self) -> Result<()> {
        let consumer = consumer(self.target, "read_committed")?;
        let lows = self.lows(&consumer)?;
        let mut tries = 1;
        loop {
            match self.attempt(&consumer, &lows) {
                Err(Error::Kafka { cause, .. }) if others_came(&cause) && tries < TRIES_MAX => {
                    tracing::debug!(%cause, tries, "others mark letters, too; once more");
                    std::thread::sleep(pause(tries));
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    fn attempt(&self, consumer: &BaseConsumer, lows: &BTreeMap<i32, i64>) -> Result<()> {
        let target = self.target;
        let timeout = target.kafka.timeout;
        let dlq = target.topics.dlq(self.topic);
        let cannot = || {
            let id = group(target);
            Error::kafka(format!(
                "cannot mark letters of {dlq} as group and transactional id {id}"
            ))
        };
        let producer = producer(target)?;
        producer.init_transactions(timeout).map_err(cannot())?;
        // Not before now: whoever began earlier has ended, or can write no more.
        let mut marked = committed(consumer, target, dlq, lows.keys().copied())?;
        let mut commit = TopicPartitionList::new();
        for (partition, low) in lows {
            let before = marked.remove(partition).unwrap_or_default();
            let (marks, text) = self.put(*partition, &before, *low)?;
            let mut element = commit.add_partition(dlq, *partition);
            element
                .set_offset(Offset::Offset(marks.handled_to()))
                .map_err(cannot())?;
            element.set_metadata(text);
        }
        let group = consumer
            .group_metadata()
            .ok_or_else(|| Error::Invalid("the Kafka consumer has no group".to_owned()))?;
        producer.begin_transaction().map_err(cannot())?;
        let sent = producer.send_offsets_to_transaction(&commit, &group, timeout);
        let done = match self.purpose {
            Purpose::Try => sent,
            Purpose::Keep => sent.and_then(|()| producer.commit_transaction(timeout)),
        };
        if self.purpose == Purpose::Try || done.is_err() {
            // The next one who begins would end it as well.
            let _ = producer.abort_transaction(timeout);
        }
        done.map_err(cannot())
    }

    /// The marks of a partition with these letters, and their text.
    fn put(&self, partition: i32, before: &Marks, low: i64) -> Result<(Marks, String)> {
        let batches = move || {
            let batches = self.batches.iter();
            batches.filter_map(move |batch| batch.get(&partition))
        };
        let mut marks = before.clone();
        let mut text = String::new();
        for batch in batches() {
            marks.put(batch, low, self.discarded);
            text = marks.text(self.discarded.is_some()).ok_or_else(|| {
                let offsets = batches().flatten().copied().collect();
                let (topic, discarded) = (self.topic, self.discarded);
                Error::Invalid(no_room(topic, partition, before, offsets, low, discarded))
            })?;
        }
        Ok((marks, text))
    }

    /// The offsets that the logs of the partitions concerned begin at. Blocks.
    fn lows(&self, consumer: &BaseConsumer) -> Result<BTreeMap<i32, i64>> {
        let dlq = self.target.topics.dlq(self.topic);
        let partitions = self.batches.iter().flat_map(Offsets::keys).copied();
        let partitions: BTreeSet<i32> = partitions.collect();
        let low_of = |partition: i32| -> Result<(i32, i64)> {
            let timeout = self.target.kafka.timeout;
            let (low, _) = audit::ends(consumer, dlq, partition, timeout)?;
            Ok((partition, low))
        };
        partitions.into_iter().map(low_of).collect()
    }
}

/// Some time or other, so that two do not go on fencing each other.
fn pause(tries: u32) -> Duration {
    let by_chance = u64::from(Uuid::new_v4().as_bytes()[0]);
    Duration::from_millis(by_chance) * tries
}

/// Whether marks were not written because somebody else was writing some.
fn others_came(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::Fenced
                | Code::ProducerFenced
                | Code::InvalidProducerEpoch
                | Code::InvalidTransactionalState
                | Code::ConcurrentTransactions
                | Code::UnstableOffsetCommit
                // Seen where two end at the same moment. Whether it was written is not
                // known then; marking once more changes nothing.
                | Code::Unknown
        )
    )
}

/// Why letters of a partition cannot be marked, and what can be done instead.
fn no_room(
    topic: Topic,
    partition: i32,
    before: &Marks,
    mut offsets: Vec<i64>,
    low: i64,
    discarded: Option<&Discarded>,
) -> String {
    offsets.sort_unstable();
    let mut after = before.clone();
    after.put(&offsets, low, discarded);
    format!(
        "{} letters of {topic}.dlq, partition {partition}, cannot be marked as handled with {} \
         open ones in between: there is room for the oldest {} ({METADATA_MAX_BYTES} bytes for a \
         partition). Handle those in between as well: `checkoutctl dlq redrive --topic {topic} \
         --reason '…'`. What is still wrong comes back at the end, side by side, for `checkoutctl \
         dlq discard --topic {topic} --code …`",
        offsets.len(),
        after.open_between(),
        before.room_for(&offsets, low, discarded),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_numbers_and_the_command_that_helps() {
        let every_second: Vec<i64> = (0..2_000).map(|n| 2 * n + 1).collect();
        let before = Marks::default();
        let room = before.room_for(&every_second, 0, None);
        let room = format!("there is room for the oldest {room} ");
        let why = no_room(Topic::ShoppingCheckouts, 3, &before, every_second, 0, None);
        for text in [
            "2000 letters of shopping.checkouts.dlq, partition 3,",
            "with 2000 open ones in between",
            room.as_str(),
            "`checkoutctl dlq redrive --topic shopping.checkouts --reason '…'`",
        ] {
            assert!(why.contains(text), "{text}: {why}");
        }
    }
}
