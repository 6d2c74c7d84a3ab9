//! The transition function: one exhaustive match over state and input.
//!
//! - [`checkout`]: a request for a checkout.
//! - [`action`]: the straight path, and how it is left.
//! - [`undo`]: the way back.
//! - [`operator`]: inputs of operators.

mod action;
mod checkout;
mod operator;
mod undo;

use std::time::Duration;

use contracts::{Message, messages::RejectionReason};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    brakes::Brakes,
    events,
    input::{Input, ReplyKind, StepReply},
    outcome::{Ignored, OperatorRefusal, Outcome, Transition},
    rules::{Rules, after},
    saga::{Saga, State, Waiting},
    step::{Step, StepDefinition},
};

/// What follows when `input` happens to `saga` at `now`, with the participants
/// held back by `brakes`.
///
/// `saga` is the stored saga of the cart that the input names, `None` where
/// there is none. Never panics, and gives the same result for the same arguments.
/// Times are kept in whole milliseconds, as the contracts carry them.
pub fn next(
    saga: Option<Saga>,
    input: &Input<'_>,
    now: Timestamp,
    rules: &Rules,
    brakes: Brakes,
) -> Transition {
    let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
    let Some(saga) = saga else {
        return without_saga(input, now, rules, brakes);
    };
    let state = saga.progress.state;
    let mut turn = Turn::new(saga, now, rules, brakes);
    let outcome = match (state, input) {
        (State::Failed, Input::CartCheckedOut(request)) => turn.checkout_again(request),
        (State::Completed, Input::CartCheckedOut(request)) => {
            turn.turn_away(request, RejectionReason::AlreadyOrdered)
        }
        (
            State::InProgress(_)
            | State::InDoubt(_)
            | State::Compensating(_)
            | State::Stuck(_)
            | State::Abandoned { .. },
            Input::CartCheckedOut(request),
        ) => turn.turn_away(request, RejectionReason::CheckoutInProgress),

        (State::InProgress(waiting), Input::Reply(reply)) => match turn.fence(reply) {
            Ok(()) => turn.action_answered(waiting, reply),
            Err(ignored) => Outcome::Ignored(ignored),
        },
        (
            State::InDoubt(waiting) | State::Compensating(waiting) | State::Stuck(waiting),
            Input::Reply(reply),
        ) => match turn.fence(reply) {
            Ok(()) => turn.undo_answered(waiting, reply),
            Err(ignored) => Outcome::Ignored(ignored),
        },
        (State::Completed | State::Failed | State::Abandoned { .. }, Input::Reply(reply)) => {
            Outcome::Ignored(turn.fence(reply).err().unwrap_or(Ignored::Ended))
        }

        (State::InProgress(waiting), Input::ReservationExpired(event)) => {
            turn.reservation_expired(waiting, event)
        }
        (
            State::InDoubt(_) | State::Compensating(_) | State::Stuck(_),
            Input::ReservationExpired(_),
        ) => Outcome::Ignored(Ignored::NotAwaited),
        (
            State::Completed | State::Failed | State::Abandoned { .. },
            Input::ReservationExpired(_),
        ) => Outcome::Ignored(Ignored::Ended),

        (
            State::InProgress(waiting)
            | State::InDoubt(waiting)
            | State::Compensating(waiting)
            | State::Stuck(waiting),
            Input::DeadlinePassed,
        ) if !rules.has_passed(waiting.due_at, now) => Outcome::Ignored(Ignored::TooEarly),
        (State::InProgress(waiting), Input::DeadlinePassed) => turn.action_unanswered(waiting),
        (
            State::InDoubt(waiting) | State::Compensating(waiting) | State::Stuck(waiting),
            Input::DeadlinePassed,
        ) => turn.undo_unanswered(waiting),
        (State::Completed | State::Failed | State::Abandoned { .. }, Input::DeadlinePassed) => {
            Outcome::Ignored(Ignored::Ended)
        }

        (
            State::InProgress(_)
            | State::InDoubt(_)
            | State::Compensating(_)
            | State::Stuck(_)
            | State::Completed
            | State::Failed
            | State::Abandoned { .. },
            Input::Operator(operation),
        ) => turn.operate(operation),
    };
    turn.end(outcome)
}

fn without_saga(input: &Input<'_>, now: Timestamp, rules: &Rules, brakes: Brakes) -> Transition {
    let outcome = match input {
        Input::CartCheckedOut(request) => {
            return Turn::first_checkout(request, now, rules, brakes);
        }
        Input::Reply(_) | Input::ReservationExpired(_) | Input::DeadlinePassed => {
            Outcome::Ignored(Ignored::UnknownCart)
        }
        Input::Operator(_) => Outcome::OperatorRefused(OperatorRefusal::UnknownCart),
    };
    Transition {
        saga: None,
        changed: false,
        messages: Vec::new(),
        outcome,
    }
}

/// A transition while it is being worked out.
struct Turn<'r> {
    saga: Saga,
    changed: bool,
    messages: Vec<Message>,
    now: Timestamp,
    rules: &'r Rules,
    brakes: Brakes,
}

impl<'r> Turn<'r> {
    fn new(saga: Saga, now: Timestamp, rules: &'r Rules, brakes: Brakes) -> Self {
        Self {
            saga,
            changed: false,
            messages: Vec::new(),
            now,
            rules,
            brakes,
        }
    }

    fn end(self, outcome: Outcome) -> Transition {
        Transition {
            saga: Some(self.saga),
            changed: self.changed,
            messages: self.messages,
            outcome,
        }
    }

    /// Moves to another state. Snapshots are published off the straight path,
    /// and from the cart's first one on for every state, so that the newest is
    /// never out of date.
    fn enter(&mut self, state: State) {
        self.saga.progress.state = state;
        self.saga.progress.updated_at = self.now;
        self.changed = true;
        let off_the_path = match state {
            State::InDoubt(_)
            | State::Compensating(_)
            | State::Stuck(_)
            | State::Abandoned { .. } => true,
            State::InProgress(_) | State::Completed | State::Failed => false,
        };
        if off_the_path || self.saga.progress.snapshots > 0 {
            self.snapshot();
        }
    }

    fn snapshot(&mut self) {
        let progress = &mut self.saga.progress;
        progress.snapshots = progress.snapshots.saturating_add(1);
        self.messages.push(events::snapshot(&self.saga, self.now));
    }

    /// Stays in the state, and waits anew.
    fn wait_on(&mut self, waiting: Waiting) {
        self.saga.progress.state = match self.saga.progress.state {
            State::InProgress(_) => State::InProgress(waiting),
            State::InDoubt(_) => State::InDoubt(waiting),
            State::Stuck(_) => State::Stuck(waiting),
            State::Compensating(_) | State::Completed | State::Failed | State::Abandoned { .. } => {
                State::Compensating(waiting)
            }
        };
        self.changed = true;
    }

    /// The wait for the first answer to a command.
    fn first_wait(&self, definition: &StepDefinition) -> Waiting {
        Waiting {
            step: definition.step,
            tries: 1,
            since: self.now,
            due_at: self.due(definition, 1),
            held: false,
        }
    }

    /// The wait after a command was sent again, for the `tries`th time.
    fn next_wait(&self, waiting: Waiting, tries: u32) -> Waiting {
        Waiting {
            tries,
            due_at: self.due(waiting.step.definition(), tries),
            held: false,
            ..waiting
        }
    }

    /// The wait for a participant that is held, with nothing sent and nothing
    /// counted.
    fn held_wait(&self, waiting: Waiting) -> Waiting {
        let so_far = Duration::try_from(self.now.duration_since(waiting.since));
        let checkout = self.saga.progress.checkout_id;
        let wait = self.rules.hold_wait(checkout, so_far.unwrap_or_default());
        Waiting {
            due_at: after(self.now, wait),
            held: true,
            ..waiting
        }
    }

    fn due(&self, definition: &StepDefinition, tries: u32) -> Timestamp {
        let checkout = self.saga.progress.checkout_id;
        after(self.now, self.rules.wait(definition, checkout, tries))
    }

    /// Lets only answers pass that answer a command of the current attempt.
    fn fence(&self, reply: &StepReply) -> Result<(), Ignored> {
        if reply.checkout_id != self.saga.progress.checkout_id {
            return Err(Ignored::OtherCheckout);
        }
        let definition = reply.step.definition();
        let command = match reply.kind {
            ReplyKind::Done { .. } | ReplyKind::Refused { .. } => definition.command.record,
            ReplyKind::Undone => definition.compensation.record,
        };
        if reply.command_id != self.saga.command_id(command) {
            return Err(Ignored::ForeignCommand);
        }
        Ok(())
    }

    /// Remembers what a participant calls the thing it holds.
    fn remember(&mut self, step: Step, handle: Uuid) {
        if self.saga.progress.handles.insert(step, handle) != Some(handle) {
            self.changed = true;
        }
    }
}
