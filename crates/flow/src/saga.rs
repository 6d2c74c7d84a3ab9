//! What is stored of a cart's checkout.
//!
//! One saga a cart. It is kept in two parts: the [`Cart`], which does not change
//! during an attempt, and the [`Progress`], which is small and does. Both are
//! read and written as JSON whose unknown fields are ignored and whose later
//! fields have defaults, so that binaries of neighbouring versions understand
//! each other's rows.

use std::collections::BTreeMap;

use contracts::{
    RecordType,
    ids::{self, CartId, CheckoutId, CommandId, CustomerId, GenericUuid, OrderId},
    messages::{FailureReason, SagaState},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::step::Step;

/// The checkout of one cart: its current attempt, and what is remembered of the
/// others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saga {
    /// The cart.
    pub cart_id: CartId,
    /// What is being checked out.
    pub cart: Cart,
    /// How far it is.
    pub progress: Progress,
}

/// The content of a cart, as its current attempt began. Empty of items where the
/// cart was found invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cart {
    /// Who owns it.
    pub customer_id: CustomerId,
    /// What is in it, line by line as it was published.
    pub items: Vec<Line>,
    /// What the customer pays, in minor units of the currency.
    pub total: i64,
    /// ISO 4217 code.
    pub currency: String,
}

/// One line of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// The shop's stock keeping unit.
    pub product_id: String,
    /// Number of pieces.
    pub quantity: i32,
    /// Price of one piece in minor units.
    pub unit_price: i64,
}

/// How far a checkout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The current attempt.
    pub checkout_id: CheckoutId,
    /// Where it stands.
    #[serde(flatten)]
    pub state: State,
    /// Why it fails or failed; absent on the straight path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What the participants call what they hold, as far as it is known.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub handles: BTreeMap<Step, Uuid>,
    /// Former attempts and rejected requests of this cart: a repeat of one of
    /// their events must never begin anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<CheckoutId>,
    /// Number of snapshots published for this cart. Once there is one, every
    /// later change of state is published too, so that the compacted topic is
    /// never out of date.
    #[serde(default)]
    pub snapshots: u64,
    /// The last operator's input that changed something: what, who and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_note: Option<String>,
    /// When the attempt began.
    pub started_at: Timestamp,
    /// When the state last changed.
    pub updated_at: Timestamp,
}

/// Where a checkout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// On the straight path: a step's command is out.
    InProgress(Waiting),
    /// It is not known whether a step was done; its compensation is out, and
    /// clears the doubt.
    InDoubt(Waiting),
    /// A step that was done is being undone.
    Compensating(Waiting),
    /// A compensation has gone unanswered for long; it is still repeated.
    Stuck(Waiting),
    /// All steps are done and the order was announced.
    Completed,
    /// Nothing is held and the failure was announced.
    Failed,
    /// An operator ended it by hand; what is held is the operator's matter.
    Abandoned {
        /// The step whose compensation was given up.
        step: Step,
    },
}

/// A command that is out, or waits to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Whose command, or whose compensation.
    pub step: Step,
    /// How often it was sent; 0 while it waits for a held participant and has
    /// never been.
    pub tries: u32,
    /// When it was first sent, or would have been.
    pub since: Timestamp,
    /// When it is sent again, or given up.
    pub due_at: Timestamp,
    /// Whether it waits longer because its participant is held.
    #[serde(default, skip_serializing_if = "is_false")]
    pub held: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// Why a checkout fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// In terms a customer may be shown.
    pub reason: FailureReason,
    /// In words, for people.
    pub detail: String,
    /// The products that were missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingItem>,
}

/// A product that was missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MissingItem {
    /// The shop's stock keeping unit.
    pub product_id: String,
    /// Number of pieces asked for.
    pub requested: i32,
    /// Number of pieces that were free.
    pub available: i64,
}

impl Saga {
    /// What the participant of a step calls the thing it holds, where its reply
    /// was seen.
    pub fn handle(&self, step: Step) -> Option<Uuid> {
        self.progress.handles.get(&step).copied()
    }

    /// The id that a command of this type has in the current attempt.
    pub fn command_id(&self, command: RecordType) -> CommandId {
        ids::command_id(self.progress.checkout_id, command)
    }

    /// Why the checkout fails or failed.
    pub fn failure_reason(&self) -> Option<FailureReason> {
        self.progress.failure.as_ref().map(|failure| failure.reason)
    }

    /// The order, once it is recorded.
    pub fn order_id(&self) -> Option<OrderId> {
        self.handle(Step::CreateOrder)
            .map(OrderId::from_untyped_uuid)
    }

    /// When the saga wants [`Input::DeadlinePassed`](crate::Input::DeadlinePassed);
    /// `None` when it has ended.
    pub fn due_at(&self) -> Option<Timestamp> {
        self.progress.state.waiting().map(|waiting| waiting.due_at)
    }
}

/// Whether sagas that are said to be in this state have not ended, and so have a wake-up.
/// Of a state that is newer than this version nothing is known.
pub const fn is_in_flight(kind: SagaState) -> bool {
    match kind {
        SagaState::InProgress | SagaState::InDoubt | SagaState::Compensating | SagaState::Stuck => {
            true
        }
        SagaState::Completed | SagaState::Failed | SagaState::Abandoned | SagaState::Unknown => {
            false
        }
    }
}

impl State {
    /// The command that is out; `None` when the checkout has ended.
    pub const fn waiting(&self) -> Option<Waiting> {
        match self {
            State::InProgress(waiting)
            | State::InDoubt(waiting)
            | State::Compensating(waiting)
            | State::Stuck(waiting) => Some(*waiting),
            State::Completed | State::Failed | State::Abandoned { .. } => None,
        }
    }

    /// The step it is at, or was given up at.
    pub const fn step(&self) -> Option<Step> {
        match self {
            State::InProgress(waiting)
            | State::InDoubt(waiting)
            | State::Compensating(waiting)
            | State::Stuck(waiting) => Some(waiting.step),
            State::Abandoned { step } => Some(*step),
            State::Completed | State::Failed => None,
        }
    }

    /// The state in the terms of the snapshots.
    pub const fn kind(&self) -> SagaState {
        match self {
            State::InProgress(_) => SagaState::InProgress,
            State::InDoubt(_) => SagaState::InDoubt,
            State::Compensating(_) => SagaState::Compensating,
            State::Stuck(_) => SagaState::Stuck,
            State::Completed => SagaState::Completed,
            State::Failed => SagaState::Failed,
            State::Abandoned { .. } => SagaState::Abandoned,
        }
    }

    /// Whether the checkout has ended.
    pub const fn is_terminal(&self) -> bool {
        self.waiting().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_in_flight_that_have_a_wake_up() {
        let waiting = Waiting {
            step: Step::AuthorizePayment,
            tries: 1,
            since: Timestamp::UNIX_EPOCH,
            due_at: Timestamp::UNIX_EPOCH,
            held: false,
        };
        for state in [
            State::InProgress(waiting),
            State::InDoubt(waiting),
            State::Compensating(waiting),
            State::Stuck(waiting),
            State::Completed,
            State::Failed,
            State::Abandoned {
                step: Step::AuthorizePayment,
            },
        ] {
            let kind = state.kind();
            assert_eq!(is_in_flight(kind), state.waiting().is_some(), "{kind}");
        }
    }
}
