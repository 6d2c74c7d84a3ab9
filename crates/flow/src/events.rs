//! What the saga itself publishes: how a checkout ended, and snapshots.

use contracts::{
    Message, RecordType, ids,
    messages::{
        CartCheckedOut, CheckoutFailed, CheckoutRejected, FailedItem, FailureReason, OrderCreated,
        OrderCreatedItem, OrderStatus, RejectionReason, SagaSnapshot, SagaState,
    },
};
use jiff::Timestamp;

use crate::{
    saga::{Saga, State},
    text::clean,
};

/// The order is announced; `None` where the saga does not know the order.
pub(crate) fn order_created(saga: &Saga, now: Timestamp) -> Option<Message> {
    let event = OrderCreated {
        event_id: ids::event_id(saga.progress.checkout_id, RecordType::OrderCreated),
        order_id: saga.order_id()?,
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        customer_id: saga.cart.customer_id,
        total: saga.cart.total,
        currency: saga.cart.currency.clone(),
        status: OrderStatus::Created,
        items: saga
            .cart
            .items
            .iter()
            .map(|line| OrderCreatedItem {
                sku: line.product_id.clone(),
                quantity: line.quantity,
                unit_price: line.unit_price,
            })
            .collect(),
        created_at: now,
    };
    Some(event.into())
}

/// The checkout ended without an order.
pub(crate) fn checkout_failed(saga: &Saga, now: Timestamp) -> Message {
    let failure = saga.progress.failure.as_ref();
    CheckoutFailed {
        event_id: ids::event_id(saga.progress.checkout_id, RecordType::CheckoutFailed),
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        customer_id: saga.cart.customer_id,
        reason: failure.map_or(FailureReason::Unknown, |failure| failure.reason),
        detail: failure
            .map(|failure| failure.detail.clone())
            .unwrap_or_default(),
        unavailable_items: failure
            .map(|failure| failure.missing.as_slice())
            .unwrap_or_default()
            .iter()
            .map(|item| FailedItem {
                product_id: item.product_id.clone(),
                requested: item.requested,
                available: item.available,
            })
            .collect(),
        failed_at: now,
    }
    .into()
}

/// A request for a checkout was turned away; the current one goes on.
pub(crate) fn checkout_rejected(
    saga: &Saga,
    request: &CartCheckedOut,
    reason: RejectionReason,
    detail: String,
    now: Timestamp,
) -> Message {
    let rejected = ids::checkout_id(request.event_id);
    CheckoutRejected {
        event_id: ids::event_id(rejected, RecordType::CheckoutRejected),
        checkout_id: rejected,
        cart_id: saga.cart_id,
        customer_id: request.customer_id,
        reason,
        current_checkout_id: saga.progress.checkout_id,
        detail,
        rejected_at: now,
    }
    .into()
}

/// Where the saga stands, for operators. `saga.progress.snapshots` numbers it.
pub(crate) fn snapshot(saga: &Saga, now: Timestamp) -> Message {
    let progress = &saga.progress;
    let waiting = progress.state.waiting();
    SagaSnapshot {
        event_id: ids::snapshot_id(progress.checkout_id, progress.snapshots),
        checkout_id: progress.checkout_id,
        cart_id: saga.cart_id,
        state: progress.state.kind(),
        step: progress.state.step().map(|step| step.name().to_owned()),
        tries: waiting.map_or(0, |waiting| {
            i32::try_from(waiting.tries).unwrap_or(i32::MAX)
        }),
        reason: reason(saga),
        due_at: waiting.map(|waiting| waiting.due_at),
        at: now,
    }
    .into()
}

/// Why the saga is where it is: the failure, and what an operator did about it.
fn reason(saga: &Saga) -> Option<String> {
    let failure = saga
        .progress
        .failure
        .as_ref()
        .map(|failure| format!("{}: {}", failure.reason, failure.detail));
    let stuck = matches!(saga.progress.state, State::Stuck(_))
        .then(|| format!("{}: the compensation is not answered", SagaState::Stuck));
    let parts = [failure, stuck, saga.progress.operator_note.clone()];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| clean(&parts.join("; ")))
}
