//! What the customer is told about a checkout.

use contracts::{
    ids::{CartId, CheckoutId, OrderId},
    messages::FailureReason,
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    saga::{Saga, State},
    step::{StatusText, Step},
};

/// The status of a cart's checkout as its customer may see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomerStatus {
    /// The cart.
    pub cart_id: CartId,
    /// The current attempt.
    pub checkout_id: CheckoutId,
    /// For programs: stable, in capitals.
    pub status: &'static str,
    /// For people.
    pub message: &'static str,
    /// Whether this attempt is over, so that asking again is of no use.
    pub ended: bool,
    /// The order, where one stands.
    pub order_id: Option<OrderId>,
    /// Why the checkout fails or failed.
    pub reason: Option<FailureReason>,
    /// The reason in words.
    pub detail: Option<String>,
    /// When the status last changed.
    pub updated_at: Timestamp,
}

/// Shown when the order stands.
pub const ORDERED: StatusText = StatusText {
    code: "ORDERED",
    text: "Your order is placed.",
};

/// Shown when undoing takes unusually long.
pub const DELAYED: StatusText = StatusText {
    code: "DELAYED",
    text: "Your checkout did not go through; clearing it up takes longer than usual.",
};

/// Shown when an operator has taken the checkout over.
pub const IN_CLARIFICATION: StatusText = StatusText {
    code: "IN_CLARIFICATION",
    text: "Your checkout did not go through; the shop is settling it by hand.",
};

/// The code shown for every checkout that failed; the text depends on the reason.
pub const FAILED: &str = "FAILED";

/// What a customer is told about a failed checkout: what the step says that was
/// refused, or one of the reasons that no step has.
pub fn failure_text(reason: FailureReason) -> &'static str {
    let of_a_step = Step::ALL
        .iter()
        .flat_map(|step| step.definition().failures.iter())
        .find(|failure| failure.reason == reason);
    if let Some(failure) = of_a_step {
        return failure.customer_text;
    }
    match reason {
        FailureReason::InvalidCart => "Something is wrong with the cart; nothing was charged.",
        FailureReason::TimedOut => "The shop was too slow to answer; nothing was charged.",
        FailureReason::ReservationExpired => {
            "Your items could not be held any longer; nothing was charged."
        }
        FailureReason::CancelledByOperator => {
            "The shop cancelled the checkout; nothing was charged."
        }
        _ => "The checkout did not go through; nothing was charged.",
    }
}

impl Saga {
    /// What the customer is told now.
    pub fn customer_status(&self) -> CustomerStatus {
        let state = &self.progress.state;
        let shown = match state {
            State::InProgress(waiting) => waiting.step.definition().status.doing,
            State::InDoubt(waiting) | State::Compensating(waiting) => {
                waiting.step.definition().status.undoing
            }
            State::Stuck(_) => DELAYED,
            State::Completed => ORDERED,
            State::Failed => StatusText {
                code: FAILED,
                text: failure_text(self.failure_reason().unwrap_or(FailureReason::Unknown)),
            },
            State::Abandoned { .. } => IN_CLARIFICATION,
        };
        CustomerStatus {
            cart_id: self.cart_id,
            checkout_id: self.progress.checkout_id,
            status: shown.code,
            message: shown.text,
            ended: state.is_terminal(),
            order_id: match state {
                State::Completed => self.order_id(),
                _ => None,
            },
            reason: self.failure_reason(),
            detail: self
                .progress
                .failure
                .as_ref()
                .map(|failure| failure.detail.clone()),
            updated_at: self.progress.updated_at,
        }
    }
}
