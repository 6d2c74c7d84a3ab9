//! What operators do about a saga, by records on `ordering.operations`.

use contracts::RecordType;
use contracts::ids::{GenericUuid, OperationId};
use contracts::messages::{
    CartCheckedOut, FailureReason, OperationAction, SagaOperation, SagaState,
};
use jiff::Timestamp;
use uuid::Uuid;

use integration_tests::carts::cart;
use integration_tests::{IMPATIENT, Options, Outcome, System, all_but, product};

fn operation(cart: &CartCheckedOut, action: OperationAction) -> SagaOperation {
    SagaOperation {
        operation_id: OperationId::from_untyped_uuid(Uuid::new_v4()),
        cart_id: cart.cart_id,
        checkout_id: None,
        action,
        step: None,
        evidence: None,
        operator: "the integration test".to_owned(),
        reason: "payment is away".to_owned(),
        requested_at: Timestamp::now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_cancels_a_checkout_in_flight() {
    // The usual, patient orchestrator: only the operator ends the wait.
    let system = System::start(
        "operator_cancels",
        Options {
            services: all_but("payment"),
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    system.record(&cart, RecordType::AuthorizePayment).await;
    system
        .publish_message(&operation(&cart, OperationAction::Compensate).into())
        .await;
    system.snapshot(&cart, SagaState::InDoubt).await;
    // The snapshot was published after the commit that wrote the history.
    let path = format!("/sagas/{}", cart.cart_id);
    let shown = system.get_json("orchestrator", &path).await;
    let entries = shown["transitions"].as_array().expect("transitions");
    let by_operator: Vec<_> = entries
        .iter()
        .filter(|entry| entry["record"]["type"] == "ordering.SagaOperation")
        .collect();
    let [entry] = by_operator[..] else {
        panic!("not one entry of the operator's: {shown:#}");
    };
    assert_eq!(
        entry["operator"],
        "COMPENSATE by the integration test: payment is away"
    );
    assert_eq!(entry["outcome"], "operated", "{entry}");
    assert_eq!(entry["state"], "IN_DOUBT", "{entry}");
    assert_eq!(entry["step"], "AUTHORIZE_PAYMENT", "{entry}");
    system.start_service("payment").await;
    let Outcome::Failed(failed) = system.outcome(&cart).await else {
        panic!("it did not fail");
    };
    assert_eq!(failed.reason, FailureReason::CancelledByOperator);
    assert_eq!(system.stock(&sku).await, (5, 0));
    system.assert_one_outcome(&cart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_resolves_a_stuck_step_with_evidence() {
    let system = System::start(
        "operator_resolves",
        Options {
            services: all_but("payment"),
            environment: IMPATIENT,
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    system.snapshot(&cart, SagaState::Stuck).await;
    let resolve = SagaOperation {
        step: Some("AUTHORIZE_PAYMENT".to_owned()),
        evidence: Some("the gateway shows no hold for this checkout".to_owned()),
        ..operation(&cart, OperationAction::Resolve)
    };
    system.publish_message(&resolve.into()).await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Failed(_)));
    assert_eq!(system.stock(&sku).await, (5, 0));
    system.snapshot(&cart, SagaState::Failed).await;
}
