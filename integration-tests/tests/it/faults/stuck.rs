//! A saga that cannot go on by itself: who is told, what an operator can do, and
//! what is remembered of it.

use contracts::ids::{CheckoutId, GenericUuid, OperationId};
use contracts::messages::{
    CartCheckedOut, FailureReason, OperationAction, SagaOperation, SagaState, SagaStuck,
};
use contracts::{Message, TraceContext};
use integration_tests::carts::cart;
use integration_tests::{IMPATIENT, Options, Outcome, PATIENCE, System, all_but, product};
use jiff::Timestamp;
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

/// Payment is away, and the orchestrator does not wait long for it.
async fn without_payment(name: &str) -> System {
    let environment = [IMPATIENT, &[("orchestrator", "GAUGE_INTERVAL_MS", "500")]];
    let options = Options {
        services: all_but("payment"),
        environment: Vec::leak(environment.concat()),
        ..Options::default()
    };
    System::start(name, options).await
}

async fn stuck_cart(system: &System) -> (CartCheckedOut, SagaStuck, TraceContext) {
    let sku = product();
    system.set_stock(&sku, 5).await;
    let cart = cart(&sku, 1, 700);
    let trace = TraceContext::new_root();
    system.publish_traced(&cart, &trace).await;
    let alert = system
        .recorder
        .wait_for("an alert", |seen| {
            seen.iter().find_map(|seen| match &seen.message {
                Some(Message::SagaStuck(alert)) if alert.cart_id == cart.cart_id => {
                    Some(alert.clone())
                }
                _ => None,
            })
        })
        .await;
    (cart, alert, trace)
}

async fn operate(system: &System, cart: &CartCheckedOut, action: OperationAction, step: &str) {
    let operation = SagaOperation {
        operation_id: OperationId::from_untyped_uuid(Uuid::new_v4()),
        cart_id: cart.cart_id,
        checkout_id: Some(CheckoutId::from_untyped_uuid(
            cart.event_id.into_untyped_uuid(),
        )),
        action,
        step: Some(step.to_owned()),
        evidence: Some("the gateway shows no hold".to_owned()),
        operator: "night shift".to_owned(),
        reason: "the customer calls".to_owned(),
        requested_at: Timestamp::now(),
    };
    system.publish_message(&operation.into()).await;
}

/// The history of a cart, once it has an entry with this outcome and operator's
/// action.
async fn history(
    system: &System,
    cart: &CartCheckedOut,
    outcome: &str,
    action: &str,
) -> serde_json::Value {
    let begin = Instant::now();
    loop {
        let shown = system
            .get_json("orchestrator", &format!("/sagas/{}", cart.cart_id))
            .await;
        let transitions = shown["transitions"].as_array().expect("transitions");
        let found = transitions.iter().find(|entry| {
            let by = entry["operator"].as_str().unwrap_or_default();
            entry["outcome"] == outcome && by.starts_with(action)
        });
        if let Some(found) = found {
            return found.clone();
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "no {outcome} {action}: {shown:#}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_saga_is_told_by_event_metric_status_log_and_history() {
    let system = without_payment("stuck_told").await;
    let (cart, alert, trace) = stuck_cart(&system).await;

    assert_eq!(alert.step, "AUTHORIZE_PAYMENT");
    assert_eq!(alert.participant, "payments");
    assert_eq!(alert.command, "payments.VoidAuthorization");
    for word in ["RETRY", "RESOLVE", "ABANDON", &cart.cart_id.to_string()] {
        assert!(alert.advice.contains(word), "{}", alert.advice);
    }
    system.snapshot(&cart, SagaState::Stuck).await;
    assert_eq!(system.status(&cart).await["status"], "DELAYED");
    let begin = Instant::now();
    loop {
        let metrics = system.get_text("orchestrator", "/metrics").await;
        let gauge = metrics
            .lines()
            .find(|line| line.starts_with("checkout_sagas{") && line.contains(r#"state="STUCK""#));
        if gauge.is_some_and(|line| line.ends_with(" 1")) {
            assert!(
                metrics.contains(r#"checkout_transitions_total{"#)
                    && metrics.contains(r#"outcome="stuck""#),
                "{metrics}"
            );
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{metrics}");
        sleep(Duration::from_millis(100)).await;
    }
    let instance = system.instance("orchestrator", 0).await;
    let log = std::fs::read_to_string(instance.process.log()).expect("a log");
    let line = log
        .lines()
        .find(|line| line.contains("the saga is stuck"))
        .expect("a line");
    assert!(line.contains(&cart.cart_id.to_string()), "{line}");
    assert!(line.contains("ordering.alerts"), "{line}");

    // The history: from the request to now, each entry with its cause and trace.
    let shown = system
        .get_json("orchestrator", &format!("/sagas/{}", cart.cart_id))
        .await;
    let entries = shown["transitions"].as_array().expect("transitions");
    let first = entries.last().expect("a first entry");
    assert_eq!(first["outcome"], "started", "{shown:#}");
    assert_eq!(first["record"]["type"], "shopping.CartCheckedOut");
    assert_eq!(first["record"]["topic"], "shopping.checkouts");
    assert!(first["record"]["offset"].is_i64(), "{first}");
    let outcomes: Vec<_> = entries
        .iter()
        .rev()
        .map(|entry| &entry["outcome"])
        .collect();
    for outcome in [
        "step_done",
        "command_resent",
        "step_in_doubt",
        "compensation_resent",
        "stuck",
    ] {
        assert!(
            outcomes.contains(&&serde_json::json!(outcome)),
            "{outcome}: {outcomes:?}"
        );
    }
    let trace_id = format!("{:032x}", u128::from_be_bytes(trace.trace_id));
    for entry in entries {
        assert_eq!(entry["traceId"], trace_id.as_str(), "{entry}");
        let timer = [
            "command_resent",
            "step_in_doubt",
            "compensation_resent",
            "stuck",
        ]
        .contains(&entry["outcome"].as_str().expect("text"));
        assert_eq!(entry["record"].is_null(), timer, "{entry}");
    }
    assert_eq!(shown["saga"]["progress"]["state"], "STUCK", "{shown:#}");

    // It is sent on without end: when payment is back, the saga ends by itself.
    system.start_service("payment").await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Failed(_)));
    system.assert_settled(&[cart]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_retries_resolves_and_abandons_and_the_history_says_who_and_why() {
    let system = without_payment("stuck_operated").await;
    let (resolved, _, _) = stuck_cart(&system).await;
    let (abandoned, _, _) = stuck_cart(&system).await;

    operate(
        &system,
        &resolved,
        OperationAction::Retry,
        "AUTHORIZE_PAYMENT",
    )
    .await;
    let entry = history(&system, &resolved, "operated", "RETRY").await;
    assert_eq!(entry["record"]["type"], "ordering.SagaOperation");
    let by = entry["operator"].as_str().expect("text");
    assert!(
        by.contains("night shift") && by.contains("the customer calls"),
        "{by}"
    );

    // What is refused is remembered as well.
    operate(&system, &resolved, OperationAction::Resolve, "CREATE_ORDER").await;
    let entry = history(&system, &resolved, "operator_refused", "RESOLVE").await;
    assert_eq!(entry["reason"], "other_step", "{entry}");

    operate(
        &system,
        &resolved,
        OperationAction::Resolve,
        "AUTHORIZE_PAYMENT",
    )
    .await;
    let Outcome::Failed(failed) = system.outcome(&resolved).await else {
        panic!("it did not fail");
    };
    assert_eq!(failed.reason, FailureReason::TimedOut);
    let entry = history(&system, &resolved, "operated", "RESOLVE").await;
    let by = entry["operator"].as_str().expect("text");
    assert!(by.contains("the gateway shows no hold"), "{by}");

    operate(
        &system,
        &abandoned,
        OperationAction::Abandon,
        "AUTHORIZE_PAYMENT",
    )
    .await;
    let entry = history(&system, &abandoned, "operated", "ABANDON").await;
    assert_eq!(entry["state"], "ABANDONED");
    assert_eq!(
        system.status(&abandoned).await["status"],
        "IN_CLARIFICATION"
    );
}
