//! When carts are published, and from when their latency counts.

use std::ops::Range;
use std::time::{Duration, Instant};

/// How carts are published.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// A new one when one has ended.
    InFlight(u32),
    /// So many a second.
    Rate(u32),
}

impl Pace {
    /// In an open loop, when the cart of this number is due, from the run's begin on:
    /// whatever the system does, so that a stall delays nothing that is due in it.
    pub(crate) fn due(rate: u32, number: u64) -> Duration {
        let rate = u64::from(rate.max(1));
        let within_nanos = number % rate * 1_000_000_000 / rate;
        Duration::from_secs(number / rate) + Duration::from_nanos(within_nanos)
    }

    /// What counts of a cart that was published, or was due, at `since`, and whose
    /// outcome was read then; `None` of one outside of the measured time.
    ///
    /// In a closed loop those count that ended in the measured time; at a rate those that
    /// were due in it, however late they ended: what a stall at its end delays is not
    /// left out.
    pub(crate) fn latency(
        self,
        measured: &Range<Instant>,
        since: Instant,
        read: Instant,
    ) -> Option<Duration> {
        let counts = match self {
            Pace::InFlight(_) => measured.contains(&read),
            Pace::Rate(_) => measured.contains(&since),
        };
        counts.then(|| read.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn carts_are_due_at_even_distances_for_days() {
        assert_eq!(Pace::due(4, 0), ms(0));
        assert_eq!(Pace::due(4, 1), ms(250));
        assert_eq!(Pace::due(4, 9), ms(2_250));
        // No rounding adds up, and nothing overflows.
        let week = 7 * 86_400;
        assert_eq!(Pace::due(3, 3 * week), Duration::from_secs(week));
        assert_eq!(
            Pace::due(1_000_000, 1_000_000 * week + 1),
            Duration::from_secs(week) + Duration::from_micros(1)
        );
    }

    #[test]
    fn a_stall_counts_from_when_each_cart_was_due() {
        let begin = Instant::now();
        let measured = begin..begin + ms(1_000);
        let stall_ends = begin + ms(1_500);
        // Ten a second; the system answers at once, but from 0.5 s on not at all until
        // 1.5 s. Had they been timed from when they could be sent, all would look quick.
        let latencies: Vec<_> = (0..12)
            .map(|number| {
                let due = begin + Pace::due(10, number);
                let read = match due < begin + ms(500) {
                    true => due + ms(1),
                    false => stall_ends + ms(1),
                };
                Pace::Rate(10).latency(&measured, due, read)
            })
            .collect();
        let expected = [1, 1, 1, 1, 1, 1_001, 901, 801, 701, 601].map(|after| Some(ms(after)));
        assert_eq!(latencies[..10], expected);
        assert_eq!(latencies[10..], [None, None], "due after the end");
    }

    #[test]
    fn in_a_closed_loop_those_count_that_end_in_time() {
        let begin = Instant::now();
        let measured = begin + ms(100)..begin + ms(200);
        let latency =
            |since, read| Pace::InFlight(1).latency(&measured, begin + ms(since), begin + ms(read));
        assert_eq!(latency(50, 120), Some(ms(70)));
        assert_eq!(latency(150, 200), None);
        assert_eq!(latency(50, 99), None);
    }
}
