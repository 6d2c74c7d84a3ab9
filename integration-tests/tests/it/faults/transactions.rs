//! Transactions that are not ended.

use contracts::Topic;
use integration_tests::carts::cart;
use integration_tests::stranger::Stranger;
use integration_tests::{Options, PATIENCE, System, product};
use tokio::time::{Duration, Instant, sleep};

/// The highest value of a gauge of the orchestrator.
async fn gauge(system: &System, name: &str) -> f64 {
    let text = system.get_text("orchestrator", "/metrics").await;
    let values = text.lines().filter(|line| line.starts_with(name));
    values
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .fold(0.0, f64::max)
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(
            begin.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_an_orchestrator_does_not_end_is_reported_until_it_does() {
    let environment = &[
        // The first one stays open for so long.
        (
            "orchestrator",
            "FAILPOINTS",
            "in-public-transaction=1*sleep(5000)->off",
        ),
        ("orchestrator", "TRANSACTION_WARN_AFTER_MS", "500"),
    ];
    let system = System::start(
        "open_transaction",
        Options {
            environment,
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    until("the gauge shows it", async || {
        gauge(&system, "saga_transaction_open_seconds").await > 0.5
    })
    .await;
    let says = "a transaction of this instance is still open";
    system.until_logged("orchestrator", says).await;
    until("the gauge is at rest", async || {
        gauge(&system, "saga_transaction_open_seconds").await == 0.0
    })
    .await;
    system.assert_settled(&[cart]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_never_ends_is_given_up_and_its_outcome_published_by_another() {
    let environment = &[
        // The client never returns from the first one.
        (
            "orchestrator",
            "FAILPOINTS",
            "in-public-transaction=1*sleep(3600000)->off",
        ),
        ("orchestrator", "TRANSACTION_TIMEOUT_MS", "2000"),
    ];
    let system = System::start(
        "endless_transaction",
        Options {
            environment,
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    for says in [
        "a transaction did not end within 4s",
        "it is left to itself",
    ] {
        system.until_logged("orchestrator", says).await;
    }
    let carts = [cart];
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_transaction_on_a_public_topic_is_reported_until_it_ends() {
    let environment = &[
        ("orchestrator", "TRANSACTION_WARN_AFTER_MS", "500"),
        ("orchestrator", "READERS_CHECK_INTERVAL_MS", "200"),
    ];
    let system = System::start(
        "hanging_transaction",
        Options {
            environment,
            ..Options::default()
        },
    )
    .await;
    let topic = system.names.name(Topic::OrderingOrders).to_owned();
    let stranger = Stranger::begin(&system, Topic::OrderingOrders).await;
    until("the gauge shows it", async || {
        gauge(&system, "saga_readers_held_seconds{").await > 0.5
    })
    .await;
    assert!(gauge(&system, "saga_readers_held_records{").await >= 1.0);
    until("the log says what to do", async || {
        let instance = system.instance("orchestrator", 0).await;
        let log = std::fs::read_to_string(instance.process.log()).expect("a log");
        log.contains("holds the readers of the topic back")
            && log.contains(&topic)
            && log.contains("kafka-transactions.sh find-hanging")
    })
    .await;

    stranger.abort().await;
    until("the gauge is at rest", async || {
        gauge(&system, "saga_readers_held_seconds{").await == 0.0
            && gauge(&system, "saga_readers_held_records{").await == 0.0
    })
    .await;
    // Nobody was hurt.
    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    system.assert_settled(&[cart]).await;
}
