//! Which sagas.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::ids::CartId;
use contracts::messages::{FailureReason, SagaState};
use flow::Step;
use flow::saga::is_in_flight;
use jiff::{SignedDuration, Timestamp};

use super::Listed;
use crate::show::clock;

/// Those that have not ended are found by the index of timers, whatever the
/// number of those that have.
const IN_FLIGHT: &str = "s.wake_at IS NOT NULL";
/// Those that an operator gave up have an index of their own, for they are few.
const ABANDONED: &str = "s.state = 'ABANDONED'";
const NAMED: &str = "s.cart_id = ANY($7::uuid[])";

/// Which sagas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// In one of these states; none: in any.
    pub states: Vec<SagaState>,
    /// At this step.
    pub step: Option<Step>,
    /// Begun longer ago than this.
    pub older_than: Option<Duration>,
    /// Failing, or failed, for this reason.
    pub failure: Option<FailureReason>,
    /// Of these carts; none: of any.
    pub carts: Vec<CartId>,
    /// Those that have ended too. They are shown anyway where states or carts
    /// are given.
    pub ended: bool,
}

impl Filter {
    /// Whether it lets everything through.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Why a saga is not like this, as "it is STUCK"; none where it is. Carts are not
    /// looked at. One that this version does not understand is never left out: it is
    /// refused whatever is asked of it, and that tells more.
    pub fn leaves_out(&self, listed: &Listed) -> Option<String> {
        let progress = &listed.saga.as_ref()?.progress;
        let (state, step) = (progress.state.kind(), progress.state.step());
        if !self.states.is_empty() && !self.states.contains(&state) {
            return Some(format!("it is {state}"));
        }
        if self.step.is_some() && self.step != step {
            return Some(match step {
                Some(step) => format!("it is at {step}"),
                None => "it is at no step any more".to_owned(),
            });
        }
        if self.begun_by().is_some_and(|by| progress.started_at > by) {
            return Some(format!("it began at {}", clock(progress.started_at)));
        }
        let reason = progress.failure.as_ref().map(|failure| failure.reason);
        if self.failure.is_some() && self.failure != reason {
            return Some(match reason {
                Some(reason) => format!("it fails with {reason}"),
                None => "it does not fail".to_owned(),
            });
        }
        None
    }

    /// When those begun last began that are old enough.
    pub(super) fn begun_by(&self) -> Option<Timestamp> {
        let age = SignedDuration::try_from(self.older_than?);
        let by = age
            .ok()
            .and_then(|age| Timestamp::now().checked_sub(age).ok());
        // Nothing is as old as what no time can be told of.
        Some(by.unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// Which rows have to be looked at, where they are few and have an index; none where
    /// any may be like this.
    pub(super) fn few(&self) -> Option<String> {
        if !self.carts.is_empty() {
            return Some(NAMED.to_owned());
        }
        if self.states.is_empty() {
            return (!self.ended).then(|| IN_FLIGHT.to_owned());
        }
        let mut indexes = BTreeSet::new();
        for state in &self.states {
            indexes.insert(match state {
                SagaState::Abandoned => ABANDONED,
                state if is_in_flight(*state) => IN_FLIGHT,
                _ => return None,
            });
        }
        let indexes: Vec<_> = indexes.into_iter().collect();
        Some(format!("({})", indexes.join(" OR ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sagas::example;

    fn few(states: &[SagaState]) -> Option<String> {
        let filter = Filter {
            states: states.to_vec(),
            ..Filter::default()
        };
        filter.few()
    }

    #[test]
    fn what_is_rare_is_found_by_its_index_and_the_rest_in_windows() {
        assert_eq!(few(&[]).as_deref(), Some(IN_FLIGHT));
        let stuck = few(&[SagaState::Stuck, SagaState::InDoubt]);
        assert_eq!(stuck, Some(format!("({IN_FLIGHT})")));
        let open = few(&[SagaState::Abandoned, SagaState::Stuck]).expect("few");
        assert!(
            open.contains(IN_FLIGHT) && open.contains(ABANDONED),
            "{open}"
        );
        assert_eq!(few(&[SagaState::Failed]), None);
        assert_eq!(few(&[SagaState::Stuck, SagaState::Completed]), None);
        let ended = Filter {
            ended: true,
            ..Filter::default()
        };
        assert_eq!(ended.few(), None);
    }

    #[test]
    fn a_saga_that_is_left_out_is_told_what_it_is_instead() {
        let last = *Step::ALL.last().expect("a step");
        let stuck = example("STUCK", last.name());
        let any = Filter::default();
        assert_eq!(any.leaves_out(&stuck), None);
        let like_it = Filter {
            states: vec![SagaState::InDoubt, SagaState::Stuck],
            step: Some(last),
            older_than: Some(Duration::ZERO),
            failure: Some(FailureReason::TimedOut),
            ..Filter::default()
        };
        assert_eq!(like_it.leaves_out(&stuck), None);
        for (filter, says) in [
            (
                Filter {
                    states: vec![SagaState::InDoubt],
                    ..like_it.clone()
                },
                "it is STUCK".to_owned(),
            ),
            (
                Filter {
                    step: Some(Step::FIRST),
                    ..like_it.clone()
                },
                format!("it is at {last}"),
            ),
            (
                Filter {
                    // A hundred thousand years.
                    older_than: Some(Duration::from_secs(3_155_760_000_000)),
                    ..like_it.clone()
                },
                "it began at 2026-01-01T00:00:00.000Z".to_owned(),
            ),
            (
                Filter {
                    failure: Some(FailureReason::OutOfStock),
                    ..like_it.clone()
                },
                "it fails with TIMED_OUT".to_owned(),
            ),
        ] {
            assert_eq!(filter.leaves_out(&stuck), Some(says));
        }
        let newer = example("STUCK", "SHIP_PARCEL");
        assert_eq!(like_it.leaves_out(&newer), None);
    }
}
