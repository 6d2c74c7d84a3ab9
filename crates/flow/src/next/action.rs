//! The straight path: one step after the other, and how it is left.

use contracts::{
    ids::GenericUuid,
    messages::{FailureReason, ReservationExpired},
};

use jiff::Timestamp;

use super::Turn;
use crate::{
    brakes::Pace,
    events,
    input::{ReplyKind, StepReply},
    outcome::{Ignored, Outcome},
    rules::after,
    saga::{Failure, MissingItem, State, Waiting},
    step::Step,
    text::{clean, clean_to},
};

/// Products that a failure names, at most; a cart has no more.
const MAX_MISSING_ITEMS: usize = 500;

impl Turn<'_> {
    /// Takes a step. The command of a held participant waits unsent.
    pub(super) fn begin(&mut self, step: Step, begun: Outcome) -> Outcome {
        let definition = step.definition();
        let pace = self.brakes.pace(step);
        if pace == Pace::Held {
            let unsent = Waiting {
                tries: 0,
                ..self.first_wait(definition)
            };
            let waiting = self.held_action(unsent);
            self.enter(State::InProgress(waiting));
            return begun;
        }
        let Some(command) = (definition.command.build)(&self.saga) else {
            return self.cannot_build(step);
        };
        self.messages.push(command);
        let waiting = match (pace, self.first_wait(definition)) {
            (Pace::Probe, waiting) => self.held_action(waiting),
            (_, waiting) => waiting,
        };
        self.enter(State::InProgress(waiting));
        begun
    }

    /// An answer of this attempt, while a step's action is out.
    pub(super) fn action_answered(&mut self, waiting: Waiting, reply: &StepReply) -> Outcome {
        if reply.step != waiting.step {
            return Outcome::Ignored(Ignored::NotAwaited);
        }
        match &reply.kind {
            ReplyKind::Done { handle } => {
                self.remember(reply.step, *handle);
                match reply.step.following() {
                    Some(step) => self.begin(step, Outcome::StepDone(reply.step)),
                    None => self.complete(reply.step),
                }
            }
            ReplyKind::Refused { reason, refusal } => {
                self.saga.progress.failure = Some(Failure {
                    reason: *reason,
                    detail: clean(&refusal.detail),
                    missing: bounded(&refusal.missing),
                });
                match reply.step.preceding() {
                    Some(step) => {
                        self.undo(step, State::Compensating);
                        Outcome::StepRefused(reply.step, *reason)
                    }
                    None => self.fail(),
                }
            }
            ReplyKind::Undone => Outcome::Ignored(Ignored::NotAwaited),
        }
    }

    /// The action's answer did not come in time, or its command is still unsent.
    ///
    /// What was counted before a hold does not count after it: the silence was the
    /// participant's. A hold ends with the customer's patience, if not before.
    pub(super) fn action_unanswered(&mut self, waiting: Waiting) -> Outcome {
        let definition = waiting.step.definition();
        let pace = self.brakes.pace(waiting.step);
        if (waiting.held || pace != Pace::Flowing) && self.now >= self.patience_ends() {
            let detail = format!(
                "{} could not be answered in time",
                definition.command.record.name()
            );
            return self.give_up(waiting, FailureReason::TimedOut, detail);
        }
        match pace {
            Pace::Held => {
                let waiting = self.held_action(waiting);
                self.wait_on(waiting);
                return Outcome::Held(waiting.step);
            }
            Pace::Probe => {
                let outcome = self.send_action(waiting, waiting.tries.max(1));
                if let State::InProgress(sent) = self.saga.progress.state {
                    self.wait_on(self.held_action(sent));
                }
                return outcome;
            }
            Pace::Flowing if waiting.held => return self.send_action(waiting, 1),
            Pace::Flowing => {}
        }
        if waiting.tries >= self.rules.tries(definition) {
            let detail = format!(
                "{} was not answered in time",
                definition.command.record.name()
            );
            return self.doubt(waiting.step, FailureReason::TimedOut, detail);
        }
        self.send_action(waiting, waiting.tries.saturating_add(1))
    }

    /// A held wait, which ends with the customer's patience at the latest.
    fn held_action(&self, waiting: Waiting) -> Waiting {
        let waiting = self.held_wait(waiting);
        Waiting {
            due_at: waiting.due_at.min(self.patience_ends()),
            ..waiting
        }
    }

    fn patience_ends(&self) -> Timestamp {
        after(self.saga.progress.started_at, self.rules.checkout_limit)
    }

    /// Sends the action's command, as the `tries`th time.
    pub(super) fn send_action(&mut self, waiting: Waiting, tries: u32) -> Outcome {
        let definition = waiting.step.definition();
        let Some(command) = (definition.command.build)(&self.saga) else {
            return self.cannot_build(waiting.step);
        };
        self.messages.push(command);
        self.wait_on(self.next_wait(waiting, tries));
        match waiting.tries {
            0 => Outcome::CommandReleased(waiting.step),
            _ => Outcome::CommandResent(waiting.step),
        }
    }

    /// The promise for the stock is over: everything is given back, the step in
    /// flight first. The stock itself is held until it is released.
    pub(super) fn reservation_expired(
        &mut self,
        waiting: Waiting,
        event: &ReservationExpired,
    ) -> Outcome {
        if event.checkout_id != self.saga.progress.checkout_id {
            return Outcome::Ignored(Ignored::OtherCheckout);
        }
        let reservation = event.reservation_id.into_untyped_uuid();
        match self.saga.handle(Step::ReserveInventory) {
            Some(known) if known != reservation => {
                return Outcome::Ignored(Ignored::OtherReservation);
            }
            _ => self.remember(Step::ReserveInventory, reservation),
        }
        self.give_up(
            waiting,
            FailureReason::ReservationExpired,
            "the items could not be held any longer".to_owned(),
        )
    }

    /// Leaves the straight path. A step whose command was never sent holds
    /// nothing, so only the steps before it are undone.
    pub(super) fn give_up(
        &mut self,
        waiting: Waiting,
        reason: FailureReason,
        detail: String,
    ) -> Outcome {
        if waiting.tries > 0 {
            return self.doubt(waiting.step, reason, detail);
        }
        self.because(reason, detail);
        match waiting.step.preceding() {
            Some(step) => {
                self.undo(step, State::Compensating);
                Outcome::StepGivenUp(waiting.step, reason)
            }
            None => self.fail(),
        }
    }

    /// Gives up a step of which it is not known whether it was done: it is
    /// undone in any case, and the steps before it after that.
    fn doubt(&mut self, step: Step, reason: FailureReason, detail: String) -> Outcome {
        self.because(reason, detail);
        self.undo(step, State::InDoubt);
        Outcome::StepInDoubt(step, reason)
    }

    fn because(&mut self, reason: FailureReason, detail: String) {
        self.saga.progress.failure = Some(Failure {
            reason,
            detail,
            missing: Vec::new(),
        });
    }

    /// The last step is done.
    fn complete(&mut self, last: Step) -> Outcome {
        let Some(announcement) = events::order_created(&self.saga, self.now) else {
            return self.cannot_build(last);
        };
        self.messages.push(announcement);
        self.enter(State::Completed);
        Outcome::Completed
    }

    /// Nothing is held, or was ever asked for.
    pub(super) fn fail(&mut self) -> Outcome {
        let failed = events::checkout_failed(&self.saga, self.now);
        self.messages.push(failed);
        self.enter(State::Failed);
        Outcome::Failed(self.saga.failure_reason().unwrap_or(FailureReason::Unknown))
    }

    fn cannot_build(&mut self, step: Step) -> Outcome {
        let detail = format!("{step} lacks what an earlier step should have left");
        self.doubt(step, FailureReason::Unknown, detail)
    }
}

/// Product ids come back from the participant and may be anything.
fn bounded(missing: &[MissingItem]) -> Vec<MissingItem> {
    missing
        .iter()
        .take(MAX_MISSING_ITEMS)
        .map(|item| MissingItem {
            product_id: clean_to(&item.product_id, 64),
            ..*item
        })
        .collect()
}
