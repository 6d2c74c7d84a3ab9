//! What can happen to a saga.

use contracts::{
    Message,
    ids::{CheckoutId, CommandId},
    messages::{CartCheckedOut, FailureReason, ReservationExpired, SagaOperation},
};
use uuid::Uuid;

use crate::step::{Refusal, Step};

/// One thing that happens to a cart's checkout.
#[derive(Clone, Debug)]
pub enum Input<'m> {
    /// The cart service asks for a checkout.
    CartCheckedOut(&'m CartCheckedOut),
    /// A participant answers a command.
    Reply(StepReply),
    /// The time promised for a reservation is over.
    ReservationExpired(&'m ReservationExpired),
    /// The time that [`Saga::due_at`](crate::Saga::due_at) named has come.
    DeadlinePassed,
    /// An operator intervenes.
    Operator(&'m SagaOperation),
}

impl<'m> Input<'m> {
    /// The input that a message is; `None` where it is none of the saga's
    /// business.
    pub fn of(message: &'m Message) -> Option<Self> {
        match message {
            Message::CartCheckedOut(event) => Some(Input::CartCheckedOut(event)),
            Message::ReservationExpired(event) => Some(Input::ReservationExpired(event)),
            Message::SagaOperation(operation) => Some(Input::Operator(operation)),
            other => StepReply::of(other).map(Input::Reply),
        }
    }
}

/// A participant's answer, in the terms of the saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepReply {
    /// The step whose participant answers.
    pub step: Step,
    /// The checkout that it belongs to.
    pub checkout_id: CheckoutId,
    /// The command that it answers.
    pub command_id: CommandId,
    /// What it says.
    pub kind: ReplyKind,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// The step is done.
    Done {
        /// What the participant calls the thing it now holds.
        handle: Uuid,
    },
    /// The step was refused: nothing is held.
    Refused {
        /// What the checkout fails with.
        reason: FailureReason,
        /// What the reply tells beyond that.
        refusal: Refusal,
    },
    /// The step is undone: nothing is held any more.
    Undone,
}

impl StepReply {
    /// The answer that a message is, by the definitions of the steps; `None`
    /// where it is none.
    pub fn of(message: &Message) -> Option<Self> {
        let record = message.record_type();
        let (step, kind) = Step::ALL.iter().find_map(|step| {
            let definition = step.definition();
            if record == definition.success.record {
                let handle = (definition.success.handle)(message)?;
                return Some((*step, ReplyKind::Done { handle }));
            }
            if record == definition.compensation.acknowledged_by {
                return Some((*step, ReplyKind::Undone));
            }
            let failure = definition
                .failures
                .iter()
                .find(|failure| failure.record == record)?;
            let kind = ReplyKind::Refused {
                reason: failure.reason,
                refusal: (failure.explain)(message)?,
            };
            Some((*step, kind))
        })?;
        Some(Self {
            step,
            checkout_id: message.checkout_id()?,
            command_id: message.command_id()?,
            kind,
        })
    }
}
