//! Which letters were handled: kept in Kafka as the committed offsets of a group that
//! nobody is a member of; `marks` has their form, `marking` writes them.
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
use std::slice;

use audit::{Error, Result, Target};
use contracts::Topic;
use tokio::task::JoinError;

use super::clients::{committed, consumer};
use super::failure::Failure;
use super::marking::{Marking, Purpose};
use super::marks::Marks;
use super::{Discarded, Letter};

/// Offsets of letters, by partition.
pub(super) type Offsets = BTreeMap<i32, Vec<i64>>;
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

/// Makes sure that letters can be marked, these and then those: it is tried, and undone.
///
/// # Errors
/// When they cannot; says what can be done instead.
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
            let marking = Marking {
                target: &target,
                topic: *topic,
                batches,
                discarded: discarded.as_ref(),
                purpose: Purpose::Try,
            };
            marking.write().map_err(nothing_done)
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
) -> BTreeMap<Topic, Failure> {
    let topics: Vec<Topic> = places.keys().copied().collect();
    let (target, discarded) = (target.clone(), discarded.cloned());
    let marking = tokio::task::spawn_blocking(move || {
        one_by_one(&places, |topic, offsets| {
            let marking = Marking {
                target: &target,
                topic,
                batches: slice::from_ref(offsets),
                discarded: discarded.as_ref(),
                purpose: Purpose::Keep,
            };
            marking.write()
        })
    });
    marking.await.unwrap_or_else(|error| {
        let failure = Failure::of(&broke_down(&error));
        let failed = topics.into_iter().map(|topic| (topic, failure.clone()));
        failed.collect()
    })
}

/// Marks topic by topic, whichever of them is refused; returned is where it failed.
fn one_by_one(
    places: &Places,
    mut mark: impl FnMut(Topic, &Offsets) -> Result<()>,
) -> BTreeMap<Topic, Failure> {
    let mut failed: BTreeMap<Topic, Failure> = BTreeMap::new();
    for (topic, offsets) in places {
        // Each would wait for a cluster that is gone.
        let gone = failed.values().find(|failure| failure.is_gone).cloned();
        let failure = gone.or_else(|| {
            let done = mark(*topic, offsets);
            done.err().map(|error| Failure::of(&error))
        });
        if let Some(failure) = failure {
            failed.insert(*topic, failure);
        }
    }
    failed
}

/// It is checked before anything is published or marked.
fn nothing_done(error: Error) -> Error {
    match error {
        Error::Kafka { doing, cause } => Error::Kafka {
            doing: format!("nothing was done: {doing}"),
            cause,
        },
        other => Error::Invalid(format!("nothing was done: {other}")),
    }
}

fn broke_down(_: &JoinError) -> Error {
    Error::Invalid("the thread that asks Kafka broke down".to_owned())
}

#[cfg(test)]
mod tests {
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

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

    /// How many of three topics are tried, and how many fail, where the first fails so.
    fn after(first: RDKafkaErrorCode) -> (usize, usize) {
        let topics = [
            Topic::InventoryCommands,
            Topic::OrderingReplies,
            Topic::ShoppingCheckouts,
        ];
        let letters = topics.map(|topic| Letter::sample(topic, 3, "NOT_FRAMED"));
        let mut tried = 0;
        let failed = one_by_one(&places(letters.iter()), |_, _| {
            tried += 1;
            match tried {
                1 => Err(Error::kafka("cannot mark letters")(KafkaError::Global(
                    first,
                ))),
                _ => Ok(()),
            }
        });
        (tried, failed.len())
    }

    #[test]
    fn topics_are_tried_after_one_that_is_refused_but_not_after_kafka_is_lost() {
        use RDKafkaErrorCode as Code;
        assert_eq!(after(Code::OffsetMetadataTooLarge), (3, 1));
        assert_eq!(after(Code::TopicAuthorizationFailed), (3, 1));
        assert_eq!(after(Code::OperationTimedOut), (1, 3));
    }

    #[test]
    fn a_check_says_that_nothing_was_done_and_why() {
        let cause = KafkaError::Global(RDKafkaErrorCode::GroupAuthorizationFailed);
        let refused = nothing_done(Error::kafka("cannot mark letters of a.dlq")(cause));
        let text = refused.to_string();
        let begin = "nothing was done: cannot mark letters of a.dlq: ";
        assert!(text.starts_with(begin), "{text}");
        assert!(text.len() > begin.len(), "{text}");
    }
}
