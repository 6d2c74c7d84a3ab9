//! What the cart service publishes.

use jiff::Timestamp;

use crate::{
    datum::records,
    ids::{CartId, CustomerId, EventId},
};

records! {
    /// A customer confirmed a cart and wants it ordered. Published by the cart service;
    /// begins one checkout.
    pub struct CartCheckedOut {
        /// Identity of this event, chosen by the cart service; becomes the checkoutId.
        /// Publishing again with the same one changes nothing.
        pub event_id: EventId,
        /// When the customer confirmed the cart.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub occurred_at: Timestamp,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The customer who owns the cart.
        pub customer_id: CustomerId,
        /// What is in the cart; at least one item.
        pub items: Vec<CartItem>,
        /// Sum of unitPrice × quantity over all items, in minor units; checked when given.
        pub subtotal: Option<i64>,
        /// What is taken off the subtotal, in minor units, not negative; none when absent.
        pub discount: Option<i64>,
        /// What the customer pays, in minor units: the sum over the items less the discount.
        pub total: i64,
        /// ISO 4217 code of the currency, three capital letters.
        pub currency: String,
    }

    /// One product in the cart.
    pub struct CartItem {
        /// The shop's stock keeping unit, 1 to 64 characters.
        pub product_id: String,
        /// Number of pieces, at least 1.
        pub quantity: i32,
        /// Price of one piece in minor units of the cart's currency, not negative.
        pub unit_price: i64,
    }
}
