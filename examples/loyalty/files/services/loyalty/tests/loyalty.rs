//! The step on the real parts: points for an order, a refusal, silence, and what is undone
//! when the order fails afterwards.

use contracts::RecordType;
use contracts::ids::GenericUuid;
use contracts::messages::{CartCheckedOut, FailureReason, SagaState};

use integration_tests::carts::cart;
use integration_tests::{Holdings, IMPATIENT, Options, Outcome, System, product};

/// The state of a cart's award, and its points.
async fn award(system: &System, cart: &CartCheckedOut) -> (String, Option<i64>) {
    let sql = "SELECT state, points FROM awards WHERE checkout_id = $1";
    let checkout = cart.event_id.into_untyped_uuid();
    let rows = system.query("loyalty", sql, &[&checkout]).await;
    assert_eq!(rows.len(), 1, "one row a checkout");
    (rows[0].get(0), rows[0].get(1))
}

/// The points that the customer of a cart has.
async fn points(system: &System, cart: &CartCheckedOut) -> serde_json::Value {
    let path = format!("/points/{}", cart.customer_id);
    system.get_json("loyalty", &path).await["points"].clone()
}

async fn reason(system: &System, cart: &CartCheckedOut) -> FailureReason {
    let Outcome::Failed(failed) = system.outcome(cart).await else {
        panic!("it did not fail");
    };
    system.assert_one_outcome(cart).await;
    failed.reason
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_awards_points_and_one_worth_too_many_is_refused() {
    let system = System::start(
        "points",
        Options {
            environment: &[("loyalty", "MAX_POINTS_PER_ORDER", "50")],
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 100).await;
    let (fine, large) = (cart(&sku, 3, 1_250), cart(&sku, 6, 900));
    system.publish(&fine).await;
    system.publish(&large).await;

    assert!(matches!(system.outcome(&fine).await, Outcome::Created(_)));
    assert_eq!(
        award(&system, &fine).await,
        ("AWARDED".to_owned(), Some(37))
    );
    assert_eq!(points(&system, &fine).await, 37);

    assert_eq!(reason(&system, &large).await, FailureReason::LoyaltyRefused);
    assert_eq!(award(&system, &large).await, ("REFUSED".to_owned(), None));
    assert_eq!(
        system.holdings(&large).await,
        Holdings::new(Some("RELEASED"), Some("VOIDED"), None)
    );
    assert_eq!(
        system.undo_order(&large),
        [RecordType::VoidAuthorization, RecordType::ReleaseInventory],
        "what was refused needs no undoing"
    );
    let status = system.status(&large).await;
    assert_eq!(
        status["message"],
        "Your points could not be credited; nothing was charged."
    );
    // Everything adds up, in the five databases.
    system.assert_settled(&[fine, large]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_loyalty_service_is_undone_before_the_payment() {
    let system = System::start(
        "silent_loyalty",
        Options {
            services: &["orchestrator", "inventory", "payment", "order"],
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
        "nothing is undone before the award's fate is known"
    );

    system.start_service("loyalty").await;
    assert_eq!(reason(&system, &cart).await, FailureReason::TimedOut);
    assert_eq!(award(&system, &cart).await.0, "REVOKED");
    assert_eq!(points(&system, &cart).await, 0);
    assert_eq!(
        system.undo_order(&cart),
        [
            RecordType::RevokePoints,
            RecordType::VoidAuthorization,
            RecordType::ReleaseInventory
        ]
    );
    system.assert_settled(&[cart]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn points_are_taken_back_when_the_order_fails_afterwards() {
    let system = System::start(
        "no_order",
        Options {
            services: &["orchestrator", "inventory", "payment", "loyalty"],
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
        award(&system, &cart).await,
        ("AWARDED".to_owned(), Some(14)),
        "they stand while the order's fate is unknown"
    );

    system.start_service("order").await;
    assert_eq!(reason(&system, &cart).await, FailureReason::TimedOut);
    assert_eq!(award(&system, &cart).await.0, "REVOKED");
    assert_eq!(points(&system, &cart).await, 0);
    assert_eq!(
        system.undo_order(&cart),
        [
            RecordType::CancelOrder,
            RecordType::RevokePoints,
            RecordType::VoidAuthorization,
            RecordType::ReleaseInventory
        ]
    );
    system.assert_settled(&[cart]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_point_is_lost_or_doubled_when_the_loyalty_service_is_killed() {
    let system = System::start("killed_loyalty", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 1_000).await;
    let carts: Vec<_> = (0..30).map(|_| cart(&sku, 1, 700)).collect();
    for (number, cart) in carts.iter().enumerate() {
        system.publish(cart).await;
        if number % 10 == 9 {
            // The command is out, whatever has become of it.
            system.record(cart, RecordType::AwardPoints).await;
            system.kill("loyalty").await;
            system.start_service("loyalty").await;
        }
    }
    for cart in &carts {
        assert!(matches!(system.outcome(cart).await, Outcome::Created(_)));
        assert_eq!(points(&system, cart).await, 7);
    }
    system.assert_settled(&carts).await;
}
