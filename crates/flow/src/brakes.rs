//! Whether the participants may be asked now.
//!
//! A participant that has fallen silent, or is far behind, is held: crowds of
//! commands would only lengthen its queue, and crowds of checkouts would be given
//! up for a fault that is not theirs. Who is held is measured outside and handed
//! to [`next`](crate::next()), which decides what a saga does about it.

use crate::step::Step;

/// How freely a participant may be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pace {
    /// Freely.
    #[default]
    Flowing,
    /// Once, to find out whether it answers again: a sending that does not count
    /// as a try.
    Probe,
    /// Not now: a command waits unsent, and one that is out waits on.
    Held,
}

/// The pace of every step's participant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Brakes([Pace; Step::ALL.len()]);

impl Brakes {
    /// All participants may be asked freely.
    pub const OPEN: Brakes = Brakes([Pace::Flowing; Step::ALL.len()]);

    /// The same, but for the participant of one step.
    #[must_use]
    pub const fn with(mut self, step: Step, pace: Pace) -> Self {
        self.0[step as usize] = pace;
        self
    }

    /// How freely the participant of a step may be asked.
    pub const fn pace(self, step: Step) -> Pace {
        self.0[step as usize]
    }
}
