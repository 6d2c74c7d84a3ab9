//! Which letters were handled: kept in Kafka as the committed offsets of a group that
//! nobody is a member of; `marks` has their form.
//!
//! Marks are read, changed and written back. So that two who do this at the same time,
//! such as a command line and the console, do not undo each other's, it is done in a
//! Kafka transaction whose id all share: whoever begins later fences who began before,
//! and that one reads again. What remains:
//!
//! - A version before this one wrote without a fence: its marks and those of this one
//!   can still undo each other's.
//! - Kafka forgets the offsets some time after the last commit
//!   (`offsets.retention.minutes`, a week by default). Letters that are still in their
//!   topic then count as open again.
//! - What was published is marked a little later: a program that is killed in between
//!   leaves letters open that were redriven.
//!
//! The last two are harmless: a record that is redriven twice is recognised like any
//! repeat.

use std::collections::BTreeMap;
use std::time::Duration;

use audit::{Error, Result, Target};
use contracts::Topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio::task::JoinError;
use uuid::Uuid;

use super::marks::{METADATA_MAX_BYTES, Marks};
use super::{Discarded, Letter};

/// How often marks are read and written when others come in between.
const TRIES_MAX: u32 = 20;

/// Offsets of letters, by partition.
type Offsets = BTreeMap<i32, Vec<i64>>;
/// Offsets of letters, by the topic that they were put aside from.
pub(super) type Places = BTreeMap<Topic, Offsets>;

/// Where letters are.
pub(super) fn places<'l>(letters: impl Iterator<Item = &'l Letter>) -> Places {
    let mut places = Places::new();
    for Letter { topic, letter, .. } in letters {
        let of_topic = places.entry(*topic).or_default();
        let of_partition = of_topic.entry(letter.partition).or_default();
        of_partition.push(letter.offset);
    }
    places
}

/// What was handled of a dead-letter topic, by partition. Blocks.
pub(super) fn read(target: &Target, dlq: &str, partitions: &[i32]) -> Result<BTreeMap<i32, Marks>> {
    // Whoever only looks does not wait for those who are about to write.
    let consumer = consumer(target, "read_uncommitted")?;
    committed(&consumer, target, dlq, partitions.iter().copied())
}

/// Finds out whether letters could be marked, these and then those; changes nothing.
///
/// # Errors
/// When they could not; says what can be done instead.
pub(super) async fn check(
    target: &Target,
    batches: Vec<Places>,
    discarded: Option<&Discarded>,
) -> Result<()> {
    let mut by_topic: BTreeMap<Topic, Vec<Offsets>> = BTreeMap::new();
    for (topic, offsets) in batches.into_iter().flatten() {
        by_topic.entry(topic).or_default().push(offsets);
    }
    let (target, discarded) = (target.clone(), discarded.cloned());
    let checking = tokio::task::spawn_blocking(move || {
        by_topic.iter().try_for_each(|(topic, batches)| {
            check_topic(&target, *topic, batches, discarded.as_ref())
        })
    });
    checking.await.map_err(|error| broke_down(&error))?
}

/// Marks letters as handled; with who discarded them and why, where they were. Those of
/// a topic are marked all or none; returned is where that failed, and why.
pub(super) async fn mark(
    target: &Target,
    places: Places,
    discarded: Option<&Discarded>,
) -> BTreeMap<Topic, String> {
    let topics: Vec<Topic> = places.keys().copied().collect();
    let (target, discarded) = (target.clone(), discarded.cloned());
    let marking = tokio::task::spawn_blocking(move || {
        let mut failed = BTreeMap::new();
        let mut gone: Option<String> = None;
        for (topic, offsets) in &places {
            // Each would wait for a cluster that is gone.
            if let Some(why) = &gone {
                failed.insert(*topic, why.clone());
                continue;
            }
            if let Err(error) = mark_topic(&target, *topic, offsets, discarded.as_ref()) {
                let why = error.to_string();
                if matches!(error, Error::Kafka { .. }) {
                    gone = Some(why.clone());
                }
                failed.insert(*topic, why);
            }
        }
        failed
    });
    marking.await.unwrap_or_else(|error| {
        let why = broke_down(&error).to_string();
        topics
            .into_iter()
            .map(|topic| (topic, why.clone()))
            .collect()
    })
}

fn broke_down(_: &JoinError) -> Error {
    Error::Invalid("the thread that asks Kafka broke down".to_owned())
}

/// Blocks.
fn check_topic(
    target: &Target,
    topic: Topic,
    batches: &[Offsets],
    discarded: Option<&Discarded>,
) -> Result<()> {
    let mut all = Offsets::new();
    for (partition, offsets) in batches.iter().flatten() {
        all.entry(*partition).or_default().extend(offsets);
    }
    let dlq = target.topics.dlq(topic);
    let consumer = consumer(target, "read_uncommitted")?;
    let lows = lows(&consumer, target, dlq, &all)?;
    let mut marks = committed(&consumer, target, dlq, all.keys().copied())?;
    for (partition, offsets) in &all {
        let before = marks.remove(partition).unwrap_or_default();
        let low = lows[partition];
        let mut after = before.clone();
        for batch in batches.iter().filter_map(|batch| batch.get(partition)) {
            after.put(batch, low, discarded);
            if after.text(discarded.is_some()).is_none() {
                let why = no_room(topic, *partition, &before, offsets, low, discarded);
                return Err(Error::Invalid(format!("nothing was done: {why}")));
            }
        }
    }
    Ok(())
}

/// Blocks.
fn mark_topic(
    target: &Target,
    topic: Topic,
    handled: &Offsets,
    discarded: Option<&Discarded>,
) -> Result<()> {
    let consumer = consumer(target, "read_committed")?;
    let lows = lows(&consumer, target, target.topics.dlq(topic), handled)?;
    let mut tries = 1;
    loop {
        match try_to_mark(target, topic, handled, discarded, &consumer, &lows) {
            Err(Error::Kafka { cause, .. }) if others_came(&cause) && tries < TRIES_MAX => {
                tracing::debug!(%cause, tries, "others mark letters, too; once more");
                std::thread::sleep(pause(tries));
                tries += 1;
            }
            done => return done,
        }
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

fn try_to_mark(
    target: &Target,
    topic: Topic,
    handled: &Offsets,
    discarded: Option<&Discarded>,
    consumer: &BaseConsumer,
    lows: &BTreeMap<i32, i64>,
) -> Result<()> {
    let dlq = target.topics.dlq(topic);
    let timeout = target.kafka.timeout;
    let cannot = || Error::kafka(format!("cannot mark letters of {dlq}"));
    let producer = producer(target)?;
    producer.init_transactions(timeout).map_err(cannot())?;
    // Not before now: whoever began earlier has ended, or can write no more.
    let mut marks = committed(consumer, target, dlq, handled.keys().copied())?;
    let mut commit = TopicPartitionList::new();
    for (partition, offsets) in handled {
        let marks = marks.entry(*partition).or_default();
        let before = marks.clone();
        marks.put(offsets, lows[partition], discarded);
        let text = marks.text(discarded.is_some()).ok_or_else(|| {
            let low = lows[partition];
            Error::Invalid(no_room(topic, *partition, &before, offsets, low, discarded))
        })?;
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
    let done = producer
        .send_offsets_to_transaction(&commit, &group, timeout)
        .and_then(|()| producer.commit_transaction(timeout));
    if done.is_err() {
        // The next one who begins would end it as well.
        let _ = producer.abort_transaction(timeout);
    }
    done.map_err(cannot())
}

/// Why letters of a partition cannot be marked, and what can be done instead.
fn no_room(
    topic: Topic,
    partition: i32,
    before: &Marks,
    offsets: &[i64],
    low: i64,
    discarded: Option<&Discarded>,
) -> String {
    let mut offsets = offsets.to_vec();
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

/// The offsets that logs begin at, by partition. Blocks.
fn lows(
    consumer: &BaseConsumer,
    target: &Target,
    dlq: &str,
    partitions: &Offsets,
) -> Result<BTreeMap<i32, i64>> {
    let low_of = |partition: &i32| -> Result<(i32, i64)> {
        let ends = consumer.fetch_watermarks(dlq, *partition, target.kafka.timeout);
        let (low, _) = ends.map_err(Error::kafka(format!("cannot ask for the ends of {dlq}")))?;
        Ok((*partition, low))
    };
    partitions.keys().map(low_of).collect()
}

/// What the group has committed, by partition. Blocks.
fn committed(
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

/// The name of the group, and of the transactions that write its offsets.
fn group(target: &Target) -> String {
    format!("{}checkout-dead-letters", target.topics.prefix())
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

/// Reads the group's offsets; `read_committed` waits for transactions that are open.
fn consumer(target: &Target, isolation: &str) -> Result<BaseConsumer> {
    client(target)
        .set("group.id", group(target))
        .set("enable.auto.commit", "false")
        .set("isolation.level", isolation)
        .create()
        .map_err(Error::kafka("cannot create a Kafka consumer"))
}

fn producer(target: &Target) -> Result<BaseProducer<Unheard>> {
    client(target)
        .set("transactional.id", group(target))
        .create_with_context(Unheard)
        .map_err(Error::kafka("cannot create a Kafka producer"))
}

/// What a producer says by itself is not for operators: that it is fenced is no error
/// here, and what fails is told by the call that fails.
struct Unheard;

impl ClientContext for Unheard {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "a producer that marks letters");
    }
}

impl ProducerContext for Unheard {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_sorted_by_topic_and_partition() {
        let letters = [
            Letter::sample(Topic::OrderingReplies, 3, "NOT_FRAMED"),
            Letter::sample(Topic::ShoppingCheckouts, 7, "NOT_FRAMED"),
            Letter::sample(Topic::ShoppingCheckouts, 9, "NULL_VALUE"),
        ];
        let places = places(letters.iter());
        assert_eq!(places[&Topic::ShoppingCheckouts][&0], [7, 9]);
        assert_eq!(places[&Topic::OrderingReplies][&0], [3]);
    }

    #[test]
    fn a_refusal_has_the_numbers_and_the_command_that_helps() {
        let every_second: Vec<i64> = (0..2_000).map(|n| 2 * n + 1).collect();
        let before = Marks::default();
        let topic = Topic::ShoppingCheckouts;
        let why = no_room(topic, 3, &before, &every_second, 0, None);
        let room = before.room_for(&every_second, 0, None);
        let room = format!("there is room for the oldest {room} ");
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
