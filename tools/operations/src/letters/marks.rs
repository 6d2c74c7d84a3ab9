//! Which letters were handled: kept in Kafka as a group's committed offsets.
//!
//! The committed offset of a partition says that everything before it was handled,
//! and its metadata which offsets behind it were: `7,9-12`; then who discarded letters,
//! and why, as JSON: the newest that there is room for. Kafka forgets them some
//! time after the last commit (`offsets.retention.minutes`, a week by default). Then
//! letters that are still in their topic count as open again; that is harmless,
//! since a record that is redriven twice is recognised like any repeat.

use std::collections::{BTreeMap, BTreeSet};

use audit::{Error, Result, Target};
use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

/// What brokers take as metadata, by default, in bytes.
const METADATA_MAX_BYTES: usize = 4_096;

/// Who discarded letters, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discarded {
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// Letters that were discarded together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// Their offsets, as ranges.
    letters: String,
    #[serde(flatten)]
    discarded: Discarded,
}

/// What was handled of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    handled_to: i64,
    handled: BTreeSet<i64>,
    /// The oldest first.
    notes: Vec<Note>,
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

    /// Who discarded the letter at an offset, and why, where that is known.
    pub(super) fn discarded(&self, offset: i64) -> Option<&Discarded> {
        let of_letter = |note: &&Note| {
            let mut among = ranges(&note.letters);
            among.any(|(from, to)| (from..=to).contains(&offset))
        };
        let note = self.notes.iter().rev().find(of_letter)?;
        Some(&note.discarded)
    }

    /// Keeps who discarded these, and why; forgets it of letters before `low`.
    fn note(&mut self, offsets: &[i64], discarded: &Discarded, low: i64) {
        self.notes
            .retain(|note| ranges(&note.letters).any(|(_, to)| to >= low));
        self.notes.push(Note {
            letters: text_of(&offsets.iter().copied().collect()),
            discarded: discarded.clone(),
        });
    }

    fn of(committed: i64, metadata: &str) -> Self {
        // Digits, commas and dashes; then the notes, if there are any.
        let (handled, notes) = match metadata.find('[') {
            Some(at) => metadata.split_at(at),
            None => (metadata, ""),
        };
        Self {
            handled_to: committed,
            handled: ranges(handled).flat_map(|(from, to)| from..=to).collect(),
            // What somebody else has written there is not ours to judge.
            notes: serde_json::from_str(notes).unwrap_or_default(),
        }
    }

    /// The text that is kept; of the notes the newest that there is room for, but no
    /// less than `notes_min` of them. Nothing where there is no room.
    fn metadata(&self, notes_min: usize) -> Option<String> {
        let handled = text_of(&self.handled);
        let most = self.notes.len();
        let texts = (notes_min.min(most)..=most).rev().map(|number| {
            let newest = &self.notes[most - number..];
            match newest.is_empty() {
                true => handled.clone(),
                // Of texts and a time, so it is always JSON.
                false => handled.clone() + &serde_json::to_string(newest).unwrap_or_default(),
            }
        });
        texts
            .into_iter()
            .find(|text| text.len() <= METADATA_MAX_BYTES)
    }
}

/// The offsets of a text such as `7,9-12`; what is none is passed over.
fn ranges(text: &str) -> impl Iterator<Item = (i64, i64)> {
    text.split(',').filter_map(|range| {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to) = (from.parse::<i64>().ok()?, to.parse::<i64>().ok()?);
        (to.saturating_sub(from) < 1_000_000).then_some((from, to))
    })
}

fn text_of(offsets: &BTreeSet<i64>) -> String {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for offset in offsets {
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
/// is possible; with who discarded them and why, where they were. Blocks.
pub(super) fn mark(
    target: &Target,
    topic: &str,
    handled: &BTreeMap<i32, Vec<i64>>,
    discarded: Option<&Discarded>,
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
        if let Some(discarded) = discarded {
            marks.note(offsets, discarded, low);
        }
        let metadata = marks
            .metadata(usize::from(discarded.is_some()))
            .ok_or_else(|| {
                Error::Invalid(format!(
                    "too many letters in the middle of {topic}, partition {partition}, would be \
                     handled, to remember which: handle the oldest ones first"
                ))
            })?;
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

    fn kept(marks: &Marks) -> String {
        marks.metadata(0).unwrap()
    }

    fn night(reason: &str) -> Discarded {
        Discarded {
            by: "night shift".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn marks_close_up_and_survive_their_text() {
        let mut marks = Marks::default();
        marks.add([3, 5, 6, 7], 0);
        assert_eq!((marks.handled_to, kept(&marks).as_str()), (0, "3,5-7"));
        assert_eq!(Marks::of(0, "3,5-7"), marks);
        assert!(marks.is_handled(6) && !marks.is_handled(4) && !marks.is_handled(0));
        marks.add([0, 1, 2], 0);
        assert_eq!((marks.handled_to, kept(&marks).as_str()), (4, "5-7"));
        // The log has lost its beginning.
        marks.add([9], 6);
        assert_eq!((marks.handled_to, kept(&marks).as_str()), (8, "9"));
        marks.add([8], 6);
        assert_eq!((marks.handled_to, kept(&marks).as_str()), (10, ""));
    }

    #[test]
    fn who_discarded_letters_and_why_is_kept_with_the_marks() {
        let mut marks = Marks::default();
        marks.add([3, 4, 7], 0);
        marks.note(&[3, 4, 7], &night("not ours, says [shop]"), 0);
        let again = Marks::of(0, &kept(&marks));
        assert_eq!(again, marks);
        assert_eq!(again.discarded(4).unwrap().reason, "not ours, says [shop]");
        assert_eq!(again.discarded(5), None);
        // Also when they are before all that is open, until the log has lost them.
        marks.add([0, 1, 2], 0);
        assert!(Marks::of(5, &kept(&marks)).discarded(3).is_some());
        marks.note(&[9], &night("later"), 8);
        assert_eq!(marks.discarded(7), None);
    }

    #[test]
    fn the_newest_notes_are_kept_and_marks_come_first() {
        let mut marks = Marks::default();
        for offset in 0..10 {
            marks.note(&[offset], &night(&"x".repeat(1_000)), 0);
        }
        let again = Marks::of(10, &kept(&marks));
        assert!(again.discarded(9).is_some() && again.discarded(0).is_none());
        // As many gaps as there is room for, and none for a note.
        marks.add((100..3_000).step_by(2).take(700), 0);
        assert_eq!(Marks::of(0, &kept(&marks)).notes.len(), 0);
        assert_eq!(marks.metadata(1), None);
        marks.add((100..9_000).step_by(2), 0);
        assert_eq!(marks.metadata(0), None);
    }

    #[test]
    fn metadata_of_others_is_passed_over() {
        let marks = Marks::of(2, "hello,4,7-,0-9999999999");
        assert_eq!(marks.handled, BTreeSet::from([4]));
        assert_eq!(Marks::of(2, "4,[hello").handled, BTreeSet::from([4]));
    }
}
