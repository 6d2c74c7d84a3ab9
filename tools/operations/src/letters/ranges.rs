//! Offsets, kept as ranges: those side by side take no more room than one.

use std::collections::BTreeMap;
use std::fmt;

/// Offsets; as text `7,9-12`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges {
    /// The last offset of each range, by its first one; no two ranges touch.
    lasts: BTreeMap<i64, i64>,
}

impl Ranges {
    /// Those of a text; what is none is passed over.
    pub(super) fn of(text: &str) -> Self {
        ranges(text).collect()
    }

    pub(super) fn contains(&self, offset: i64) -> bool {
        let before = self.lasts.range(..=offset).next_back();
        before.is_some_and(|(_, last)| offset <= *last)
    }

    /// How many offsets.
    pub(super) fn number(&self) -> u64 {
        let numbers = self
            .lasts
            .iter()
            .map(|(first, last)| last.abs_diff(*first) + 1);
        numbers.sum()
    }

    pub(super) fn last(&self) -> Option<i64> {
        self.lasts.last_key_value().map(|(_, last)| *last)
    }

    /// Adds one range.
    pub(super) fn put(&mut self, mut first: i64, mut last: i64) {
        // Those that it overlaps or touches become one with it.
        while let Some((&from, &to)) = self.lasts.range(..=last.saturating_add(1)).next_back() {
            if to < first.saturating_sub(1) {
                break;
            }
            self.lasts.remove(&from);
            first = first.min(from);
            last = last.max(to);
        }
        self.lasts.insert(first, last);
    }

    /// The first offset from this one on that is not among them; those before it are
    /// dropped.
    pub(super) fn close_up(&mut self, mut at: i64) -> i64 {
        while let Some(range) = self.lasts.first_entry().filter(|range| *range.key() <= at) {
            at = at.max(range.remove().saturating_add(1));
        }
        at
    }
}

impl FromIterator<(i64, i64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (i64, i64)>>(ranges: I) -> Self {
        let mut all = Self::default();
        for (first, last) in ranges {
            all.put(first, last);
        }
        all
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.lasts.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

/// First and last offset of each range of a text; what is none is passed over.
pub(super) fn ranges(text: &str) -> impl Iterator<Item = (i64, i64)> {
    text.split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<i64>().ok()?, last.parse::<i64>().ok()?);
        (first <= last).then_some((first, last))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_overlap_or_touch_are_one() {
        let mut all = Ranges::default();
        for (range, then) in [
            ((5, 6), "5-6"),
            ((9, 9), "5-6,9"),
            ((7, 7), "5-7,9"),
            ((6, 6), "5-7,9"),
            ((3, 3), "3,5-7,9"),
            ((4, 20), "3-20"),
            ((30, 40), "3-20,30-40"),
            ((0, 50), "0-50"),
        ] {
            all.put(range.0, range.1);
            assert_eq!(all.to_string(), then, "{range:?}");
            assert_eq!(Ranges::of(then), all);
        }
        assert_eq!((all.number(), all.last()), (51, Some(50)));
        assert!(all.contains(0) && all.contains(50) && !all.contains(51));
    }

    #[test]
    fn the_first_gap_is_found_and_what_is_before_it_is_dropped() {
        for (at, gap, left) in [
            (0, 0, "2-4,6"),
            (2, 5, "6"),
            (3, 5, "6"),
            (5, 5, "6"),
            (6, 7, ""),
            (9, 9, ""),
        ] {
            let mut all = Ranges::of("2-4,6");
            assert_eq!(all.close_up(at), gap, "{at}");
            assert_eq!(all.to_string(), left, "{at}");
        }
    }

    #[test]
    fn what_is_no_range_is_passed_over_and_a_long_one_takes_no_room() {
        let mut all = Ranges::of("hello,4,7-,9-8,-3,20-9223372036854775807");
        assert_eq!(all.to_string(), "4,20-9223372036854775807");
        all.put(10, 30);
        assert_eq!(all.lasts.len(), 2);
        assert_eq!(all.close_up(15), i64::MAX);
    }
}
