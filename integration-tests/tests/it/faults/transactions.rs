//! Transactions that are not ended, and public topics that are written without any for a
//! while.

use std::collections::{BTreeMap, BTreeSet};

use audit::Rule;
use contracts::Topic;
use contracts::ids::{CheckoutId, checkout_id};
use contracts::messages::CartCheckedOut;
use integration_tests::carts::cart;
use integration_tests::load::Load;
use integration_tests::stranger::Stranger;
use integration_tests::{Options, PATIENCE, Seen, System, product};
use tokio::time::{Duration, Instant, sleep};

/// What a crash may do where the public topics are written without transactions.
const REPEATS: &[Rule] = &[Rule::ORDER_CREATED_DOUBLED, Rule::OUTCOME_DOUBLED];

/// The highest value of a gauge of the orchestrator.
async fn gauge(system: &System, name: &str) -> f64 {
    let text = system.get_text("orchestrator", "/metrics").await;
    let values = text.lines().filter(|line| line.starts_with(name));
    values
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .fold(0.0, f64::max)
}

type Environment = &'static [(&'static str, &'static str, &'static str)];

async fn start(name: &str, environment: Environment) -> System {
    let options = Options {
        environment,
        ..Options::default()
    };
    System::start(name, options).await
}

/// Publishes a cart that is to be ordered.
async fn order(system: &System) -> CartCheckedOut {
    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    cart
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_an_orchestrator_does_not_end_is_reported_until_it_does() {
    let environment = &[
        // The first one stays open for so long.
        (
            "orchestrator",
            "FAILPOINTS",
            "in-public-transaction=1*sleep(8000)->off",
        ),
        ("orchestrator", "TRANSACTION_WARN_AFTER_MS", "500"),
    ];
    let system = start("open_transaction", environment).await;
    let cart = order(&system).await;
    system
        .until("the gauge shows it", async || {
            gauge(&system, "saga_transaction_open_seconds").await > 0.5
        })
        .await;
    let says = "a transaction of this instance is still open";
    system.until_logged("orchestrator", says).await;
    system
        .until("the gauge is at rest", async || {
            gauge(&system, "saga_transaction_open_seconds").await == 0.0
        })
        .await;
    system.assert_settled(&[cart]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_does_not_end_is_given_up_and_its_outcome_published_once() {
    let environment = &[
        // The client returns from the first one when another has long taken its place.
        (
            "orchestrator",
            "FAILPOINTS",
            "in-public-transaction=1*sleep(20000)->off",
        ),
        ("orchestrator", "TRANSACTION_TIMEOUT_MS", "2000"),
    ];
    let system = start("endless_transaction", environment).await;
    let cart = order(&system).await;
    for says in [
        "a transaction did not end within 4s",
        "the client for transactions is left to itself",
    ] {
        system.until_logged("orchestrator", says).await;
    }
    let carts = [cart];
    system.assert_settled(&carts).await;
    let says = "a client for transactions that was given up ends";
    system.until_logged("orchestrator", says).await;
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_transaction_on_a_public_topic_is_reported_until_it_ends() {
    let environment = &[
        ("orchestrator", "TRANSACTION_WARN_AFTER_MS", "500"),
        ("orchestrator", "READERS_CHECK_INTERVAL_MS", "200"),
    ];
    let system = start("hanging_transaction", environment).await;
    let topic = system.names.name(Topic::OrderingOrders).to_owned();
    let stranger = Stranger::begin(&system, Topic::OrderingOrders).await;
    system
        .until("the gauge shows it", async || {
            gauge(&system, "saga_readers_held_seconds{").await > 0.5
        })
        .await;
    assert!(gauge(&system, "saga_readers_held_records{").await >= 1.0);
    system
        .until("the log says what to do", async || {
            let instance = system.instance("orchestrator", 0).await;
            let log = std::fs::read_to_string(instance.process.log()).expect("a log");
            log.contains("holds the readers of the topic back")
                && log.contains(&topic)
                && log.contains("kafka-transactions.sh find-hanging")
        })
        .await;

    stranger.abort().await;
    system
        .until("the gauge is at rest", async || {
            gauge(&system, "saga_readers_held_seconds{").await == 0.0
                && gauge(&system, "saga_readers_held_records{").await == 0.0
        })
        .await;
    // Nobody was hurt.
    let cart = order(&system).await;
    system.assert_settled(&[cart]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_switched_on_and_off_between_crashes_lose_nothing_and_go_on_counting() {
    let environment = &[
        ("orchestrator", "PUBLIC_TRANSACTIONS", "false"),
        // What was published last stays in the rows for the next owner.
        ("orchestrator", "SETTLE_AFTER_MS", "60000"),
    ];
    let system = start("transactions_switched", environment).await;
    let sku = product();
    system.set_stock(&sku, 100).await;
    let mut counted = 0;
    let lives = async {
        kill_with_outcomes_in_its_rows(&system, 0, "public_sequence = 0").await;
        assert_eq!(numbered(&system).await, 0, "there were transactions");
        take_over(&system, "true").await;
        kill_with_outcomes_in_its_rows(&system, 1, "public_sequence > 0").await;
        take_over(&system, "false").await;
        // The claim has waited for the last statement of the one that was killed.
        counted = numbered(&system).await;
    };
    let mut carts = system.load_during(Load::new(100, 15.0), lives).await;
    for cart in &carts {
        system.outcome(cart).await;
    }

    // Its outcome is out and in a row, and no batch comes after it: it is published again.
    let last = cart(&sku, 1, 700);
    system.publish(&last).await;
    system.outcome(&last).await;
    assert_eq!(numbered(&system).await, counted, "there were transactions");
    system.kill_instance("orchestrator", 2).await;
    take_over(&system, "true").await;
    let published_again = |seen: &[Seen]| {
        let decided = seen.iter().filter_map(decided);
        let of_last = decided.filter(|checkout| *checkout == checkout_id(last.event_id));
        (of_last.count() > 1).then_some(())
    };
    let what = "the last outcome, once more";
    system.recorder.wait_for(what, published_again).await;

    // From now on there are transactions, and a crash repeats nothing.
    let late: Vec<_> = (0..20).map(|_| cart(&sku, 1, 700)).collect();
    system.publish_all(&late.iter().collect::<Vec<_>>()).await;
    for cart in &late {
        system.outcome(cart).await;
    }
    assert_eq!(numbered(&system).await, counted + 20, "a number for each");
    kill_with_outcomes_in_its_rows(&system, 3, "public_sequence > 0").await;
    let at_last = [("PUBLIC_TRANSACTIONS", "true"), ("SETTLE_AFTER_MS", "1000")];
    system.add_instance_with("orchestrator", &at_last).await;
    carts.push(last);
    carts.extend(late.iter().cloned());
    assert_settled_but_for_repeats(&system, &carts).await;
    assert_repeats_are_the_same(&system, &carts).await;
    system.assert_outcomes_once(&late);
}

/// How many public messages were given a number, as those have that are published in
/// transactions.
async fn numbered(system: &System) -> i64 {
    let sql = "SELECT COALESCE(sum(public_sequence), 0)::int8 FROM progress";
    system.query("orchestrator", sql, &[]).await[0].get(0)
}

/// Kills an orchestrator while a row that is like this has outcomes: what the order service
/// answers to a load leads to nothing else.
async fn kill_with_outcomes_in_its_rows(system: &System, index: usize, like: &str) {
    let sql = format!(
        "SELECT 1 FROM progress WHERE topic = 'ordering.replies' AND outputs <> '' AND {like}"
    );
    let what = format!("orchestrator {index} has outcomes in its rows");
    system
        .until(&what, async || {
            // Frozen, so that the rows are still so when it is killed.
            system.freeze_instance("orchestrator", index).await;
            let holds = !system.query("orchestrator", &sql, &[]).await.is_empty();
            if !holds {
                system.thaw_instance("orchestrator", index).await;
            }
            holds
        })
        .await;
    system.kill_instance("orchestrator", index).await;
}

/// Starts the next orchestrator, with transactions or without, which publishes what it finds
/// in the rows.
async fn take_over(system: &System, transactions: &str) {
    let variables = [("PUBLIC_TRANSACTIONS", transactions)];
    let next = system.add_instance_with("orchestrator", &variables).await;
    let log = std::fs::read_to_string(next.process.log()).expect("a log");
    let says = "publishing stored outputs of the former owner";
    assert!(log.contains(says), "it finds nothing: {log}");
}

/// The checkout whose outcome a record is.
fn decided(seen: &Seen) -> Option<CheckoutId> {
    let message = seen.message.as_ref()?;
    let is_public = message.record_type().topic().is_public();
    message.checkout_id().filter(|_| is_public)
}

/// Waits until everything adds up and is at rest, but for outcomes that are published more
/// than once.
async fn assert_settled_but_for_repeats(system: &System, carts: &[CartCheckedOut]) {
    let target = system.installation().audit_target();
    let options = audit::Options {
        grace: Duration::ZERO,
        second_look: None,
        ..audit::Options::default()
    };
    let is_repeat = |found: &audit::Violation| REPEATS.contains(&found.rule);
    let begin = Instant::now();
    loop {
        let looked = audit::run(&target, &options).await;
        if let Ok(report) = &looked
            && report.violations.iter().all(is_repeat)
        {
            assert!(
                report.carts >= carts.len() as u64,
                "carts are lost: {report}"
            );
            return;
        }
        assert!(
            begin.elapsed() < PATIENCE,
            "not at rest, or lost: {looked:#?}"
        );
        sleep(Duration::from_millis(500)).await;
    }
}

/// Fails unless every cart has an outcome that is the same in all its records, with the same
/// `ce_id`.
async fn assert_repeats_are_the_same(system: &System, carts: &[CartCheckedOut]) {
    let records = system.public_messages().len();
    let all_read = |seen: &[Seen]| {
        let read = seen.iter().filter_map(decided).count();
        (read >= records).then_some(())
    };
    system.recorder.wait_for("every outcome", all_read).await;
    let mut outcomes: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for seen in system.recorder.all() {
        if let Some(checkout) = decided(&seen) {
            let id = seen.header("ce_id").expect("an id");
            let of_checkout = outcomes.entry(checkout).or_default();
            of_checkout.insert((id, seen.topic, seen.payload));
        }
    }
    for cart in carts {
        let found = outcomes.get(&checkout_id(cart.event_id));
        assert_eq!(found.map(BTreeSet::len), Some(1), "{cart:?}: {found:?}");
    }
}
