//! The brake of each participant: holds commands back from one that is silent or
//! far behind, and lets them go step by step when answers return.
//!
//! - [`controller`]: when it closes and opens, as a pure function.
//! - [`watch`]: looks at the database, and moves the brakes.
//! - [`status`]: `GET /participants`.
//!
//! Each instance of the orchestrator has brakes of its own. They need not talk:
//! all see the same answers, in the table of progress, and a participant that
//! answers one answers all.

pub(crate) mod controller;
pub(crate) mod status;
pub(crate) mod watch;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::time::Duration;

use contracts::RecordType;
use flow::{Brakes, Pace, Step};

use controller::{Condition, Limits};
use status::Participant;

const FLOWING: u8 = 0;
const RAMPING: u8 = 1;
const CLOSED: u8 = 2;

/// The brakes of this process.
#[derive(Debug)]
pub(crate) struct Brake {
    limits: Option<Limits>,
    lanes: [Lane; Step::ALL.len()],
    status: Mutex<Vec<Participant>>,
}

/// What the message loop and the watch share of one participant. Numbers that a
/// repeated batch counts twice do no harm: some permits fewer until the next look.
#[derive(Debug, Default)]
struct Lane {
    mode: AtomicU8,
    permits: AtomicI64,
    sent: AtomicBool,
}

impl Brake {
    /// Brakes with these limits; `None` switches them off.
    pub(crate) fn new(limits: Option<Limits>) -> Self {
        let brake = Self {
            limits,
            lanes: Default::default(),
            status: Mutex::default(),
        };
        if let Some(limits) = &limits {
            for step in Step::ALL {
                brake.set(*step, Condition::Starting, limits, first_pause(limits));
            }
        }
        brake
    }

    /// Who may be asked now.
    pub(crate) fn brakes(&self) -> Brakes {
        Step::ALL.iter().fold(Brakes::OPEN, |brakes, step| {
            brakes.with(*step, self.lanes[*step as usize].pace())
        })
    }

    /// Takes note of a message that is sent.
    pub(crate) fn sent(&self, record: RecordType) {
        let asked = |step: &&Step| {
            let definition = step.definition();
            record == definition.command.record || record == definition.compensation.record
        };
        if let Some(step) = Step::ALL.iter().find(asked) {
            let lane = &self.lanes[*step as usize];
            lane.sent.store(true, Ordering::Relaxed);
            if lane.mode.load(Ordering::Relaxed) != FLOWING {
                lane.permits.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Whether the participant of a step was asked since this was last called.
    fn take_sent(&self, step: Step) -> bool {
        self.lanes[step as usize]
            .sent
            .swap(false, Ordering::Relaxed)
    }

    /// Sets a brake and grants what may pass until the next look, a `pause` later.
    fn set(&self, step: Step, condition: Condition, limits: &Limits, pause: Duration) {
        let lane = &self.lanes[step as usize];
        let permits = condition
            .per_second(limits)
            .map_or(0, |rate| permits(rate, pause));
        lane.permits.store(permits, Ordering::Relaxed);
        let mode = match condition {
            Condition::Open => FLOWING,
            Condition::Starting | Condition::Ramping(_) => RAMPING,
            Condition::Closed(_) => CLOSED,
        };
        lane.mode.store(mode, Ordering::Relaxed);
    }
}

impl Lane {
    fn pace(&self) -> Pace {
        match self.mode.load(Ordering::Relaxed) {
            FLOWING => Pace::Flowing,
            _ if self.permits.load(Ordering::Relaxed) <= 0 => Pace::Held,
            RAMPING => Pace::Flowing,
            _ => Pace::Probe,
        }
    }
}

/// The pause between looks while it is not known how the participants are: short,
/// since it is the carts in flight at a restart that wait for it.
fn first_pause(limits: &Limits) -> Duration {
    limits.poll.min(Duration::from_millis(100))
}

/// What may pass in a pause, at least one.
fn permits(per_second: u32, pause: Duration) -> i64 {
    let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    let permits = u64::from(per_second).saturating_mul(millis) / 1_000;
    i64::try_from(permits.max(1)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::controller::Why;
    use super::*;

    const LIMITS: Limits = Limits {
        poll: Duration::from_millis(500),
        silence: Duration::from_secs(3),
        max_out: 100,
        probes_per_second: 4,
        ramp_per_second: 20,
    };
    const STEP: Step = Step::AuthorizePayment;

    /// How many commands pass in one poll, and how.
    fn passes(brake: &Brake) -> Vec<Pace> {
        let mut paces = Vec::new();
        while paces.len() < 1_000 && brake.brakes().pace(STEP) != Pace::Held {
            paces.push(brake.brakes().pace(STEP));
            brake.sent(RecordType::AuthorizePayment);
        }
        paces
    }

    #[test]
    fn each_condition_lets_its_number_pass_in_a_poll() {
        let brake = Brake::new(Some(LIMITS));
        assert_eq!(passes(&brake), [Pace::Flowing; 2], "just started");
        brake.set(STEP, Condition::Closed(Why::Silent), &LIMITS, LIMITS.poll);
        assert_eq!(passes(&brake), [Pace::Probe; 2]);
        assert_eq!(passes(&brake), [], "until the next look");
        brake.set(STEP, Condition::Ramping(40), &LIMITS, LIMITS.poll);
        assert_eq!(passes(&brake), [Pace::Flowing; 20]);
        brake.set(STEP, Condition::Open, &LIMITS, LIMITS.poll);
        assert_eq!(passes(&brake).len(), 1_000);
    }

    #[test]
    fn one_participant_held_leaves_the_others_alone() {
        let brake = Brake::new(Some(LIMITS));
        for step in Step::ALL {
            brake.set(*step, Condition::Open, &LIMITS, LIMITS.poll);
        }
        brake.set(STEP, Condition::Closed(Why::Behind), &LIMITS, LIMITS.poll);
        passes(&brake);
        let brakes = brake.brakes();
        assert_eq!(brakes, Brakes::OPEN.with(STEP, Pace::Held));
    }

    #[test]
    fn commands_and_compensations_count_as_asked_and_nothing_else_does() {
        let brake = Brake::new(Some(LIMITS));
        brake.sent(RecordType::OrderCreated);
        assert!(Step::ALL.iter().all(|step| !brake.take_sent(*step)));
        for record in [RecordType::AuthorizePayment, RecordType::VoidAuthorization] {
            brake.sent(record);
            assert!(brake.take_sent(STEP), "{record:?}");
            assert!(!brake.take_sent(STEP));
            assert!(!brake.take_sent(Step::CreateOrder));
        }
    }

    #[test]
    fn switched_off_everything_passes() {
        assert_eq!(passes(&Brake::new(None)).len(), 1_000);
    }

    #[test]
    fn some_probe_passes_however_short_the_poll_is() {
        assert_eq!(permits(1, Duration::from_millis(10)), 1);
        assert!(permits(u32::MAX, Duration::MAX) > i64::from(u32::MAX));
    }
}
