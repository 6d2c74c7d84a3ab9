//! Rows that a service keeps from one batch to the next, and that somebody else changes
//! meanwhile: what is not as it was kept is read again.

use contracts::messages::FailureReason;
use integration_tests::carts::cart;
use integration_tests::load::Load;
use integration_tests::{EVERY, Options, Outcome, SERVICES, System, product};

/// The tables whose rows are kept, with their keys.
const KEPT: &[(&str, &str, &str)] = &[
    ("orchestrator", "sagas", "cart_id"),
    ("inventory", "reservations", "checkout_id"),
    ("inventory", "stock", "product_id"),
    ("payment", "authorizations", "checkout_id"),
];

/// Writes every row that nobody holds, as it is.
async fn write_all(system: &System, service: &str, table: &str, key: &str) {
    let write = format!(
        "UPDATE {table} SET {key} = {key} WHERE {key} IN
         (SELECT {key} FROM {table} ORDER BY {key} FOR UPDATE SKIP LOCKED)"
    );
    system.execute(service, &write).await;
}

async fn batches(system: &System, service: &str, result: &str) -> f64 {
    let label = format!("result=\"{result}\"");
    let counted = system.counted(service, 0, "saga_row_cache_total", &label);
    counted.await
}

/// A system in which no command is sent twice: the batch that meets a repeat reads.
async fn own(name: &str) -> System {
    let options = Options {
        environment: &[
            ("orchestrator", "REPLY_WAIT_FIRST_MS", "60000"),
            ("orchestrator", "REPLY_WAIT_MAX_MS", "60000"),
            // Who joins its group anew begins with nothing kept.
            (EVERY, "SESSION_TIMEOUT_MS", "30000"),
        ],
        ..Options::default()
    };
    System::start(name, options).await
}

/// A saga's four batches at the orchestrator, two at payment, one each at the others: none
/// of them reads, but for the first that names a product.
#[tokio::test(flavor = "multi_thread")]
async fn a_straight_saga_reads_no_row_that_its_services_wrote() {
    let system = own("kept_rows").await;
    let sku = product();
    system.set_stock(&sku, 10).await;
    let mut before = Vec::new();
    for &service in SERVICES {
        before.push((service, batches(&system, service, "miss").await));
    }
    for _ in 0..3 {
        let cart = cart(&sku, 1, 1_000);
        system.publish(&cart).await;
        assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));
    }
    for (service, before) in before {
        assert_eq!(batches(&system, service, "miss").await, before, "{service}");
        assert_eq!(batches(&system, service, "stale").await, 0.0, "{service}");
        assert!(batches(&system, service, "hit").await >= 3.0, "{service}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_else_changes_all_the_time_are_read_again() {
    let system = own("stale_rows").await;
    let somebody_else = async {
        for (service, table, key) in KEPT {
            let before = batches(&system, service, "stale").await;
            system
                .until(&format!("{service} meets a row of {table}"), async || {
                    write_all(&system, service, table, key).await;
                    batches(&system, service, "stale").await > before
                })
                .await;
        }
    };
    let carts = system
        .load_during(Load::new(120, 20.0), somebody_else)
        .await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}

/// As another instance of inventory would do it.
#[tokio::test(flavor = "multi_thread")]
async fn stock_that_somebody_else_took_is_not_promised() {
    let system = own("stock_taken").await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let first = cart(&sku, 2, 1_000);
    system.publish(&first).await;
    assert!(matches!(system.outcome(&first).await, Outcome::Created(_)));
    let taken = format!("UPDATE stock SET reserved = on_hand WHERE product_id = '{sku}'");
    system.execute("inventory", &taken).await;
    let second = cart(&sku, 2, 1_000);
    system.publish(&second).await;
    let Outcome::Failed(failed) = system.outcome(&second).await else {
        panic!("it was promised what is not there");
    };
    assert_eq!(failed.reason, FailureReason::OutOfStock);
    assert_eq!(system.stock(&sku).await, (5, 5));
    assert_eq!(batches(&system, "inventory", "stale").await, 1.0);
}

/// As a new owner does it while the former one is still at work: that one's batches do not
/// read, so nothing but the move of its progress rows can find out.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_does_not_read_is_fenced_as_well() {
    let system = own("claimed").await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let first = cart(&sku, 1, 1_000);
    system.publish(&first).await;
    assert!(matches!(system.outcome(&first).await, Outcome::Created(_)));
    for service in SERVICES {
        let claim = "UPDATE progress SET epoch = epoch + 1";
        system.execute(service, claim).await;
    }
    let second = cart(&sku, 1, 1_000);
    system.publish(&second).await;
    assert!(matches!(system.outcome(&second).await, Outcome::Created(_)));
    for service in SERVICES {
        let fenced = "kind=\"fenced\"";
        let fenced = system.counted(service, 0, "saga_faults_total", fenced);
        assert!(
            fenced.await >= 1.0,
            "{service} went on as if it were the owner"
        );
    }
    system.assert_settled(&[first, second]).await;
}

/// A refusal changes no stock, but rests on what there is.
#[tokio::test(flavor = "multi_thread")]
async fn stock_that_somebody_else_gave_back_is_not_refused() {
    let system = own("stock_back").await;
    let sku = product();
    system.set_stock(&sku, 2).await;
    let first = cart(&sku, 3, 1_000);
    system.publish(&first).await;
    assert!(matches!(system.outcome(&first).await, Outcome::Failed(_)));
    let more = format!("UPDATE stock SET on_hand = 3 WHERE product_id = '{sku}'");
    system.execute("inventory", &more).await;
    let second = cart(&sku, 3, 1_000);
    system.publish(&second).await;
    assert!(matches!(system.outcome(&second).await, Outcome::Created(_)));
    assert_eq!(system.stock(&sku).await, (3, 3));
}

/// Every saga goes on by what an instance reads, and none by what it remembers.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_cache_every_batch_reads() {
    let options = Options {
        environment: &[(EVERY, "MAX_CACHED_ROWS", "0")],
        ..Options::default()
    };
    let system = System::start("no_cache", options).await;
    let carts = system.load(Load::new(40, 60.0)).await;
    system.assert_settled(&carts).await;
    for &service in SERVICES {
        assert_eq!(batches(&system, service, "hit").await, 0.0, "{service}");
        assert!(batches(&system, service, "miss").await > 0.0, "{service}");
    }
}
