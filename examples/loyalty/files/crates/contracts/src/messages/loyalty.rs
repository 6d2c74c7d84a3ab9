//! Commands and replies of the loyalty service.

use jiff::Timestamp;

use crate::{
    datum::{enums, records},
    ids::{CartId, CheckoutId, CommandId, CustomerId, kinds},
};

kinds! {
    /// Points credited for a checkout.
    AwardId = AwardKind, "award";
}

records! {
    /// Command: credit the customer with the points that a checkout earns.
    pub struct AwardPoints: command {
        /// Identity of the command; the same however often it is sent, so that a repeat is
        /// recognised.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The customer who earns the points.
        pub customer_id: CustomerId,
        /// What the customer pays, in minor units of the currency.
        pub amount: i64,
        /// ISO 4217 code of the currency, three capital letters.
        pub currency: String,
    }

    /// Command: take back the points of a checkout. Sent also when it is not known whether any
    /// were awarded; a later award is then refused.
    pub struct RevokePoints: command {
        /// Identity of the command; the same however often it is sent, so that a repeat is
        /// recognised.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The award to revoke, where it is known; the checkout identifies it in any case.
        pub award_id: Option<AwardId>,
    }

    /// Reply: the customer has the points.
    pub struct PointsAwarded: reply at awarded_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The award of the points.
        pub award_id: AwardId,
        /// Number of points, 0 or more.
        pub points: i64,
        /// When the points were credited.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub awarded_at: Timestamp,
    }

    /// Reply: no points are awarded for the checkout.
    pub struct PointsRefused: reply at refused_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// Why no points are awarded.
        pub reason: PointsRefusedReason,
        /// When the award was refused.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub refused_at: Timestamp,
    }

    /// Reply: no points of the checkout stand, and a later award will be refused.
    pub struct PointsRevoked: reply at revoked_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The award that was revoked; absent when there was none.
        pub award_id: Option<AwardId>,
        /// When the points were taken back.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub revoked_at: Timestamp,
    }
}

enums! {
    /// Why no points are awarded.
    pub enum PointsRefusedReason {
        /// The order is worth more points than one order may earn.
        TooMany => "TOO_MANY",
        /// A revocation for this checkout came first, so the late award is refused.
        Revoked => "REVOKED",
        /// A reason newer than this reader.
        Unknown => "UNKNOWN",
    }
}

/// The award of the points of a checkout.
pub fn award_id(checkout: CheckoutId) -> AwardId {
    use crate::ids::{GenericUuid, derive};
    derive(checkout.into_untyped_uuid(), "award")
}
