//! Limits and waits of the saga; all of them are configuration.

use std::time::Duration;

use contracts::ids::{CheckoutId, GenericUuid};
use jiff::{SignedDuration, Timestamp};

use crate::step::{Step, StepDefinition};

/// The limits and waits that a saga is run with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Lines in a cart, at most.
    pub max_items: usize,
    /// Distinct checkout requests of one cart that are remembered; further ones
    /// are rejected.
    pub max_checkouts_per_cart: usize,
    /// Sendings of a compensation after which the saga is reported stuck.
    pub stuck_after_tries: u32,
    /// Replaces every step's own first wait for a reply.
    pub first_wait: Option<Duration>,
    /// Replaces every step's own longest wait for a reply.
    pub max_wait: Option<Duration>,
    /// Replaces every step's own number of tries.
    pub tries: Option<u32>,
    /// How old a checkout on the straight path may become by waiting for a held
    /// participant; it is then given up.
    pub checkout_limit: Duration,
    /// The first wait for a held participant.
    pub hold_first: Duration,
    /// The longest wait for a held participant, before jitter.
    pub hold_max: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            max_items: 500,
            max_checkouts_per_cart: 32,
            stuck_after_tries: 8,
            first_wait: None,
            max_wait: None,
            tries: None,
            checkout_limit: Duration::from_secs(600),
            hold_first: Duration::from_secs(1),
            hold_max: Duration::from_secs(12),
        }
    }
}

impl Rules {
    /// How often a step's command is sent before the step is in doubt.
    pub fn tries(&self, definition: &StepDefinition) -> u32 {
        self.tries.unwrap_or(definition.retry.tries)
    }

    /// No wait is longer, jitter included. A deadline further away than this was
    /// set by a clock that was wrong.
    pub fn longest_wait(&self) -> Duration {
        let longest = Step::ALL
            .iter()
            .map(|step| self.max_wait(step.definition()))
            .chain([self.hold_max, self.hold_first])
            .max();
        longest.map_or(Duration::ZERO, |longest| {
            longest.saturating_add(longest / 4)
        })
    }

    fn max_wait(&self, definition: &StepDefinition) -> Duration {
        let first = self.first_wait.unwrap_or(definition.deadline.first);
        self.max_wait.unwrap_or(definition.deadline.max.max(first))
    }

    /// Whether a deadline counts as passed.
    pub(crate) fn has_passed(&self, due_at: Timestamp, now: Timestamp) -> bool {
        due_at <= now || due_at > after(now, self.longest_wait())
    }

    /// How long to wait after a command was sent for the `tries`th time, in whole
    /// milliseconds.
    ///
    /// Doubles with each try up to the longest wait. On top comes a jitter of up
    /// to a quarter, which is a function of checkout and try: sagas that began
    /// together do not resend together, and a repeated transition gives the same. All
    /// steps of a checkout have the same, so that its next deadline is never earlier by
    /// chance.
    pub fn wait(&self, definition: &StepDefinition, checkout: CheckoutId, tries: u32) -> Duration {
        let first = self.first_wait.unwrap_or(definition.deadline.first);
        let max = self.max_wait(definition);
        let doublings = tries.saturating_sub(1).min(31);
        let wait = first.saturating_mul(1 << doublings).min(max);
        jittered(wait, hash(checkout, tries))
    }

    /// How long a saga waits on for a held participant, for which it has waited
    /// `so_far`, in whole milliseconds.
    ///
    /// As long again as it has waited, within the limits, with the same jitter as
    /// [`wait`](Self::wait): a crowd neither wakes all the time nor at once.
    pub fn hold_wait(&self, checkout: CheckoutId, so_far: Duration) -> Duration {
        let wait = so_far.min(self.hold_max).max(self.hold_first);
        jittered(wait, hash(checkout, 0))
    }
}

/// Up to a quarter longer.
fn jittered(wait: Duration, jitter: u8) -> Duration {
    let longer = (wait / 4).saturating_mul(u32::from(jitter)) / u32::from(u8::MAX);
    let wait = wait.saturating_add(longer);
    Duration::from_millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

/// The time a wait after `now`; the end of time where that is beyond it.
pub(crate) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| now.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

/// FNV-1a, folded to a byte: stable across builds, unlike the standard hasher.
fn hash(checkout: CheckoutId, tries: u32) -> u8 {
    let id = checkout.into_untyped_uuid();
    let hash = id
        .as_bytes()
        .iter()
        .chain(&tries.to_be_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    hash.to_be_bytes()
        .into_iter()
        .fold(0, |fold, byte| fold ^ byte)
}

#[cfg(test)]
mod tests {
    use contracts::ids::GenericUuid;
    use uuid::Uuid;

    use super::*;
    use crate::step::Step;

    fn wait_ms(rules: &Rules, checkout: u128, tries: u32) -> u128 {
        let checkout = CheckoutId::from_untyped_uuid(Uuid::from_u128(checkout));
        rules
            .wait(Step::FIRST.definition(), checkout, tries)
            .as_millis()
    }

    #[test]
    fn a_wait_doubles_up_to_its_limit_and_is_at_most_a_quarter_longer() {
        let rules = Rules {
            first_wait: Some(Duration::from_millis(100)),
            max_wait: Some(Duration::from_millis(1_000)),
            ..Rules::default()
        };
        for (tries, base) in [
            (1, 100),
            (2, 200),
            (3, 400),
            (4, 800),
            (5, 1_000),
            (u32::MAX, 1_000),
        ] {
            for checkout in 0..200 {
                let wait = wait_ms(&rules, checkout, tries);
                assert!((base..=base + base / 4).contains(&wait), "{tries}: {wait}");
            }
        }
    }

    #[test]
    fn sagas_that_began_together_do_not_resend_together() {
        let waits: std::collections::BTreeSet<_> = (0..100)
            .map(|checkout| wait_ms(&Rules::default(), checkout, 1))
            .collect();
        assert!(waits.len() > 50, "{}", waits.len());
    }

    #[test]
    fn all_steps_of_a_checkout_have_the_same_jitter() {
        let rules = Rules {
            first_wait: Some(Duration::from_secs(100)),
            ..Rules::default()
        };
        for checkout in 0..100 {
            let checkout = CheckoutId::from_untyped_uuid(Uuid::from_u128(checkout));
            let waits: Vec<_> = Step::ALL
                .iter()
                .map(|step| rules.wait(step.definition(), checkout, 1))
                .collect();
            assert!(
                waits.iter().all(|wait| *wait == waits[0]),
                "a later deadline would be earlier by chance: {waits:?}"
            );
        }
    }

    #[test]
    fn absurd_waits_end_at_the_end_of_time() {
        let rules = Rules {
            first_wait: Some(Duration::MAX),
            max_wait: Some(Duration::MAX),
            ..Rules::default()
        };
        let checkout = CheckoutId::from_untyped_uuid(Uuid::nil());
        let wait = rules.wait(Step::FIRST.definition(), checkout, u32::MAX);
        assert_eq!(after(Timestamp::UNIX_EPOCH, wait), Timestamp::MAX);
    }
}
