//! Positions that are not in the log any more stop a service, with words that help.

use contracts::messages::CartCheckedOut;
use integration_tests::carts::cart;
use integration_tests::{Options, System, product};

/// Enough for each partition to have some.
const CARTS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn a_position_outside_the_log_stops_the_service_which_says_how_it_goes_on() {
    let system = System::start("positions", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 1_000).await;
    let mut carts = checked_out(&system, &sku).await;
    for (service, topic) in [
        ("order", "ordering.commands"),
        ("orchestrator", "ordering.replies"),
    ] {
        system.stop(service).await;
        let lose = "UPDATE progress SET next_offset = 1000000 WHERE topic = $1 RETURNING 1";
        system.query(service, lose, &[&topic]).await;
        let log = system.fails_to_start(service).await;
        assert!(log.contains(topic), "it names the topic: {log}");
        assert!(log.contains("1000000"), "it names the position: {log}");
        system.execute(service, remedy(&log)).await;
        system.restart_instance(service, 0).await;
        // What was published is not published again, and what follows is.
        carts.extend(checked_out(&system, &sku).await);
        system.assert_settled(&carts).await;
        system.assert_outcomes_once(&carts);
    }
}

/// The statement that a log tells to run.
fn remedy(log: &str) -> &str {
    let begin = log.find("UPDATE progress").expect("it says what to do");
    let rest = &log[begin..];
    &rest[..rest.find("; it then").expect("an end")]
}

async fn checked_out(system: &System, sku: &str) -> Vec<CartCheckedOut> {
    let carts: Vec<_> = (0..CARTS).map(|_| cart(sku, 1, 700)).collect();
    for cart in &carts {
        system.publish(cart).await;
    }
    for cart in &carts {
        system.outcome(cart).await;
    }
    carts
}
