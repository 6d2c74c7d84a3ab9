//! Stories of operators.

use contracts::{
    Message,
    RecordType::*,
    messages::{FailureReason, OperationAction, SagaState},
};
use flow::{OperatorRefusal, Outcome, Step};

use crate::{
    stories::{NOTHING, in_doubt_about_the_order, ordered},
    story::*,
};

#[test]
fn an_operator_retries_at_once_and_from_the_first_try() {
    let mut story = Story::new();
    story.checked_out(1);
    story.silence();
    assert_eq!(story.operated(OperationAction::Retry), ["ReserveInventory"]);
    assert_eq!(story.state().waiting().unwrap().tries, 1);
    let mut story = in_doubt_about_the_order();
    assert_eq!(
        story.operated(OperationAction::Retry),
        ["CancelOrder", "SagaSnapshot"]
    );
    let reason = story.snapshot().reason.unwrap();
    assert!(
        reason.contains("RETRY by the night shift: the test asks for it"),
        "{reason}"
    );
}

#[test]
fn an_operator_cancels_a_checkout_in_flight_but_no_order() {
    let mut story = Story::new();
    story.checked_out(1);
    story.answered(InventoryReserved);
    assert_eq!(
        story.operated(OperationAction::Compensate),
        ["VoidAuthorization", "SagaSnapshot"]
    );
    story.operated(OperationAction::Compensate);
    assert_eq!(
        story.outcome,
        Outcome::OperatorRefused(OperatorRefusal::AlreadyCompensating)
    );
    story.answered(AuthorizationVoided);
    story.answered(InventoryReleased);
    let Message::CheckoutFailed(failed) = &story.sent[0] else {
        panic!("{:?}", story.sent)
    };
    assert_eq!(failed.reason, FailureReason::CancelledByOperator);
    let mut story = ordered();
    assert_eq!(story.operated(OperationAction::Compensate), NOTHING);
    assert_eq!(
        story.outcome,
        Outcome::OperatorRefused(OperatorRefusal::Ended)
    );
}

#[test]
fn an_operator_resolves_a_step_by_evidence_only() {
    let mut story = in_doubt_about_the_order();
    let mut resolve = operation(OperationAction::Resolve);
    story.message(resolve.clone());
    assert_eq!(
        story.outcome,
        Outcome::OperatorRefused(OperatorRefusal::NoStep)
    );
    resolve.step = Some("CREATE_ORDER".to_owned());
    story.message(resolve.clone());
    assert_eq!(
        story.outcome,
        Outcome::OperatorRefused(OperatorRefusal::NoEvidence)
    );
    resolve.evidence = Some("no row in the order database".to_owned());
    let mut other = resolve.clone();
    other.step = Some("RESERVE_INVENTORY".to_owned());
    story.message(other.clone());
    assert_eq!(
        story.outcome,
        Outcome::OperatorRefused(OperatorRefusal::OtherStep)
    );
    other.step = Some("SHIP_IT".to_owned());
    story.message(other);
    assert_eq!(
        story.outcome,
        Outcome::OperatorRefused(OperatorRefusal::UnknownStep)
    );
    story.message(resolve.clone());
    assert_eq!(story.state().step(), Step::CreateOrder.preceding());
    story.message(resolve);
    assert_eq!(
        story.outcome,
        Outcome::OperatorRefused(OperatorRefusal::OtherStep),
        "a repeat resolves nothing else"
    );
}

#[test]
fn an_operator_abandons_what_cannot_be_undone() {
    let mut story = Story::new();
    story.checked_out(1);
    story.operated(OperationAction::Abandon);
    assert_eq!(
        story.outcome,
        Outcome::OperatorRefused(OperatorRefusal::NotCompensating)
    );
    let mut story = in_doubt_about_the_order();
    assert_eq!(story.operated(OperationAction::Abandon), ["SagaSnapshot"]);
    let snapshot = story.snapshot();
    assert_eq!(
        (snapshot.state, snapshot.step.as_deref()),
        (SagaState::Abandoned, Some("CREATE_ORDER"))
    );
    assert_eq!(story.saga().due_at(), None);
    assert_eq!(story.saga().customer_status().status, "IN_CLARIFICATION");
    assert_eq!(story.checked_out(2), ["CheckoutRejected"]);
    assert_eq!(story.answered(OrderCancelled), NOTHING);
}

#[test]
fn an_operator_says_who_and_why_and_about_which_checkout() {
    let mut story = in_doubt_about_the_order();
    let whole = operation(OperationAction::Retry);
    for (input, refusal) in [
        (
            contracts::messages::SagaOperation {
                operator: " ".to_owned(),
                ..whole.clone()
            },
            OperatorRefusal::NoOperator,
        ),
        (
            contracts::messages::SagaOperation {
                reason: String::new(),
                ..whole.clone()
            },
            OperatorRefusal::NoReason,
        ),
        (
            contracts::messages::SagaOperation {
                checkout_id: Some(checkout(2)),
                ..whole.clone()
            },
            OperatorRefusal::OtherCheckout,
        ),
        (
            contracts::messages::SagaOperation {
                action: OperationAction::Unknown,
                ..whole.clone()
            },
            OperatorRefusal::UnknownAction,
        ),
    ] {
        assert_eq!(story.message(input), NOTHING);
        assert_eq!(story.outcome, Outcome::OperatorRefused(refusal));
    }
    let mut story = Story::new();
    story.message(whole);
    assert_eq!(
        story.outcome,
        Outcome::OperatorRefused(OperatorRefusal::UnknownCart)
    );
}
