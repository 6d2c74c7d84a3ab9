//! Commands, replies and events of the inventory service.

use jiff::Timestamp;

use crate::{
    datum::{enums, records},
    ids::{CartId, CheckoutId, CommandId, CustomerId, EventId, ReservationId},
};

records! {
    /// Command: hold stock for every item of a checkout, or for none.
    pub struct ReserveInventory: command {
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
        /// What to hold; at least one item.
        pub items: Vec<ReservationItem>,
    }

    /// Command: give back the stock held for a checkout. Sent also when it is not known
    /// whether stock is held; a later reserve is then refused.
    pub struct ReleaseInventory: command {
        /// Identity of the command; the same however often it is sent, so that a repeat is
        /// recognised.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The reservation to release, where it is known; the checkout identifies it in any
        /// case.
        pub reservation_id: Option<ReservationId>,
        /// Why held stock is given back.
        pub reason: ReleaseReason,
    }

    /// Command: set the stock on hand of one product, whatever it was before. The key of the
    /// Kafka record is the product id.
    pub struct SetStock {
        /// Identity of the command; the same however often it is sent, so that a repeat is
        /// recognised.
        pub command_id: CommandId,
        /// The shop's stock keeping unit, 1 to 64 characters.
        pub product_id: String,
        /// Number of pieces that exist, reserved ones included; not negative.
        pub on_hand: i64,
    }

    /// Reply: stock is held for every item of the checkout.
    pub struct InventoryReserved: reply at reserved_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The reservation that holds the stock.
        pub reservation_id: ReservationId,
        /// What is held.
        pub items: Vec<ReservationItem>,
        /// When the stock was reserved.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub reserved_at: Timestamp,
        /// Until when the stock is promised; without end when absent.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::optional")]
        pub expires_at: Option<Timestamp>,
    }

    /// Reply: nothing is held for the checkout.
    pub struct InventoryUnavailable: reply at checked_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// Why no stock was reserved.
        pub reason: UnavailableReason,
        /// The products that were missing; empty when stock was not the reason.
        pub unavailable_items: Vec<UnavailableItem>,
        /// When the stock was checked.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub checked_at: Timestamp,
    }

    /// Reply: nothing is held for the checkout any more, and a later reserve will be refused.
    pub struct InventoryReleased: reply at released_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The reservation that was released; absent when there was none.
        pub reservation_id: Option<ReservationId>,
        /// Why held stock is given back.
        pub reason: ReleaseReason,
        /// What was given back; empty when nothing was held.
        pub items: Vec<ReservationItem>,
        /// When the stock was given back.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub released_at: Timestamp,
    }

    /// Event: the time promised for a reservation is over. The stock stays held until it is
    /// released, so the saga decides what follows.
    pub struct ReservationExpired: event at expired_at {
        /// Identity of this event; a repeated delivery carries the same one.
        pub event_id: EventId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The reservation whose time is over.
        pub reservation_id: ReservationId,
        /// When the time ran out.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub expired_at: Timestamp,
    }

    /// Reply: the stock on hand of one product was set. The key of the Kafka record is the
    /// product id.
    pub struct StockSet {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The shop's stock keeping unit, 1 to 64 characters.
        pub product_id: String,
        /// Number of pieces that exist, reserved ones included.
        pub on_hand: i64,
        /// Number of pieces held by live reservations.
        pub reserved: i64,
        /// When the stock was set.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub set_at: Timestamp,
    }

    /// One product and the number of pieces held of it.
    pub struct ReservationItem {
        /// The shop's stock keeping unit, 1 to 64 characters.
        pub product_id: String,
        /// Number of pieces, at least 1.
        pub quantity: i32,
    }

    /// One product that could not be reserved.
    pub struct UnavailableItem {
        /// The shop's stock keeping unit, 1 to 64 characters.
        pub product_id: String,
        /// Number of pieces asked for.
        pub requested: i32,
        /// Number of free pieces when the stock was checked.
        pub available: i64,
    }
}

enums! {
    /// Why held stock is given back.
    pub enum ReleaseReason {
        /// The checkout ended without an order.
        CheckoutFailed => "CHECKOUT_FAILED",
        /// The order the stock was held for was cancelled.
        OrderCancelled => "ORDER_CANCELLED",
        /// The reservation outlived its time and the saga gave it up.
        Expired => "EXPIRED",
        /// A reason newer than this reader.
        Unknown => "UNKNOWN",
    }

    /// Why no stock was reserved.
    pub enum UnavailableReason {
        /// At least one product has less free stock than was asked for.
        OutOfStock => "OUT_OF_STOCK",
        /// A release for this checkout came first, so the late reserve is refused.
        Released => "RELEASED",
        /// A reason newer than this reader.
        Unknown => "UNKNOWN",
    }
}
