//! Live progress: a bar for each way a checkout can end, or a line now and
//! then where there is no terminal.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use stack::Progress;

use crate::carts::{Cart, Ending};

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// A row of the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Row {
    Published,
    Created,
    OutOfStock,
    Declined,
    Invalid,
    Rejected,
    Other,
}

impl Row {
    fn of(ending: Ending) -> Self {
        use contracts::messages::FailureReason as Failure;
        match ending {
            Ending::Created => Self::Created,
            Ending::Failed(Failure::OutOfStock) => Self::OutOfStock,
            Ending::Failed(Failure::PaymentDeclined) => Self::Declined,
            Ending::Failed(Failure::InvalidCart) => Self::Invalid,
            Ending::Failed(_) => Self::Other,
            Ending::Rejected(_) => Self::Rejected,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Published => "carts published",
            Self::Created => "order created",
            Self::OutOfStock => "failed: out of stock",
            Self::Declined => "failed: payment declined",
            Self::Invalid => "failed: invalid cart",
            Self::Rejected => "rejected",
            Self::Other => "failed otherwise",
        }
    }
}

/// What is expected, by row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected(BTreeMap<Row, u64>);

impl Expected {
    /// Counts what carts should come to.
    pub(crate) fn of(carts: impl Iterator<Item = Cart>) -> Self {
        let mut counts = BTreeMap::from([(Row::Other, 0)]);
        for cart in carts {
            *counts.entry(Row::Published).or_default() += 1;
            for (_, ending) in &cart.expected {
                *counts.entry(Row::of(*ending)).or_default() += 1;
            }
        }
        Self(counts)
    }

    /// Checkouts that should end.
    pub(crate) fn checkouts(&self) -> u64 {
        let published = self.0.get(&Row::Published).copied().unwrap_or(0);
        self.0.values().sum::<u64>() - published
    }
}

/// The board.
pub(crate) struct Board {
    expected: Expected,
    counts: BTreeMap<Row, u64>,
    bars: Option<BTreeMap<Row, ProgressBar>>,
    progress: Progress,
    last_line: Instant,
}

impl Board {
    pub(crate) fn new(progress: &Progress, expected: Expected) -> Self {
        let bars = match progress {
            Progress::Bars(all) => Some(
                expected
                    .0
                    .iter()
                    .map(|(row, length)| (*row, bar(all, *row, *length)))
                    .collect(),
            ),
            Progress::Lines | Progress::Silent => None,
        };
        Self {
            expected,
            counts: BTreeMap::new(),
            bars,
            progress: progress.clone(),
            last_line: Instant::now(),
        }
    }

    pub(crate) fn published(&mut self) {
        self.count(Row::Published);
    }

    pub(crate) fn ended(&mut self, ending: Ending) {
        self.count(Row::of(ending));
    }

    fn count(&mut self, row: Row) {
        *self.counts.entry(row).or_default() += 1;
        if let Some(bar) = self.bars.as_ref().and_then(|bars| bars.get(&row)) {
            bar.inc(1);
        }
        if self.bars.is_none() && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            self.progress.line(&self.text());
        }
    }

    /// Ends the bars as they are, or prints a last line.
    pub(crate) fn finish(&self) {
        match &self.bars {
            Some(bars) => bars.values().for_each(ProgressBar::abandon),
            None => self.progress.line(&self.text()),
        }
    }

    fn text(&self) -> String {
        let each = self.expected.0.iter().filter_map(|(row, expected)| {
            let count = self.counts.get(row).copied().unwrap_or(0);
            (count + expected > 0).then(|| format!("{} {count}/{expected}", row.name()))
        });
        each.collect::<Vec<_>>().join(" · ")
    }
}

fn bar(all: &MultiProgress, row: Row, length: u64) -> ProgressBar {
    let bar = all.add(ProgressBar::new(length));
    let template = match row {
        Row::Published => "  {prefix:<26} {bar:32.cyan/dim} {pos:>6}/{len:<6} {rate}",
        Row::Created => "  {prefix:<26} {bar:32.green/dim} {pos:>6}/{len:<6} {rate}",
        // None is expected.
        Row::Other => "  {prefix:<59} {pos:>6}",
        _ => "  {prefix:<26} {bar:32.yellow/dim} {pos:>6}/{len:<6}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A bar that cannot be written is not seen anyway.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        };
        bar.set_style(style.progress_chars("━╸─").with_key("rate", rate));
    }
    bar.set_prefix(row.name());
    bar
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::carts::carts;

    #[test]
    fn expectations_cover_every_checkout() {
        let expected = Expected::of(carts(300, 1));
        assert_eq!(expected.0[&Row::Published], 300);
        let again: usize = carts(300, 1).map(|cart| cart.expected.len()).sum();
        assert_eq!(expected.checkouts(), again as u64);
    }

    #[test]
    fn the_line_shows_counts_of_what_is_expected() {
        let mut board = Board::new(&Progress::Silent, Expected::of(carts(6, 1)));
        board.published();
        board.ended(Ending::Created);
        let text = board.text();
        assert!(text.contains("carts published 1/6"), "{text}");
        assert!(text.contains("order created 1/3"), "{text}");
        assert!(!text.contains("otherwise"), "{text}");
    }
}
