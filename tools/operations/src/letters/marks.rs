//! Which letters of a partition were handled, and how that is kept as text.
//!
//! The committed offset of a partition says that everything before it was handled,
//! and its metadata which offsets behind it were: `7,9-12`; then who discarded letters,
//! and why, as JSON: the newest that there is room for. Letters side by side take no
//! more room than one; some hundreds can be handled with open ones in between.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ranges::{Ranges, ranges};

/// What brokers take as metadata, by default, in bytes.
pub(super) const METADATA_MAX_BYTES: usize = 4_096;

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
    handled: Ranges,
    /// The oldest first.
    notes: Vec<Note>,
}

impl Marks {
    /// Everything before this offset was handled.
    pub(super) fn handled_to(&self) -> i64 {
        self.handled_to
    }

    pub(super) fn is_handled(&self, offset: i64) -> bool {
        offset < self.handled_to || self.handled.contains(offset)
    }

    /// How many offsets with a handled one behind them are open.
    pub(super) fn open_between(&self) -> u64 {
        let last = self.handled.last();
        // The first open one is at `handled_to`.
        let behind = last.map_or(0, |last| last.saturating_add(1) - self.handled_to);
        let behind = u64::try_from(behind).unwrap_or(0);
        behind.saturating_sub(self.handled.number())
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

    /// Marks offsets as handled, in a log that begins at `low`; with who discarded
    /// them and why, where they were.
    pub(super) fn put(&mut self, offsets: &[i64], low: i64, discarded: Option<&Discarded>) {
        for offset in offsets {
            self.handled.put(*offset, *offset);
        }
        self.handled_to = self.handled.close_up(self.handled_to.max(low));
        if let Some(discarded) = discarded {
            // What the log has lost nobody asks for.
            self.notes
                .retain(|note| ranges(&note.letters).any(|(_, to)| to >= low));
            let letters: Ranges = offsets.iter().map(|offset| (*offset, *offset)).collect();
            let note = Note {
                letters: letters.to_string(),
                discarded: discarded.clone(),
            };
            // Where it was not known whether it was written, it is written again.
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// How many of these offsets could be put, the first of them, so that there is room
    /// for the text; that there is none for all of them is known.
    pub(super) fn room_for(
        &self,
        offsets: &[i64],
        low: i64,
        discarded: Option<&Discarded>,
    ) -> usize {
        let (mut fit, mut too_many) = (0, offsets.len());
        while fit + 1 < too_many {
            let half = usize::midpoint(fit, too_many);
            let mut marks = self.clone();
            marks.put(&offsets[..half], low, discarded);
            match marks.text(discarded.is_some()) {
                Some(_) => fit = half,
                None => too_many = half,
            }
        }
        fit
    }

    pub(super) fn of(committed: i64, metadata: &str) -> Self {
        // Digits, commas and dashes; then the notes, if there are any.
        let (handled, notes) = match metadata.find('[') {
            Some(at) => metadata.split_at(at),
            None => (metadata, ""),
        };
        Self {
            handled_to: committed,
            handled: Ranges::of(handled),
            // What somebody else has written there is not ours to judge.
            notes: serde_json::from_str(notes).unwrap_or_default(),
        }
    }

    /// The text that is kept; of the notes the newest that there is room for, and the
    /// last one at least if `keep_last`. Nothing where there is no room.
    pub(super) fn text(&self, keep_last: bool) -> Option<String> {
        let handled = self.handled.to_string();
        let most = self.notes.len();
        let least = usize::from(keep_last).min(most);
        let mut texts = (least..=most).rev().map(|number| {
            let newest = &self.notes[most - number..];
            match newest.is_empty() {
                true => handled.clone(),
                // Of texts and a time, so it is always JSON.
                false => handled.clone() + &serde_json::to_string(newest).unwrap_or_default(),
            }
        });
        texts.find(|text| text.len() <= METADATA_MAX_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(marks: &Marks) -> String {
        marks.text(false).unwrap()
    }

    fn night(reason: &str) -> Discarded {
        Discarded {
            by: "night shift".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            reason: reason.to_owned(),
        }
    }

    /// Every second offset of so many.
    fn every_second(number: i64) -> Vec<i64> {
        (0..number).map(|n| 101 + 2 * n).collect()
    }

    #[test]
    fn marks_close_up_and_survive_their_text() {
        let mut marks = Marks::default();
        marks.put(&[3, 5, 6, 7], 0, None);
        assert_eq!((marks.handled_to, kept(&marks).as_str()), (0, "3,5-7"));
        assert_eq!(Marks::of(0, "3,5-7"), marks);
        assert!(marks.is_handled(6) && !marks.is_handled(4) && !marks.is_handled(0));
        marks.put(&[0, 1, 2], 0, None);
        assert_eq!((marks.handled_to, kept(&marks).as_str()), (4, "5-7"));
        // The log has lost its beginning.
        marks.put(&[9], 6, None);
        assert_eq!((marks.handled_to, kept(&marks).as_str()), (8, "9"));
        marks.put(&[8], 6, None);
        assert_eq!((marks.handled_to, kept(&marks).as_str()), (10, ""));
    }

    #[test]
    fn what_is_marked_once_more_takes_no_more_room() {
        let mut marks = Marks::default();
        marks.put(&[3, 5], 0, Some(&night("a test")));
        let text = marks.text(true).unwrap();
        let mut again = Marks::of(0, &text);
        again.put(&[3, 5], 0, Some(&night("a test")));
        assert_eq!(again.text(true).unwrap(), text);
    }

    #[test]
    fn open_offsets_before_a_handled_one_are_counted() {
        let mut marks = Marks::default();
        assert_eq!(marks.open_between(), 0);
        marks.put(&[3, 5, 6, 7], 0, None);
        assert_eq!(marks.open_between(), 4);
        marks.put(&[0, 1, 2], 0, None);
        assert_eq!(marks.open_between(), 1);
        marks.put(&[4], 0, None);
        assert_eq!(marks.open_between(), 0);
    }

    #[test]
    fn who_discarded_letters_and_why_is_kept_with_the_marks() {
        let mut marks = Marks::default();
        marks.put(&[3, 4, 7], 0, Some(&night("not ours, says [shop]")));
        let again = Marks::of(0, &kept(&marks));
        assert_eq!(again, marks);
        assert_eq!(again.discarded(4).unwrap().reason, "not ours, says [shop]");
        assert_eq!(again.discarded(5), None);
        // Also when they are before all that is open, until the log has lost them.
        marks.put(&[0, 1, 2], 0, None);
        assert!(Marks::of(5, &kept(&marks)).discarded(3).is_some());
        marks.put(&[9], 8, Some(&night("later")));
        assert_eq!(marks.discarded(7), None);
    }

    #[test]
    fn the_newest_notes_are_kept_and_marks_come_first() {
        let mut marks = Marks::default();
        for offset in 0..10 {
            marks.put(&[offset], 0, Some(&night(&"x".repeat(1_000))));
        }
        let again = Marks::of(10, &kept(&marks));
        assert!(again.discarded(9).is_some() && again.discarded(0).is_none());
        // As many gaps as there is room for, and none for a note.
        marks.put(&every_second(800), 0, None);
        assert_eq!(Marks::of(0, &kept(&marks)).notes.len(), 0);
        assert_eq!(marks.text(true), None);
        marks.put(&every_second(4_000), 0, None);
        assert_eq!(marks.text(false), None);
    }

    #[test]
    fn as_many_are_taken_as_there_is_room_for() {
        let marks = Marks::default();
        let wanted = every_second(2_000);
        let room = marks.room_for(&wanted, 0, None);
        assert!((700..1_000).contains(&room), "{room}");
        let text_with = |number: usize| {
            let mut marks = marks.clone();
            marks.put(&wanted[..number], 0, None);
            marks.text(false)
        };
        assert!(text_with(room).is_some() && text_with(room + 1).is_none());
        // A note says which letters it is about, so there is less room with one.
        let noted = marks.room_for(&wanted, 0, Some(&night("the test")));
        assert!((300..room).contains(&noted), "{noted}");
        // Side by side there is room for any number.
        let mut all = Marks::default();
        all.put(&(0..100_000).collect::<Vec<_>>(), 0, None);
        assert_eq!((all.handled_to, kept(&all).as_str()), (100_000, ""));
    }

    #[test]
    fn any_number_side_by_side_is_kept_behind_an_open_one() {
        let mut marks = Marks::default();
        marks.put(&(1..=1_500_000).collect::<Vec<_>>(), 0, None);
        assert_eq!(kept(&marks), "1-1500000");
        let mut again = Marks::of(0, &kept(&marks));
        assert_eq!(again, marks);
        assert!(!again.is_handled(0) && again.is_handled(1) && again.is_handled(1_500_000));
        assert_eq!(again.open_between(), 1);
        again.put(&[0], 0, None);
        assert_eq!((again.handled_to, kept(&again).as_str()), (1_500_001, ""));
    }

    #[test]
    fn metadata_of_others_is_passed_over() {
        assert_eq!(Marks::of(2, "hello,4,7-,9-8").handled, Ranges::of("4"));
        assert_eq!(Marks::of(2, "4,[hello").handled, Ranges::of("4"));
        // What is none of ours may be long, and takes no memory.
        let mut marks = Marks::of(2, "5-9999999999");
        assert_eq!(marks.open_between(), 3);
        marks.put(&[2, 3, 4], 0, None);
        assert_eq!(marks.handled_to, 10_000_000_000);
    }
}
