//! What a payment gateway is asked and what it may answer.
//!
//! A gateway is asked outside any database transaction, and as often as it takes:
//! each request carries the id of the command it serves as its idempotency key,
//! and a gateway that is asked again with a key it knows answers as before and
//! holds nothing twice. So whoever is in doubt, after a time-out or a crash, asks
//! again.

pub mod simulated;
pub mod stripe;

use std::fmt;

use contracts::ids::{CartId, CheckoutId, CommandId, CustomerId};
use contracts::messages::DeclineReason;
use futures::future::BoxFuture;

/// Holds money, and gives it up again.
pub trait Gateway: Send + Sync + 'static {
    /// Its name, for logs and metrics.
    fn name(&self) -> &'static str;

    /// Holds an amount without taking it.
    ///
    /// # Errors
    /// No final answer; money may be held or not. Ask again with the same key.
    fn authorize<'a>(
        &'a self,
        request: &'a AuthorizeRequest,
    ) -> BoxFuture<'a, Result<Hold, Unsettled>>;

    /// Gives a hold up; one that was given up before is a success.
    ///
    /// # Errors
    /// No final answer; money may still be held. Ask again with the same key.
    fn void<'a>(&'a self, request: &'a VoidRequest) -> BoxFuture<'a, Result<(), Unsettled>>;
}

/// A request to hold money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// The command it serves: the idempotency key.
    pub key: CommandId,
    /// The checkout it is for.
    pub checkout_id: CheckoutId,
    /// The cart of the checkout.
    pub cart_id: CartId,
    /// Who pays, where that is known.
    pub customer_id: Option<CustomerId>,
    /// What to hold, in minor units of the currency; greater than 0.
    pub amount: i64,
    /// ISO 4217 code, three capital letters.
    pub currency: String,
    /// How often it was asked, this time included; from 1.
    pub attempt: i32,
}

/// A request to give a hold up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoidRequest {
    /// The command it serves: the idempotency key.
    pub key: CommandId,
    /// The checkout it is for.
    pub checkout_id: CheckoutId,
    /// The cart of the checkout.
    pub cart_id: CartId,
    /// The hold, as the gateway named it.
    pub reference: String,
    /// How often it was asked, this time included; from 1.
    pub attempt: i32,
}

/// The final answer to a request to hold money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The money is held.
    Placed {
        /// The gateway's name for the hold; a void needs it.
        reference: String,
    },
    /// No money is held, and none will be for this key.
    Refused {
        /// Why.
        reason: DeclineReason,
    },
}

/// There is no final answer: ask again later, with the same key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {detail}")]
pub struct Unsettled {
    /// What kind of trouble it was.
    pub cause: Cause,
    /// What happened and, where an operator is needed, what to do.
    pub detail: String,
}

impl Unsettled {
    /// Trouble of a kind, with its detail.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            detail: detail.into(),
        }
    }
}

/// Why a gateway gave no final answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It did not answer in time.
    TimedOut,
    /// It could not be reached, or the connection broke.
    Unreachable,
    /// It has too much to do, or is busy with the same key.
    Busy,
    /// It broke down on the request.
    Failed,
    /// It answered something that cannot be understood, or that leaves open
    /// whether money is held.
    Unclear,
    /// It refuses this service, not this payment: an operator has to mend the
    /// configuration, or the account.
    Misconfigured,
}

impl Cause {
    /// The cause as a metric's label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::Unclear => "unclear",
            Self::Misconfigured => "misconfigured",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
