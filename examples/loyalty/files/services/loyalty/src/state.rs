//! The rows that one batch has read and changes.

use contracts::ids::{CartId, CheckoutId, CommandId, CustomerId};
use contracts::messages::PointsRefusedReason;
use jiff::Timestamp;
use service::Rows;

/// What is known of the checkouts that a batch is about.
pub(crate) type State = Rows<CheckoutId, Award>;

/// What the loyalty service has heard of one checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Award {
    pub(crate) cart_id: CartId,
    /// How the award was answered, once it came and was not too late.
    pub(crate) decision: Option<Decision>,
    /// The revocation, once it came.
    pub(crate) revocation: Option<Revocation>,
}

/// An award that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) command_id: CommandId,
    pub(crate) customer_id: CustomerId,
    pub(crate) at: Timestamp,
    /// The points, or why there are none.
    pub(crate) points: Result<i64, PointsRefusedReason>,
}

/// A revocation that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revocation {
    pub(crate) command_id: CommandId,
    pub(crate) at: Timestamp,
}

impl Award {
    /// Whether points were awarded, and perhaps revoked since.
    pub(crate) fn was_awarded(&self) -> bool {
        self.decision
            .is_some_and(|decision| decision.points.is_ok())
    }

    /// The name of the state in the table.
    pub(crate) fn state(&self) -> &'static str {
        if self.revocation.is_some() {
            "REVOKED"
        } else if self.was_awarded() {
            "AWARDED"
        } else {
            "REFUSED"
        }
    }
}
