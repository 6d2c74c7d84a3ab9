//! The rows that one batch has read and changes.

use std::collections::HashMap;

use contracts::ids::{AuthorizationId, CartId, CheckoutId, CommandId, CustomerId};
use contracts::messages::{CancelReason, OrderLine, OrderRejectReason};
use jiff::Timestamp;
use service::Rows;

/// All rows of a batch.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What is known of the checkouts that the batch is about.
    pub(crate) orders: Rows<CheckoutId, Order>,
    /// The checkout of the live order of each cart that the batch is about and that
    /// has one.
    pub(crate) live: HashMap<CartId, CheckoutId>,
}

/// What the order service has heard of one checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) cart_id: CartId,
    /// The creation, once it came and was not too late.
    pub(crate) creation: Option<Creation>,
    /// The cancellation, once it came.
    pub(crate) cancellation: Option<Cancellation>,
}

/// A creation that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Creation {
    pub(crate) command_id: CommandId,
    pub(crate) at: Timestamp,
    pub(crate) answer: Answer,
}

/// How a creation was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// An order was recorded.
    Recorded,
    /// An order is recorded by this batch; answers never need its content again, so it
    /// is not read back.
    New(Content),
    /// No order was recorded.
    Rejected(OrderRejectReason),
}

/// What an order says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) customer_id: CustomerId,
    pub(crate) total: i64,
    pub(crate) currency: String,
    pub(crate) payment_authorization_id: AuthorizationId,
    pub(crate) items: Vec<OrderLine>,
}

/// A cancellation that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cancellation {
    pub(crate) command_id: CommandId,
    pub(crate) reason: CancelReason,
    pub(crate) at: Timestamp,
}

impl Order {
    /// Whether an order was recorded, and perhaps cancelled since.
    pub(crate) fn was_recorded(&self) -> bool {
        let answer = self.creation.as_ref().map(|creation| &creation.answer);
        matches!(answer, Some(Answer::Recorded | Answer::New(_)))
    }

    /// What a new order says; nothing where it was recorded before this batch.
    pub(crate) fn content(&self) -> Option<&Content> {
        match &self.creation.as_ref()?.answer {
            Answer::New(content) => Some(content),
            Answer::Recorded | Answer::Rejected(_) => None,
        }
    }

    /// The name of the state in the table.
    pub(crate) fn state(&self) -> &'static str {
        if self.cancellation.is_some() {
            "CANCELLED"
        } else if self.was_recorded() {
            "RECORDED"
        } else {
            "REJECTED"
        }
    }
}
