//! Commands and replies of the payment service.

use jiff::Timestamp;

use crate::{
    datum::{enums, records},
    ids::{AuthorizationId, CartId, CheckoutId, CommandId, CustomerId},
};

records! {
    /// Command: hold an amount of the customer's money for a checkout, without taking it.
    pub struct AuthorizePayment: command {
        /// Identity of the command; the same however often it is sent, so that a repeat is
        /// recognised.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The customer who owns the cart, where the participant may know it.
        pub customer_id: Option<CustomerId>,
        /// What to hold, in minor units of the currency.
        pub amount: i64,
        /// ISO 4217 code of the currency, three capital letters.
        pub currency: String,
    }

    /// Command: give up the hold made for a checkout. Sent also when it is not known whether
    /// money is held; a later authorization is then refused.
    pub struct VoidAuthorization: command {
        /// Identity of the command; the same however often it is sent, so that a repeat is
        /// recognised.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The authorization to void, where it is known; the checkout identifies it in any
        /// case.
        pub authorization_id: Option<AuthorizationId>,
        /// Why an authorization is voided.
        pub reason: VoidReason,
    }

    /// Reply: the amount is held.
    pub struct PaymentAuthorized: reply at authorized_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The authorization that holds the money.
        pub authorization_id: AuthorizationId,
        /// What is held, in minor units of the currency.
        pub amount: i64,
        /// ISO 4217 code of the currency, three capital letters.
        pub currency: String,
        /// When the hold was made.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub authorized_at: Timestamp,
    }

    /// Reply: no money is held for the checkout.
    pub struct PaymentDeclined: reply at declined_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// Why no money is held.
        pub reason: DeclineReason,
        /// When the payment was declined.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub declined_at: Timestamp,
    }

    /// Reply: no money is held for the checkout any more, and a later authorization will be
    /// refused.
    pub struct AuthorizationVoided: reply at voided_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The authorization that was voided; absent when there was none.
        pub authorization_id: Option<AuthorizationId>,
        /// When the hold was given up.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub voided_at: Timestamp,
    }
}

enums! {
    /// Why an authorization is voided.
    pub enum VoidReason {
        /// The checkout ended without an order.
        CheckoutFailed => "CHECKOUT_FAILED",
        /// A reason newer than this reader.
        Unknown => "UNKNOWN",
    }

    /// Why no money is held.
    pub enum DeclineReason {
        /// The card's issuer refused without a more exact reason.
        CardDeclined => "CARD_DECLINED",
        /// The account does not cover the amount.
        InsufficientFunds => "INSUFFICIENT_FUNDS",
        /// The card is past its date.
        ExpiredCard => "EXPIRED_CARD",
        /// The gateway or the issuer could not process the request.
        ProcessingError => "PROCESSING_ERROR",
        /// A void for this checkout came first, so the late authorization is refused.
        Voided => "VOIDED",
        /// A reason newer than this reader.
        Unknown => "UNKNOWN",
    }
}
