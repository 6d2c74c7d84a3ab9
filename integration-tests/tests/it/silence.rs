//! Participants that are silent: the command is sent again, then the step is in
//! doubt and is undone, and what answers late is undone as well.

use contracts::RecordType;
use contracts::messages::{FailureReason, SagaState};
use flow::Step;

use integration_tests::carts::cart;
use integration_tests::{Holdings, IMPATIENT, Options, Outcome, System, all_but, product};

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_participant_is_asked_again_and_then_undone() {
    let system = System::start(
        "silent_payment",
        Options {
            services: all_but("payment"),
            environment: IMPATIENT,
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let cart = cart(&sku, 2, 700);
    let trace = contracts::TraceContext::new_root();
    system.publish_traced(&cart, &trace).await;

    // Payment is away: the hold is asked for several times, then given up.
    let (authorizations, voids) = system
        .recorder
        .wait_for("a void of the authorization in doubt", |seen| {
            let count = |record| {
                seen.iter()
                    .filter(|seen| seen.record_type() == Some(record))
                    .count()
            };
            let voids = count(RecordType::VoidAuthorization);
            (voids > 0).then(|| (count(RecordType::AuthorizePayment), voids))
        })
        .await;
    assert!(authorizations > 1, "sent {authorizations} times");
    assert!(voids > 0);
    // Nothing else is undone before the void is acknowledged.
    assert!(
        !system
            .recorder
            .of_cart(cart.cart_id)
            .iter()
            .any(|message| message.record_type() == RecordType::ReleaseInventory)
    );
    system.snapshot(&cart, SagaState::Stuck).await;

    // Payment comes back and finds all of it: one hold, voided, or none.
    system.start_service("payment").await;
    let Outcome::Failed(failed) = system.outcome(&cart).await else {
        panic!("it did not fail");
    };
    assert_eq!(failed.reason, FailureReason::TimedOut);
    assert_eq!(
        system.holdings(&cart).await,
        Holdings::new(Some("RELEASED"), Some("VOIDED"), None)
    );
    assert_eq!(system.stock(&sku).await, (5, 0));
    system.snapshot(&cart, SagaState::Failed).await;
    system.assert_one_outcome(&cart).await;
    // What timers sent belongs to the trace of the cart as well.
    system.assert_traced(&cart, &trace);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_doubt_is_cancelled_before_anything_else_is_undone() {
    let system = System::start(
        "silent_order",
        Options {
            services: all_but("order"),
            environment: IMPATIENT,
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let cart = cart(&sku, 2, 700);
    system.publish(&cart).await;
    system.snapshot(&cart, SagaState::Stuck).await;
    assert_eq!(
        system.holdings(&cart).await,
        Holdings::new(Some("RESERVED"), Some("AUTHORIZED"), None),
        "nothing is undone while the order's fate is unknown"
    );

    system.start_service("order").await;
    let Outcome::Failed(failed) = system.outcome(&cart).await else {
        panic!("it did not fail");
    };
    assert_eq!(failed.reason, FailureReason::TimedOut);
    assert_eq!(
        system.holdings(&cart).await,
        Holdings::new(Some("RELEASED"), Some("VOIDED"), Some("CANCELLED"))
    );
    assert_eq!(
        system.undo_order(&cart),
        Step::ALL
            .iter()
            .rev()
            .map(|step| step.definition().compensation.record)
            .collect::<Vec<_>>(),
        "every step, from the last to the first"
    );
    system.assert_one_outcome(&cart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn carts_wait_for_an_orchestrator_that_is_away() {
    let system = System::start(
        "no_orchestrator",
        Options {
            services: all_but("orchestrator"),
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let cart = cart(&sku, 2, 700);
    system.publish(&cart).await;
    system.start_service("orchestrator").await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));
}
