//! Reservations that expire.

use contracts::RecordType;
use contracts::messages::FailureReason;

use integration_tests::carts::cart;
use integration_tests::{Holdings, Options, Outcome, System, all_but, product};

/// A promise that soon ends, and not before the orchestrator has read of it.
const SHORT: &[(&str, &str, &str)] = &[("inventory", "RESERVATION_TTL_SECONDS", "15")];

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_in_flight_fails_when_its_reservation_expires() {
    let system = System::start(
        "expiry_in_flight",
        Options {
            services: all_but("payment"),
            environment: SHORT,
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    // Payment is away; the promise for the stock ends meanwhile.
    system.record(&cart, RecordType::VoidAuthorization).await;
    assert_eq!(
        system.stock(&sku).await,
        (5, 1),
        "held until it is released"
    );
    system.start_service("payment").await;
    let Outcome::Failed(failed) = system.outcome(&cart).await else {
        panic!("it did not fail");
    };
    assert_eq!(failed.reason, FailureReason::ReservationExpired);
    assert_eq!(system.stock(&sku).await, (5, 0));
    system.assert_one_outcome(&cart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_keeps_its_stock_when_the_promise_is_over() {
    let options = Options {
        environment: &[("inventory", "RESERVATION_TTL_SECONDS", "86400")],
        ..Options::default()
    };
    let system = System::start("expiry_after_order", options).await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));
    // A year later, by the clock of who looks after reservations.
    system.stop_instance("inventory", 0).await;
    system
        .add_instance_with("inventory", &[("FAILPOINTS", "clock=return(31536000000)")])
        .await;
    system.record(&cart, RecordType::ReservationExpired).await;
    system.quiesce(&cart).await;
    assert_eq!(
        system.holdings(&cart).await,
        Holdings::new(Some("RESERVED"), Some("AUTHORIZED"), Some("RECORDED"))
    );
    system.assert_settled(&[]).await;
}
