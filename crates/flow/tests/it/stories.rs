//! The saga, told as stories: what happens, and what is sent on it.

use crate::story::*;
use contracts::{
    Message,
    RecordType::*,
    ids::{self, CommandId, GenericUuid},
    messages::{FailureReason, OperationAction, RejectionReason, ReleaseReason, SagaState},
};
use flow::{Ignored, Outcome, Rules, Step};
use uuid::Uuid;

pub(crate) const NOTHING: [&str; 0] = [];

pub(crate) fn ordered() -> Story {
    let mut story = Story::new();
    story.checked_out(1);
    story.until(Step::CreateOrder);
    story.answered(OrderRecorded);
    story
}

/// A story whose order step has been silent for all its tries.
pub(crate) fn in_doubt_about_the_order() -> Story {
    let mut story = Story::new();
    story.checked_out(1);
    story.until(Step::CreateOrder);
    for _ in 1..Step::CreateOrder.definition().retry.tries {
        assert_eq!(story.silence(), ["CreateOrder"]);
    }
    story.silence();
    story
}

fn failed() -> Story {
    let mut story = Story::new();
    story.checked_out(1);
    story.answered(InventoryUnavailable);
    story
}

#[test]
fn a_fine_cart_becomes_an_order_and_publishes_no_snapshot() {
    let mut story = Story::new();
    assert_eq!(story.checked_out(1), ["ReserveInventory"]);
    assert_eq!(story.saga().customer_status().status, "RESERVING_ITEMS");
    assert_eq!(story.answered(InventoryReserved), ["AuthorizePayment"]);
    assert_eq!(story.until(Step::CreateOrder), ["CreateOrder"]);
    assert_eq!(story.answered(OrderRecorded), ["OrderCreated"]);
    assert_eq!(story.kind(), SagaState::Completed);
    let status = story.saga().customer_status();
    assert_eq!((status.status, status.ended), ("ORDERED", true));
    assert_eq!(status.order_id, Some(ids::order_id(checkout(1))));
    assert_eq!(story.saga().due_at(), None);
}

#[test]
fn commands_carry_what_the_cart_and_the_earlier_replies_said() {
    let mut story = Story::new();
    story.checked_out(1);
    let Message::ReserveInventory(reserve) = &story.sent[0] else {
        panic!("{:?}", story.sent)
    };
    let items: Vec<_> = reserve
        .items
        .iter()
        .map(|item| (item.product_id.as_str(), item.quantity))
        .collect();
    assert_eq!(
        items,
        [("cup", 1), ("tea", 3)],
        "one line a product, in product order"
    );
    story.answered(InventoryReserved);
    let Message::AuthorizePayment(pay) = &story.sent[0] else {
        panic!("{:?}", story.sent)
    };
    assert_eq!((pay.amount, pay.currency.as_str()), (2_000, "EUR"));
    story.until(Step::CreateOrder);
    let Message::CreateOrder(create) = &story.sent[0] else {
        panic!("{:?}", story.sent)
    };
    assert_eq!(create.items.len(), 3, "the order keeps the cart's lines");
    assert_eq!(
        create.payment_authorization_id,
        ids::authorization_id(checkout(1))
    );
    story.answered(OrderRecorded);
    let Message::OrderCreated(created) = &story.sent[0] else {
        panic!("{:?}", story.sent)
    };
    assert_eq!(created.event_id, ids::event_id(checkout(1), OrderCreated));
    assert_eq!((created.total, created.items.len()), (2_000, 3));
}

#[test]
fn a_refusal_of_the_first_step_fails_at_once_and_names_what_is_missing() {
    let mut story = Story::new();
    story.checked_out(1);
    assert_eq!(story.answered(InventoryUnavailable), ["CheckoutFailed"]);
    let Message::CheckoutFailed(failed) = &story.sent[0] else {
        panic!("{:?}", story.sent)
    };
    assert_eq!(failed.reason, FailureReason::OutOfStock);
    assert_eq!(failed.unavailable_items[0].product_id, "tea");
    assert_eq!(story.saga().customer_status().status, "FAILED");
}

#[test]
fn a_declined_payment_gives_the_stock_back_before_it_fails() {
    let mut story = Story::new();
    story.checked_out(1);
    story.answered(InventoryReserved);
    assert_eq!(
        story.answered(PaymentDeclined),
        ["ReleaseInventory", "SagaSnapshot"]
    );
    assert_eq!(
        story.outcome,
        Outcome::StepRefused(Step::AuthorizePayment, FailureReason::PaymentDeclined)
    );
    let Message::ReleaseInventory(release) = &story.sent[0] else {
        panic!("{:?}", story.sent)
    };
    assert_eq!(
        release.reservation_id,
        Some(ids::reservation_id(checkout(1)))
    );
    assert_eq!(release.reason, ReleaseReason::CheckoutFailed);
    assert_eq!(story.saga().customer_status().status, "RETURNING_ITEMS");
    assert_eq!(
        story.answered(InventoryReleased),
        ["CheckoutFailed", "SagaSnapshot"]
    );
    assert_eq!(story.snapshot().state, SagaState::Failed);
}

#[test]
fn a_rejected_order_undoes_payment_then_stock() {
    let mut story = Story::new();
    story.checked_out(1);
    story.until(Step::CreateOrder);
    story.answered(OrderRejected);
    assert_eq!(
        story.back_to(Step::AuthorizePayment),
        ["VoidAuthorization", "SagaSnapshot"]
    );
    assert_eq!(
        story.answered(AuthorizationVoided),
        ["ReleaseInventory", "SagaSnapshot"]
    );
    assert_eq!(
        story.answered(InventoryReleased),
        ["CheckoutFailed", "SagaSnapshot"]
    );
    assert_eq!(
        story.count(CancelOrder),
        0,
        "what was refused needs no undoing"
    );
}

#[test]
fn silence_repeats_the_same_command_then_doubts_then_undoes_everything() {
    let mut story = in_doubt_about_the_order();
    assert_eq!(names(&story.sent), ["CancelOrder", "SagaSnapshot"]);
    assert_eq!(story.kind(), SagaState::InDoubt);
    let ids: std::collections::BTreeSet<_> = story
        .published
        .iter()
        .filter(|message| message.record_type() == CreateOrder)
        .map(|message| message.command_id())
        .collect();
    assert_eq!(ids.len(), 1, "the same command, however often it is sent");
    assert_eq!(
        story.back_to(Step::AuthorizePayment),
        ["VoidAuthorization", "SagaSnapshot"]
    );
    assert_eq!(
        story.answered(AuthorizationVoided),
        ["ReleaseInventory", "SagaSnapshot"]
    );
    assert_eq!(
        story.answered(InventoryReleased),
        ["CheckoutFailed", "SagaSnapshot"]
    );
    assert_eq!(story.saga().failure_reason(), Some(FailureReason::TimedOut));
}

#[test]
fn nothing_else_is_undone_while_the_fate_of_the_order_is_unknown() {
    let mut story = in_doubt_about_the_order();
    for _ in 0..50 {
        story.silence();
        assert_eq!(story.sent[0].record_type(), CancelOrder);
        assert_eq!(story.answered(AuthorizationVoided), NOTHING);
        assert_eq!(story.answered(InventoryReleased), NOTHING);
        assert_eq!(
            story.answered(OrderRejected),
            NOTHING,
            "its undoing is out; only that counts"
        );
    }
    assert_eq!(
        story.count(VoidAuthorization) + story.count(ReleaseInventory),
        0
    );
}

#[test]
fn a_success_that_comes_too_late_is_undone_by_the_compensation_under_way() {
    let mut story = in_doubt_about_the_order();
    assert_eq!(story.answered(OrderRecorded), NOTHING);
    assert_eq!(story.outcome, Outcome::Ignored(Ignored::LateSuccess));
    assert_eq!(story.silence(), ["CancelOrder"]);
    let Message::CancelOrder(cancel) = &story.sent[0] else {
        panic!("{:?}", story.sent)
    };
    assert_eq!(
        cancel.order_id,
        Some(ids::order_id(checkout(1))),
        "now the order is known"
    );
    assert_eq!(
        story.saga().customer_status().order_id,
        None,
        "no order stands for the customer"
    );
}

#[test]
fn an_unanswered_compensation_is_reported_stuck_once_and_goes_on() {
    let mut story = in_doubt_about_the_order();
    let mut stuck = 0;
    for _ in 0..40 {
        let sent = story.silence();
        stuck += usize::from(sent == ["CancelOrder", "SagaSnapshot", "SagaStuck"]);
        assert_eq!(sent[0], "CancelOrder", "it never gives up");
    }
    assert_eq!(stuck, 1);
    let alert = story.published.iter().find_map(|message| match message {
        Message::SagaStuck(alert) => Some(alert.clone()),
        _ => None,
    });
    let alert = alert.expect("an alert");
    assert_eq!(
        (alert.step.as_str(), alert.command.as_str(), alert.tries),
        ("CREATE_ORDER", "ordering.CancelOrder", 9)
    );
    for word in ["ordering", "RETRY", "RESOLVE", "ABANDON"] {
        assert!(alert.advice.contains(word), "{}", alert.advice);
    }
    assert_eq!(story.snapshot().state, SagaState::Stuck);
    assert_eq!(story.saga().customer_status().status, "DELAYED");
    assert_eq!(story.answered(OrderCancelled)[1], "SagaSnapshot");
    assert_eq!(story.kind(), SagaState::Compensating, "an answer ends it");
}

#[test]
fn replies_that_are_stale_repeated_or_foreign_change_nothing() {
    let mut story = Story::new();
    story.checked_out(1);
    let foreign = CommandId::from_untyped_uuid(Uuid::from_u128(9));
    story.message(answer_to(InventoryReserved, checkout(1), foreign));
    assert_eq!(story.outcome, Outcome::Ignored(Ignored::ForeignCommand));
    story.message(answer(InventoryReserved, checkout(2)));
    assert_eq!(story.outcome, Outcome::Ignored(Ignored::OtherCheckout));
    story.answered(PaymentAuthorized);
    assert_eq!(story.outcome, Outcome::Ignored(Ignored::NotAwaited));
    story.answered(InventoryReleased);
    assert_eq!(story.outcome, Outcome::Ignored(Ignored::NotAwaited));
    story.answered(InventoryReserved);
    assert_eq!(story.answered(InventoryReserved), NOTHING);
    assert_eq!(story.answered(InventoryUnavailable), NOTHING);
    let mut story = ordered();
    assert_eq!(story.answered(OrderRecorded), NOTHING);
    assert_eq!(story.outcome, Outcome::Ignored(Ignored::Ended));
}

#[test]
fn a_reply_for_an_unknown_cart_is_ignored() {
    let mut story = Story::new();
    assert_eq!(story.answered(InventoryReserved), NOTHING);
    assert_eq!(story.outcome, Outcome::Ignored(Ignored::UnknownCart));
    assert_eq!(story.saga, None);
}

#[test]
fn a_deadline_that_has_moved_is_not_acted_upon() {
    let mut story = Story::new();
    story.checked_out(1);
    story.moment();
    assert_eq!(story.happens(&flow::Input::DeadlinePassed), NOTHING);
    assert_eq!(story.outcome, Outcome::Ignored(Ignored::TooEarly));
}

#[test]
fn a_deadline_that_a_wrong_clock_has_set_counts_as_passed() {
    let mut story = Story::new();
    story.now += jiff::SignedDuration::from_hours(1);
    story.checked_out(1);
    story.now -= jiff::SignedDuration::from_hours(1);
    assert_eq!(
        story.happens(&flow::Input::DeadlinePassed),
        ["ReserveInventory"]
    );
    story.moment();
    assert_eq!(story.happens(&flow::Input::DeadlinePassed), NOTHING);
    assert_eq!(story.outcome, Outcome::Ignored(Ignored::TooEarly));
}

#[test]
fn an_expired_reservation_undoes_the_step_in_flight_first() {
    let mut story = Story::new();
    story.checked_out(1);
    story.answered(InventoryReserved);
    assert_eq!(story.expired(), ["VoidAuthorization", "SagaSnapshot"]);
    assert_eq!(story.kind(), SagaState::InDoubt);
    assert_eq!(story.expired(), NOTHING, "it is being undone already");
    assert_eq!(
        story.answered(AuthorizationVoided),
        ["ReleaseInventory", "SagaSnapshot"]
    );
    let Message::ReleaseInventory(release) = &story.sent[0] else {
        panic!("{:?}", story.sent)
    };
    assert_eq!(release.reason, ReleaseReason::Expired);
    story.answered(InventoryReleased);
    assert_eq!(
        story.saga().failure_reason(),
        Some(FailureReason::ReservationExpired)
    );
}

#[test]
fn an_expiry_after_the_order_stands_is_ignored() {
    let mut story = ordered();
    assert_eq!(story.expired(), NOTHING);
    assert_eq!(story.kind(), SagaState::Completed);
}

#[test]
fn the_same_request_twice_is_one_checkout() {
    let mut story = Story::new();
    story.checked_out(1);
    assert_eq!(story.checked_out(1), NOTHING);
    assert_eq!(story.outcome, Outcome::Ignored(Ignored::SameEvent));
    let mut story = ordered();
    assert_eq!(story.checked_out(1), NOTHING);
}

#[test]
fn a_second_request_is_rejected_and_disturbs_nothing() {
    let mut story = Story::new();
    story.checked_out(1);
    assert_eq!(story.checked_out(2), ["CheckoutRejected"]);
    let Message::CheckoutRejected(rejected) = &story.sent[0] else {
        panic!("{:?}", story.sent)
    };
    assert_eq!(rejected.reason, RejectionReason::CheckoutInProgress);
    assert_eq!(
        (rejected.checkout_id, rejected.current_checkout_id),
        (checkout(2), checkout(1))
    );
    assert_eq!(story.answered(InventoryReserved), ["AuthorizePayment"]);
    let mut story = ordered();
    story.checked_out(2);
    assert_eq!(
        story.outcome,
        Outcome::Rejected(RejectionReason::AlreadyOrdered)
    );
}

#[test]
fn a_rejected_request_never_begins_anything_however_late_it_is_repeated() {
    let mut story = Story::new();
    story.checked_out(1);
    story.checked_out(2);
    story.answered(InventoryUnavailable);
    assert_eq!(story.checked_out(2), NOTHING);
    assert_eq!(story.outcome, Outcome::Ignored(Ignored::SameEvent));
}

#[test]
fn a_failed_cart_can_be_checked_out_again() {
    let mut story = failed();
    assert_eq!(story.checked_out(2), ["ReserveInventory"]);
    assert_eq!(
        story.checked_out(1),
        NOTHING,
        "the former attempt is remembered"
    );
    assert_eq!(
        story.answered(InventoryReserved),
        NOTHING,
        "an answer to the former attempt"
    );
    story.attempt = 2;
    assert_eq!(story.answered(InventoryReserved), ["AuthorizePayment"]);
}

#[test]
fn the_newest_snapshot_of_a_cart_is_never_out_of_date() {
    let mut story = Story::new();
    story.checked_out(1);
    story.answered(InventoryReserved);
    story.answered(PaymentDeclined);
    story.answered(InventoryReleased);
    assert_eq!(story.checked_out(2), ["ReserveInventory", "SagaSnapshot"]);
    assert_eq!(story.snapshot().state, SagaState::InProgress);
    story.attempt = 2;
    story.until(Step::CreateOrder);
    assert_eq!(
        story.answered(OrderRecorded),
        ["OrderCreated", "SagaSnapshot"]
    );
    assert_eq!(story.snapshot().state, SagaState::Completed);
    let ids: std::collections::BTreeSet<_> = story
        .published
        .iter()
        .filter(|message| message.record_type() == SagaSnapshot)
        .map(Message::ce_id)
        .collect();
    assert_eq!(
        ids.len(),
        story.count(SagaSnapshot),
        "each snapshot has an id of its own"
    );
}

#[test]
fn a_cart_that_is_checked_out_too_often_is_rejected_for_good() {
    let rules = Rules {
        max_checkouts_per_cart: 3,
        ..Rules::default()
    };
    let mut story = Story::with(rules);
    for n in 1..=3 {
        story.attempt = n;
        assert_eq!(story.checked_out(n), ["ReserveInventory"]);
        story.answered(InventoryUnavailable);
    }
    for n in [4, 5, 4] {
        assert_eq!(story.checked_out(n), ["CheckoutRejected"]);
        assert_eq!(
            story.outcome,
            Outcome::Rejected(RejectionReason::TooManyAttempts)
        );
    }
    assert_eq!(
        story.checked_out(2),
        NOTHING,
        "a repeat of a former attempt"
    );
}

#[test]
fn a_saga_stored_by_a_later_binary_is_read() {
    let mut story = in_doubt_about_the_order();
    story.operated(OperationAction::Retry);
    let mut stored = serde_json::to_value(story.saga()).unwrap();
    stored["progress"]["addedLater"] = serde_json::json!({"anything": [1, 2]});
    stored["cart"]["addedLater"] = serde_json::json!("something");
    stored["addedLater"] = serde_json::json!(1);
    let read: flow::Saga = serde_json::from_value(stored).unwrap();
    assert_eq!(&read, story.saga());
}

#[test]
fn a_stored_saga_shows_its_state_and_step_by_name() {
    let story = in_doubt_about_the_order();
    let stored = serde_json::to_value(&story.saga().progress).unwrap();
    assert_eq!(stored["state"], "IN_DOUBT");
    assert_eq!(stored["step"], "CREATE_ORDER");
}
