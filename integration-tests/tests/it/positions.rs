//! Positions that are not in the log any more stop a service, with words.

use integration_tests::carts::cart;
use integration_tests::{Options, Outcome, System, product};

#[tokio::test(flavor = "multi_thread")]
async fn a_position_outside_the_log_stops_the_service_and_skips_nothing() {
    let system = System::start("positions", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));
    system.stop("order").await;
    system
        .query(
            "order",
            "UPDATE progress SET next_offset = 1000000 WHERE next_offset IS NOT NULL RETURNING 1",
            &[],
        )
        .await;
    let log = system.fails_to_start("order").await;
    assert!(
        log.contains("ordering.commands"),
        "it names the topic: {log}"
    );
    assert!(log.contains("1000000"), "it names the position: {log}");
    assert!(
        log.contains("delete this row of the table progress"),
        "it says what to do: {log}"
    );
}
