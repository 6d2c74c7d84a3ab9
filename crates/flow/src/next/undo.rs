//! The way back: compensations in reverse order, one at a time, without end.

use super::Turn;
use crate::{
    brakes::Pace,
    events,
    input::{ReplyKind, StepReply},
    outcome::{Ignored, Outcome},
    saga::{State, Waiting},
    step::Step,
};

impl Turn<'_> {
    /// Undoes a step. `state` says whether it was certainly done.
    pub(super) fn undo(&mut self, step: Step, state: fn(Waiting) -> State) {
        let definition = step.definition();
        let command = (definition.compensation.build)(&self.saga);
        self.messages.push(command);
        let waiting = self.first_wait(definition);
        self.enter(state(waiting));
    }

    /// An answer of this attempt, while a compensation is out.
    pub(super) fn undo_answered(&mut self, waiting: Waiting, reply: &StepReply) -> Outcome {
        match reply.kind {
            ReplyKind::Undone if reply.step == waiting.step => self.undone(waiting.step),
            // A step that was given up succeeded after all. Its compensation is
            // under way and covers it; the handle goes into later sendings.
            ReplyKind::Done { handle } if reply.step == waiting.step => {
                self.remember(reply.step, handle);
                Outcome::Ignored(Ignored::LateSuccess)
            }
            ReplyKind::Undone | ReplyKind::Done { .. } | ReplyKind::Refused { .. } => {
                Outcome::Ignored(Ignored::NotAwaited)
            }
        }
    }

    /// Nothing is held for a step any more: the one before it is next.
    pub(super) fn undone(&mut self, step: Step) -> Outcome {
        match step.preceding() {
            Some(preceding) => {
                self.undo(preceding, State::Compensating);
                Outcome::StepUndone(step)
            }
            None => self.fail(),
        }
    }

    /// The compensation's answer did not come in time. The silence of a held
    /// participant does not count towards stuck; a probe that it leaves unanswered
    /// does, so that a saga that it alone cannot undo is still reported.
    pub(super) fn undo_unanswered(&mut self, waiting: Waiting) -> Outcome {
        if self.brakes.pace(waiting.step) == Pace::Held {
            self.wait_on(self.held_wait(waiting));
            return Outcome::Held(waiting.step);
        }
        let newly_stuck = waiting.tries >= self.rules.stuck_after_tries
            && !matches!(self.saga.progress.state, State::Stuck(_));
        let waiting = self.resend_undo(waiting, waiting.tries.saturating_add(1));
        if newly_stuck {
            self.enter(State::Stuck(waiting));
            self.messages
                .push(events::stuck(&self.saga, waiting, self.now));
            return Outcome::Stuck(waiting.step);
        }
        Outcome::CompensationResent(waiting.step)
    }

    /// Sends the compensation again, for the `tries`th time.
    pub(super) fn resend_undo(&mut self, waiting: Waiting, tries: u32) -> Waiting {
        let compensation = &waiting.step.definition().compensation;
        let command = (compensation.build)(&self.saga);
        self.messages.push(command);
        let waiting = self.next_wait(waiting, tries);
        self.wait_on(waiting);
        waiting
    }
}
