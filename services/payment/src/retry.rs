//! When a call that was not answered is made again.

use std::time::Duration;

use contracts::ids::{CheckoutId, GenericUuid};
use jiff::{SignedDuration, Timestamp};

/// The pauses between the attempts of one call.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// The pause after the first attempt that failed; it doubles each time.
    pub first: Duration,
    /// The longest pause.
    pub max: Duration,
    /// How long an answer is awaited before the call is taken for lost, by a crash
    /// or a full pool, and made again.
    pub overdue: Duration,
}

impl Retry {
    /// When to ask again after attempt number `attempt` failed.
    pub(crate) fn after_failure(
        &self,
        checkout: CheckoutId,
        attempt: i32,
        now: Timestamp,
    ) -> Timestamp {
        later(now, self.pause(checkout, attempt))
    }

    /// When to ask again if attempt number `attempt`, made now, stays unanswered.
    pub(crate) fn when_overdue(
        &self,
        checkout: CheckoutId,
        attempt: i32,
        now: Timestamp,
    ) -> Timestamp {
        later(now, self.pause(checkout, attempt).max(self.overdue))
    }

    /// Doubled each time up to the limit, less up to a half. What is taken off
    /// depends on the checkout, so that those that failed together do not come back
    /// together, and on nothing else, so that a batch that is repeated repeats it.
    fn pause(&self, checkout: CheckoutId, attempt: i32) -> Duration {
        let doublings = attempt.saturating_sub(1).clamp(0, 30);
        let whole = self.first.saturating_mul(1 << doublings).min(self.max);
        let (high, low) = checkout.into_untyped_uuid().as_u64_pair();
        let mixed = (high ^ low)
            .wrapping_add(u64::from(doublings.unsigned_abs()))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let share = f64::from((mixed >> 32) as u32) / f64::from(u32::MAX);
        whole.mul_f64(1.0 - share / 2.0)
    }
}

fn later(now: Timestamp, pause: Duration) -> Timestamp {
    SignedDuration::try_from(pause)
        .ok()
        .and_then(|pause| now.checked_add(pause).ok())
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const RETRY: Retry = Retry {
        first: Duration::from_millis(500),
        max: Duration::from_secs(30),
        overdue: Duration::from_secs(3),
    };

    fn checkout(n: u128) -> CheckoutId {
        CheckoutId::from_untyped_uuid(Uuid::from_u128(n * 0x1234_5678_9abc_def0_1234_5678))
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit_less_up_to_a_half() {
        for n in 1..200 {
            for (attempt, whole_ms) in [(1, 500), (2, 1_000), (4, 4_000), (7, 30_000)] {
                let pause = RETRY.pause(checkout(n), attempt).as_millis();
                assert!((whole_ms / 2..=whole_ms).contains(&pause), "{pause} ms");
            }
            let pause = RETRY.pause(checkout(n), i32::MAX);
            assert!(pause <= RETRY.max, "{pause:?}");
        }
    }

    #[test]
    fn checkouts_spread_and_each_repeats_its_pause() {
        let pauses: std::collections::BTreeSet<_> =
            (1..200).map(|n| RETRY.pause(checkout(n), 3)).collect();
        assert!(pauses.len() > 150, "only {} pauses", pauses.len());
        assert_eq!(RETRY.pause(checkout(7), 3), RETRY.pause(checkout(7), 3));
    }

    #[test]
    fn an_answer_is_awaited_for_as_long_as_it_may_take() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(
            RETRY.when_overdue(checkout(1), 1, now),
            later(now, RETRY.overdue)
        );
        let patient = RETRY.when_overdue(checkout(1), 9, now);
        assert!(patient >= later(now, RETRY.max / 2));
        assert_eq!(
            RETRY.when_overdue(checkout(1), 1, Timestamp::MAX),
            Timestamp::MAX
        );
    }
}
