//! Commands and replies of the order service, and what the orchestrator publishes and consumes.

use jiff::Timestamp;

use crate::{
    datum::{enums, records},
    ids::{
        AuthorizationId, CartId, CheckoutId, CommandId, CustomerId, EventId, OperationId, OrderId,
    },
};

records! {
    /// Command: record the order of a checkout. This is the pivot: once recorded, the
    /// checkout has succeeded.
    pub struct CreateOrder: command {
        /// Identity of the command; the same however often it is sent, so that a repeat is
        /// recognised.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The customer who owns the cart.
        pub customer_id: CustomerId,
        /// The lines of the order; at least one.
        pub items: Vec<OrderLine>,
        /// What the customer pays, in minor units of the currency.
        pub total: i64,
        /// ISO 4217 code of the currency, three capital letters.
        pub currency: String,
        /// The authorization that holds the money for this order.
        pub payment_authorization_id: AuthorizationId,
    }

    /// Command: see to it that no order of this checkout stands. Sent also when it is not
    /// known whether one was recorded; a later order is then refused.
    pub struct CancelOrder: command {
        /// Identity of the command; the same however often it is sent, so that a repeat is
        /// recognised.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The order to cancel, where it is known; the checkout identifies it in any case.
        pub order_id: Option<OrderId>,
        /// Why an order is cancelled.
        pub reason: CancelReason,
    }

    /// Reply: the order stands in the order database.
    pub struct OrderRecorded: reply at recorded_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The order that was recorded.
        pub order_id: OrderId,
        /// When the order was recorded.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub recorded_at: Timestamp,
    }

    /// Reply: no order of this checkout was recorded.
    pub struct OrderRejected: reply at rejected_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// Why no order was recorded.
        pub reason: OrderRejectReason,
        /// When the order was refused.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub rejected_at: Timestamp,
    }

    /// Reply: no order of this checkout stands, and a later one will be refused.
    pub struct OrderCancelled: reply at cancelled_at {
        /// The command that this record answers.
        pub command_id: CommandId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The order that was cancelled; absent when there was none.
        pub order_id: Option<OrderId>,
        /// When the order was cancelled.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub cancelled_at: Timestamp,
    }

    /// Event for downstream systems: a checkout succeeded; stock is reserved, payment is
    /// authorized and the order is recorded. Published once per order.
    pub struct OrderCreated: event at created_at {
        /// Identity of this event; a repeated delivery carries the same one.
        pub event_id: EventId,
        /// The order.
        pub order_id: OrderId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The customer who ordered.
        pub customer_id: CustomerId,
        /// What the customer pays, in minor units of the currency.
        pub total: i64,
        /// ISO 4217 code of the currency, three capital letters.
        pub currency: String,
        /// State of an order at the time of the event.
        pub status: OrderStatus,
        /// The lines of the order; at least one.
        pub items: Vec<OrderCreatedItem>,
        /// When the order was recorded.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub created_at: Timestamp,
    }

    /// Event for the cart service and downstream systems: a checkout ended without an order.
    /// Published when nothing is held for it any more.
    pub struct CheckoutFailed: event at failed_at {
        /// Identity of this event; a repeated delivery carries the same one.
        pub event_id: EventId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The customer who owns the cart.
        pub customer_id: CustomerId,
        /// Why a checkout failed, in terms a customer may be shown.
        pub reason: FailureReason,
        /// The reason in words, for people; may be empty.
        pub detail: String,
        /// The products that were missing; empty when stock was not the reason.
        pub unavailable_items: Vec<FailedItem>,
        /// When the checkout ended.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub failed_at: Timestamp,
    }

    /// Event for the cart service: a checkout request was turned away, and the cart's
    /// checkout or order is as it was.
    pub struct CheckoutRejected: event at rejected_at {
        /// Identity of this event; a repeated delivery carries the same one.
        pub event_id: EventId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The customer who owns the cart.
        pub customer_id: CustomerId,
        /// Why a checkout request was turned away without touching the cart's checkout.
        pub reason: RejectionReason,
        /// The checkout of this cart that stands in the way.
        pub current_checkout_id: CheckoutId,
        /// The reason in words, for people; may be empty.
        pub detail: String,
        /// When the request was turned away.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub rejected_at: Timestamp,
    }

    /// State of a saga, published when it leaves the straight path and when it ends after
    /// that. The topic is compacted: the newest record of a cart is what holds.
    pub struct SagaSnapshot: event at at {
        /// Identity of this event; a repeated delivery carries the same one.
        pub event_id: EventId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// Where a saga stands.
        pub state: SagaState,
        /// The step in hand, by its name in the flow; absent when none is.
        pub step: Option<String>,
        /// How often the pending command was sent.
        pub tries: i32,
        /// Why the saga left the straight path, in words.
        pub reason: Option<String>,
        /// When the saga acts next if nothing arrives; absent when it waits for nothing.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::optional")]
        pub due_at: Option<Timestamp>,
        /// When this state was entered.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub at: Timestamp,
    }

    /// Alert: a compensation of this saga was sent many times without an answer. It is sent on
    /// without end, and an operator should look. Published once each time that a saga becomes
    /// stuck; the newest SagaSnapshot of the cart says whether it still is.
    pub struct SagaStuck: event at at {
        /// Identity of this event; a repeated delivery carries the same one.
        pub event_id: EventId,
        /// The checkout (one saga) this belongs to; equal to the eventId of the
        /// CartCheckedOut that began it.
        pub checkout_id: CheckoutId,
        /// The cart being checked out; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The step that is not undone, by its name in the flow.
        pub step: String,
        /// Who does not answer: the owner of the step.
        pub participant: String,
        /// The command that is not answered, by the full name of its record.
        pub command: String,
        /// How often it was sent.
        pub tries: i32,
        /// When it was first sent.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub first_sent_at: Timestamp,
        /// Why the checkout is undone, in words; may be empty.
        pub reason: String,
        /// What an operator can do, in words.
        pub advice: String,
        /// When the saga became stuck.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub at: Timestamp,
    }

    /// An operator's input to one saga. Consumed by the orchestrator, kept as a record of who
    /// did what and why.
    pub struct SagaOperation {
        /// Identity of the operation; a repeat with the same one changes nothing.
        pub operation_id: OperationId,
        /// The cart whose saga is meant; also the key of the Kafka record.
        pub cart_id: CartId,
        /// The checkout that is meant; the cart's present one when absent. A safeguard
        /// against acting on a newer attempt.
        pub checkout_id: Option<CheckoutId>,
        /// What the operator wants done.
        pub action: OperationAction,
        /// The step that is resolved, by its name in the flow; needed for RESOLVE.
        pub step: Option<String>,
        /// What proves that the step is done, for example the participant's own record;
        /// needed for RESOLVE.
        pub evidence: Option<String>,
        /// Who acts: an account or role name, not a person's private data.
        pub operator: String,
        /// Why, in words.
        pub reason: String,
        /// When the operator asked for it.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        pub requested_at: Timestamp,
    }

    /// One line of the order.
    pub struct OrderLine {
        /// The shop's stock keeping unit, 1 to 64 characters.
        pub product_id: String,
        /// Number of pieces, at least 1.
        pub quantity: i32,
        /// Price of one piece in minor units of the order's currency.
        pub unit_price: i64,
    }

    /// One line of the order, as downstream systems see it.
    pub struct OrderCreatedItem {
        /// The shop's stock keeping unit, 1 to 64 characters.
        pub sku: String,
        /// Number of pieces, at least 1.
        pub quantity: i32,
        /// Price of one piece in minor units of the order's currency.
        pub unit_price: i64,
    }

    /// One product that was missing.
    pub struct FailedItem {
        /// The shop's stock keeping unit, 1 to 64 characters.
        pub product_id: String,
        /// Number of pieces in the cart.
        pub requested: i32,
        /// Number of free pieces when the stock was checked.
        pub available: i64,
    }
}

enums! {
    /// Why an order is cancelled.
    pub enum CancelReason {
        /// The customer asked for it.
        CustomerRequested => "CUSTOMER_REQUESTED",
        /// The money could not be had.
        PaymentFailed => "PAYMENT_FAILED",
        /// The goods could not be had.
        OutOfStock => "OUT_OF_STOCK",
        /// The order was found to be fraudulent.
        Fraud => "FRAUD",
        /// The checkout the order belongs to is being undone.
        CheckoutFailed => "CHECKOUT_FAILED",
        /// A reason newer than this reader.
        Unknown => "UNKNOWN",
    }

    /// Why no order was recorded.
    pub enum OrderRejectReason {
        /// The cart has an order from another checkout.
        AlreadyOrdered => "ALREADY_ORDERED",
        /// A cancellation for this checkout came first, so the late order is refused.
        Cancelled => "CANCELLED",
        /// The order's content makes no sense.
        Invalid => "INVALID",
        /// A reason newer than this reader.
        Unknown => "UNKNOWN",
    }

    /// State of an order at the time of the event.
    pub enum OrderStatus {
        /// Recorded, with stock reserved and payment authorized.
        Created => "CREATED",
        /// A state newer than this reader.
        Unknown => "UNKNOWN",
    }

    /// Why a checkout failed, in terms a customer may be shown.
    pub enum FailureReason {
        /// Stock was missing for at least one item.
        OutOfStock => "OUT_OF_STOCK",
        /// The payment was refused.
        PaymentDeclined => "PAYMENT_DECLINED",
        /// The order service refused the order.
        OrderRejected => "ORDER_REJECTED",
        /// The cart itself makes no sense, see the detail.
        InvalidCart => "INVALID_CART",
        /// A participant did not answer in time.
        TimedOut => "TIMED_OUT",
        /// The stock reservation ran out before the order was recorded.
        ReservationExpired => "RESERVATION_EXPIRED",
        /// An operator ended the checkout.
        CancelledByOperator => "CANCELLED_BY_OPERATOR",
        /// A reason newer than this reader.
        Unknown => "UNKNOWN",
    }

    /// Why a checkout request was turned away without touching the cart's checkout.
    pub enum RejectionReason {
        /// An earlier checkout of this cart has not ended yet.
        CheckoutInProgress => "CHECKOUT_IN_PROGRESS",
        /// The cart already became an order.
        AlreadyOrdered => "ALREADY_ORDERED",
        /// The cart failed as often as the limit allows.
        TooManyAttempts => "TOO_MANY_ATTEMPTS",
        /// A reason newer than this reader.
        Unknown => "UNKNOWN",
    }

    /// Where a saga stands.
    pub enum SagaState {
        /// Going forward, step by step.
        InProgress => "IN_PROGRESS",
        /// A step did not answer; whether it took effect is not known yet.
        InDoubt => "IN_DOUBT",
        /// Going backward, undoing the steps in reverse order.
        Compensating => "COMPENSATING",
        /// A compensation was tried many times without an answer; still trying, and an operator should look.
        Stuck => "STUCK",
        /// Ended with an order.
        Completed => "COMPLETED",
        /// Ended without an order and with nothing held.
        Failed => "FAILED",
        /// Ended by an operator's decision, with what is left described in the reason.
        Abandoned => "ABANDONED",
        /// A state newer than this reader.
        Unknown => "UNKNOWN",
    }

    /// What the operator wants done.
    pub enum OperationAction {
        /// Send the pending command again at once.
        Retry => "RETRY",
        /// Stop going forward and undo what was done.
        Compensate => "COMPENSATE",
        /// Take a step as done on the strength of the evidence given.
        Resolve => "RESOLVE",
        /// Stop driving the saga; what it holds is left to people.
        Abandon => "ABANDON",
        /// An action newer than this reader.
        Unknown => "UNKNOWN",
    }
}
