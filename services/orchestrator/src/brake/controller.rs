//! When a participant is held, and how fast it is let go: a pure function of what
//! was seen of it. Time is an argument.

use std::time::Duration;

/// When a brake closes, and how much passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Pause between two looks.
    pub(crate) poll: Duration,
    /// How long commands may go without any answer.
    pub(crate) silence: Duration,
    /// Commands that may be out.
    pub(crate) max_out: u64,
    /// Commands a second that pass a closed brake.
    pub(crate) probes_per_second: u32,
    /// Commands a second that pass at first when answers return.
    pub(crate) ramp_per_second: u32,
}

/// Commands a second from which a ramp is over.
const RAMP_ENDS: u32 = 10_000;

/// Where a brake stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// This process has just started and does not know: an outage may be on, and
    /// its crowd must not be sent at once.
    Starting,
    /// All pass.
    Open,
    /// Only probes pass.
    Closed(Why),
    /// Answers have returned: so many commands a second pass.
    Ramping(u32),
}

/// Why a brake is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Commands were sent and no answer came.
    Silent,
    /// Too many commands are out.
    Behind,
}

/// What was seen at a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Changes whenever an answer is consumed, by any instance.
    pub(crate) answers: i64,
    /// Whether this process has sent a command since the last look.
    pub(crate) sent: bool,
    /// Commands that are out and not given up as stuck, as of the last count.
    pub(crate) out: u64,
    /// Sagas that are held, as of the last count.
    pub(crate) held: u64,
}

/// The brake of one participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Controller {
    condition: Condition,
    answers: Option<i64>,
    /// For how long something that was sent since the last answer has been
    /// unanswered; `None` where nothing was sent since.
    unanswered: Option<Duration>,
}

impl Controller {
    pub(crate) const fn new() -> Self {
        Self {
            condition: Condition::Starting,
            answers: None,
            unanswered: None,
        }
    }

    pub(crate) const fn condition(&self) -> Condition {
        self.condition
    }

    /// Takes a look into account that came `elapsed` after the one before.
    ///
    /// Only silence that was watched counts: a process that was paused, or whose
    /// database was away, has heard nothing because it did not listen. And only
    /// silence after a command counts, so a quiet shop closes no brake.
    pub(crate) fn look(&mut self, seen: Seen, elapsed: Duration, limits: &Limits) -> Condition {
        let first = self.answers.is_none();
        let answered = !first && self.answers != Some(seen.answers);
        self.answers = Some(seen.answers);
        self.unanswered = match self.unanswered {
            _ if answered => None,
            // What was sent before an earlier look may have been answered before it, too.
            Some(_) if seen.out == 0 && !seen.sent => None,
            Some(so_far) => Some(so_far.saturating_add(elapsed.min(limits.poll.saturating_mul(2)))),
            None => None,
        };
        if seen.sent && self.unanswered.is_none() {
            self.unanswered = Some(Duration::ZERO);
        }
        let silent = self
            .unanswered
            .is_some_and(|so_far| so_far >= limits.silence);
        let nothing_waits = seen.out == 0 && seen.held == 0;

        self.condition = match self.condition {
            Condition::Closed(_) | Condition::Starting if nothing_waits => Condition::Open,
            Condition::Closed(_) if answered && seen.out <= limits.max_out / 2 => {
                Condition::Ramping(limits.ramp_per_second)
            }
            closed @ Condition::Closed(_) => closed,
            _ if silent => Condition::Closed(Why::Silent),
            _ if seen.out > limits.max_out => Condition::Closed(Why::Behind),
            Condition::Starting if answered => Condition::Open,
            Condition::Ramping(_) if nothing_waits => Condition::Open,
            Condition::Ramping(rate) if answered => match rate.saturating_mul(2) {
                RAMP_ENDS.. => Condition::Open,
                rate => Condition::Ramping(rate),
            },
            as_before => as_before,
        };
        self.condition
    }
}

impl Condition {
    /// Commands a second that may pass; `None` for any number.
    pub(crate) const fn per_second(self, limits: &Limits) -> Option<u32> {
        match self {
            Condition::Open => None,
            Condition::Starting => Some(limits.ramp_per_second),
            Condition::Closed(_) => Some(limits.probes_per_second),
            Condition::Ramping(rate) => Some(rate),
        }
    }

    /// For programs.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Condition::Starting => "STARTING",
            Condition::Open => "OPEN",
            Condition::Closed(Why::Silent) => "CLOSED_SILENT",
            Condition::Closed(Why::Behind) => "CLOSED_BEHIND",
            Condition::Ramping(_) => "RAMPING",
        }
    }

    /// The value of the metric.
    pub(crate) const fn level(self) -> f64 {
        match self {
            Condition::Open => 0.0,
            Condition::Starting | Condition::Ramping(_) => 1.0,
            Condition::Closed(_) => 2.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(1);
    const LIMITS: Limits = Limits {
        poll: POLL,
        silence: Duration::from_secs(3),
        max_out: 100,
        probes_per_second: 5,
        ramp_per_second: 20,
    };
    const QUIET: Seen = Seen {
        answers: 7,
        sent: false,
        out: 0,
        held: 0,
    };
    /// A command was sent, and is out.
    const SENT: Seen = Seen {
        sent: true,
        out: 1,
        ..QUIET
    };

    fn looks(controller: &mut Controller, seen: Seen, times: usize) -> Condition {
        for _ in 0..times {
            controller.look(seen, POLL, &LIMITS);
        }
        controller.condition()
    }

    fn stays_open(controller: &mut Controller, seen: Seen) {
        for look in 0..1_000 {
            let condition = controller.look(seen, POLL, &LIMITS);
            assert_eq!(condition, Condition::Open, "at look {look}");
        }
    }

    fn open() -> Controller {
        let mut controller = Controller::new();
        assert_eq!(looks(&mut controller, QUIET, 1), Condition::Open);
        controller
    }

    fn closed() -> Controller {
        let mut controller = open();
        let condition = looks(&mut controller, SENT, 10);
        assert_eq!(condition, Condition::Closed(Why::Silent));
        controller
    }

    fn answered(controller: &mut Controller, seen: Seen, times: i64) -> Condition {
        for more in 1..=times {
            let answers = seen.answers + more;
            controller.look(Seen { answers, ..seen }, POLL, &LIMITS);
        }
        controller.condition()
    }

    #[test]
    fn silence_after_a_command_closes_it_and_not_sooner() {
        let mut controller = open();
        assert_eq!(looks(&mut controller, SENT, 3), Condition::Open);
        assert_eq!(
            looks(&mut controller, SENT, 1),
            Condition::Closed(Why::Silent)
        );
    }

    #[test]
    fn a_quiet_system_stays_open() {
        let mut controller = open();
        stays_open(&mut controller, QUIET);
        // What was sent was answered, the last of it before the look that saw it sent;
        // later silence means nothing.
        answered(&mut controller, SENT, 5);
        let last = Seen {
            answers: 12,
            ..QUIET
        };
        stays_open(&mut controller, last);
    }

    #[test]
    fn one_saga_that_is_never_answered_does_not_close_it_once_others_are() {
        let mut controller = open();
        looks(&mut controller, SENT, 2);
        answered(&mut controller, SENT, 1);
        let one_out = Seen {
            answers: 8,
            out: 1,
            ..QUIET
        };
        controller.look(one_out, POLL, &LIMITS);
        answered(&mut controller, one_out, 1);
        let still_out = Seen {
            answers: 9,
            ..one_out
        };
        stays_open(&mut controller, still_out);
    }

    #[test]
    fn time_that_was_not_watched_is_not_silence() {
        let mut controller = open();
        looks(&mut controller, SENT, 1);
        controller.look(SENT, Duration::from_secs(3_600), &LIMITS);
        assert_eq!(controller.condition(), Condition::Open);
        assert_eq!(
            looks(&mut controller, SENT, 1),
            Condition::Closed(Why::Silent)
        );
    }

    #[test]
    fn too_many_commands_out_close_it_until_half_are_answered() {
        let mut controller = open();
        let crowd = Seen { out: 101, ..SENT };
        assert_eq!(
            answered(&mut controller, crowd, 1),
            Condition::Closed(Why::Behind)
        );
        let fewer = Seen { out: 51, ..crowd };
        assert_eq!(
            answered(&mut controller, fewer, 3),
            Condition::Closed(Why::Behind)
        );
        let half = Seen { out: 50, ..crowd };
        assert_eq!(answered(&mut controller, half, 1), Condition::Ramping(20));
    }

    #[test]
    fn answers_open_it_by_doubling_and_renewed_silence_closes_it() {
        let mut controller = closed();
        let held = Seen { held: 30, ..SENT };
        assert_eq!(
            looks(&mut controller, held, 50),
            Condition::Closed(Why::Silent)
        );
        let mut rates = Vec::new();
        while controller.condition() != Condition::Open {
            let answers = 8 + i64::try_from(rates.len()).unwrap();
            rates.push(controller.look(Seen { answers, ..held }, POLL, &LIMITS));
        }
        let expected = [20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_120].map(Condition::Ramping);
        assert_eq!(rates[..9], expected);
        assert_eq!(rates.len(), 10);

        let mut controller = closed();
        answered(&mut controller, held, 2);
        let silent = Seen { answers: 9, ..held };
        assert_eq!(
            looks(&mut controller, silent, 5),
            Condition::Closed(Why::Silent)
        );
    }

    #[test]
    fn a_ramp_does_not_grow_without_answers() {
        let mut controller = closed();
        let unsent = Seen {
            sent: false,
            held: 3,
            ..SENT
        };
        answered(&mut controller, unsent, 1);
        let unanswered = Seen {
            answers: 8,
            ..unsent
        };
        assert_eq!(
            looks(&mut controller, unanswered, 20),
            Condition::Ramping(20)
        );
    }

    #[test]
    fn it_opens_when_nothing_waits_any_more() {
        let mut controller = closed();
        assert_eq!(looks(&mut controller, QUIET, 1), Condition::Open);
        let mut controller = closed();
        answered(&mut controller, SENT, 1);
        let quiet = Seen {
            answers: 8,
            ..QUIET
        };
        assert_eq!(looks(&mut controller, quiet, 1), Condition::Open);
    }

    #[test]
    fn a_restart_in_an_outage_sends_no_crowd_and_one_without_opens_at_the_first_answer() {
        let crowd = Seen {
            held: 30_000,
            out: 40,
            ..SENT
        };
        let mut controller = Controller::new();
        assert_eq!(looks(&mut controller, crowd, 3), Condition::Starting);
        assert_eq!(
            looks(&mut controller, crowd, 1),
            Condition::Closed(Why::Silent)
        );
        let mut controller = Controller::new();
        looks(&mut controller, crowd, 1);
        assert_eq!(answered(&mut controller, crowd, 1), Condition::Open);
    }

    #[test]
    fn only_an_open_brake_lets_everything_pass() {
        let conditions = [
            (Condition::Starting, Some(20), 1.0),
            (Condition::Open, None, 0.0),
            (Condition::Closed(Why::Silent), Some(5), 2.0),
            (Condition::Closed(Why::Behind), Some(5), 2.0),
            (Condition::Ramping(640), Some(640), 1.0),
        ];
        for (condition, per_second, level) in conditions {
            assert_eq!(condition.per_second(&LIMITS), per_second);
            assert_eq!(condition.level(), level, "{condition:?}");
        }
    }
}
