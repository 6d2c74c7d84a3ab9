//! What the saga itself publishes: how a checkout ended, and snapshots.

use contracts::{
    Message, RecordType, ids,
    messages::{
        CartCheckedOut, CheckoutFailed, CheckoutRejected, FailedItem, FailureReason, OrderCreated,
        OrderCreatedItem, OrderStatus, RejectionReason, SagaSnapshot, SagaState, SagaStuck,
    },
};
use jiff::Timestamp;

use crate::{
    saga::{Saga, State, Waiting},
    step::Step,
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

/// A compensation goes unanswered: somebody should look. `saga.progress.snapshots`
/// numbers it, as it does the snapshot that shows it.
pub(crate) fn stuck(saga: &Saga, waiting: Waiting, now: Timestamp) -> Message {
    let definition = waiting.step.definition();
    let (step, participant) = (definition.step, definition.owner);
    let command = definition.compensation.record.full_name();
    SagaStuck {
        event_id: ids::stuck_id(saga.progress.checkout_id, saga.progress.snapshots),
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        step: step.name().to_owned(),
        participant: participant.to_owned(),
        command: command.to_owned(),
        tries: i32::try_from(waiting.tries).unwrap_or(i32::MAX),
        first_sent_at: waiting.since,
        reason: reason(saga).unwrap_or_default(),
        advice: advice(saga, step, participant),
        at: now,
    }
    .into()
}

/// What an operator can do about a saga that is stuck at a step.
fn advice(saga: &Saga, step: Step, participant: &str) -> String {
    format!(
        "See whether {participant} runs, reads its commands and answers: its log, its consumer \
         lag, its dead letters. The command is sent on without end, and once it is answered the \
         saga goes on by itself. Otherwise publish a SagaOperation for cart {} on \
         ordering.operations: RETRY asks at once; RESOLVE with step {step} and evidence takes \
         it for undone, once you have seen that nothing is held; ABANDON ends the saga and \
         leaves what is held to you.",
        saga.cart_id
    )
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
