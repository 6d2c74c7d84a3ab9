//! Instances that are frozen past their session, and wake when others own what was theirs.

use std::time::Duration;

use contracts::messages::CartCheckedOut;
use contracts::{RecordType, Topic};
use flow::Step;
use integration_tests::carts::cart;
use integration_tests::load::Load;
use integration_tests::{EVERY, Options, System, participant, product};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use stack::Service;
use tokio::time::sleep;

use super::instances::{everywhere, works};

/// Carts a second. The load goes on for as long as the fault does.
const RATE: f64 = 15.0;

/// Of the fourth batch: time enough to freeze the instance in it.
const HOLD_AFTER_THIRD_COMMIT: &str = "after-commit=3*off->1*sleep(20000)->off";
/// Of the first public transaction: the same.
const HOLD_IN_TRANSACTION: &str = "in-public-transaction=1*sleep(30000)->off";

/// Of the first public transaction, before it is proved by whom it is: time enough to take its
/// partitions away.
const HOLD_BEFORE_OFFSETS: &str = "before-public-offsets=1*sleep(55000)->off";
/// Partitions are given out by the names of the members, and all are taken from everybody
/// before.
const LAST_BY_RANGE: &str = "partition.assignment.strategy=range\nclient.id=z";
const FIRST_BY_RANGE: &str = "partition.assignment.strategy=range\nclient.id=a";

/// The name at Kafka of the instance that takes over.
const SUCCESSOR: &str = "successor";
/// It is held up nowhere, and logs what Kafka answers about committed offsets.
const TELLING: &[(&str, &str)] = &[
    ("FAILPOINTS", ""),
    ("KAFKA_PROPERTIES", "client.id=successor\ndebug=topic"),
    ("LOG", "info,librdkafka=debug"),
];
/// How long one question about a group may take.
const GROUP_LIMIT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_that_wakes_after_a_take_over_changes_nothing() {
    let options = Options {
        instances: 2,
        ..Options::default()
    };
    let system = System::start("zombies", options).await;
    let zombies = async {
        everywhere(async |service| {
            system.wait_shared(service).await;
            works(&system, service, &[0, 1]).await;
            system.freeze_instance(service, 0).await;
        })
        .await;
        everywhere(async |service| {
            // Their sessions are over.
            system.wait_alone(service, 1).await;
            system.thaw_instance(service, 0).await;
            // It notices that it has lost everything, and is given a share anew.
            system.wait_shared(service).await;
            works(&system, service, &[0, 1]).await;
        })
        .await;
    };
    let carts = system.load_during(Load::new(100, RATE), zombies).await;
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_frozen_inside_its_transaction_is_fenced() {
    let options = Options {
        environment: &[
            // Every batch handles something: none is made to tidy up.
            (EVERY, "SETTLE_AFTER_MS", "30000"),
            // The server ends the transaction of a frozen instance so soon.
            (EVERY, "DATABASE_TIMEOUT_MS", "5000"),
        ],
        ..Options::default()
    };
    let system = System::start("fenced", options).await;
    let zombies = async {
        // Downstream first: whoever is still awake sends the next one work.
        let participants = Step::ALL.iter().rev().map(|step| participant(*step));
        for service in participants.chain([Service::Orchestrator]) {
            freeze_inside_a_transaction(&system, service).await;
        }
        everywhere(async |service| {
            // The successor is ready when it owns what was the zombie's.
            system.add_instance(service).await;
            works(&system, service, &[1]).await;
        })
        .await;
        everywhere(async |service| {
            system.thaw_instance(service, 0).await;
            let what = format!("the batch of the zombie {service} is refused");
            system
                .until(&what, async || {
                    let fenced = "kind=\"fenced\"";
                    let faults = system.counted(service, 0, "saga_faults_total", fenced);
                    faults.await > 0.0
                })
                .await;
            system.wait_shared(service).await;
        })
        .await;
    };
    let carts = system.load_during(Load::new(100, RATE), zombies).await;
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_that_has_committed_outcomes_does_not_publish_them_again() {
    let options = Options {
        environment: &[
            ("orchestrator", "FAILPOINTS", HOLD_AFTER_THIRD_COMMIT),
            ("orchestrator", "SETTLE_AFTER_MS", "30000"),
        ],
        ..Options::default()
    };
    let system = System::start("published_once", options).await;
    let carts: Vec<_> = (0..60).map(|_| senseless()).collect();
    for cart in &carts[..3] {
        system.publish(cart).await;
        system.outcome(cart).await;
    }
    system
        .publish_all(&carts[3..].iter().collect::<Vec<_>>())
        .await;
    // Committed, and held before the publishing.
    let mut before = None;
    system
        .until("a batch is held after its commit", async || {
            sleep(Duration::from_secs(1)).await;
            let committed = system.query("orchestrator", "SELECT count(*) FROM sagas", &[]);
            let committed: i64 = committed.await[0].get(0);
            let seen = system.recorder.all();
            let outcomes = seen
                .iter()
                .filter(|seen| seen.record_type() == Some(RecordType::CheckoutFailed));
            let now = (committed.unsigned_abs() as usize, outcomes.count());
            now.0 > now.1 && before.replace(now) == Some(now)
        })
        .await;
    system.freeze_instance("orchestrator", 0).await;
    system
        .add_instance_with("orchestrator", &[("FAILPOINTS", "")])
        .await;
    let log = system.log("orchestrator", 1).await;
    let published = published_for_another(&log);
    assert!(published > 0, "the zombie had something to publish: {log}");
    system.thaw_instance("orchestrator", 0).await;
    system
        .until("the zombie is refused", async || {
            let log = system.log("orchestrator", 0).await;
            log.contains("leaving the group; starting again")
        })
        .await;
    system.wait_shared("orchestrator").await;
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_that_commits_its_public_transaction_after_a_take_over_is_waited_for() {
    // As long as Kafka allows: it is not to end before the zombie wakes.
    let (system, carts) = frozen_in_a_public_transaction("late_commit", "60000").await;
    let client: BaseConsumer = ClientConfig::new()
        .set(
            "bootstrap.servers",
            &system.installation().bootstrap_servers,
        )
        .create()
        .expect("a client");
    let taken_over = async {
        let what = "the successor is alone in the group";
        let alone = async || is_alone_in_the_group(&client, &system, SUCCESSOR);
        system.until(what, alone).await;
        // Now it asks what was published; nothing tells of that before it has the answer.
        sleep(Duration::from_secs(5)).await;
        system.thaw_instance("orchestrator", 0).await;
    };
    // It is ready when it owns what was the zombie's.
    let added = system.add_instance_with("orchestrator", TELLING);
    tokio::join!(added, taken_over);
    until_it_has_waited(&system).await;
    // The first outcome came by the zombie's transaction, and the mark in it says so. The
    // zombie has the others in hand, too, but not the right to publish them any more.
    let published = published_for_another(&system.log("orchestrator", 1).await);
    assert_eq!(published, carts.len() - 1, "all but what was committed");
    assert_goes_on_after_a_zombie(&system, carts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_whose_public_transaction_was_ended_by_kafka_cannot_commit_it() {
    // Longer than its session, so that the successor meets it while it is open.
    let (system, carts) = frozen_in_a_public_transaction("ended_by_kafka", "55000").await;
    // The zombie sleeps on: only Kafka can end what the successor waits for.
    system.add_instance_with("orchestrator", TELLING).await;
    until_it_has_waited(&system).await;
    let published = published_for_another(&system.log("orchestrator", 1).await);
    assert_eq!(published, carts.len(), "nothing was committed");
    for cart in &carts {
        system.outcome(cart).await;
    }
    system.thaw_instance("orchestrator", 0).await;
    assert_goes_on_after_a_zombie(&system, carts).await;
}

/// Kafka asks who proves to be a member, not whose partitions a transaction is about. An
/// orchestrator whose partitions are taken without its being ready joins anew at once, and
/// must not prove by that what it had in hand before.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_in_hand_is_not_committed_by_the_membership_that_comes_next() {
    let options = Options {
        // Checkouts that wait leave messages in the rows, and bring no batch of their own.
        services: integration_tests::all_but("payment"),
        environment: &[
            ("orchestrator", "REPLY_WAIT_FIRST_MS", "600000"),
            ("orchestrator", "REPLY_WAIT_MAX_MS", "600000"),
            ("orchestrator", "SETTLE_AFTER_MS", "600000"),
            ("orchestrator", "READERS_CHECK_INTERVAL_MS", "200"),
            ("orchestrator", "TRANSACTION_TIMEOUT_MS", "60000"),
            ("orchestrator", "FAILPOINTS", HOLD_BEFORE_OFFSETS),
            ("orchestrator", "KAFKA_PROPERTIES", LAST_BY_RANGE),
        ],
        ..Options::default()
    };
    let system = System::start("next_membership", options).await;
    let sku = product();
    system.set_stock(&sku, 100).await;
    let mut carts: Vec<_> = (0..20).map(|_| cart(&sku, 1, 700)).collect();
    system.publish_all(&carts.iter().collect::<Vec<_>>()).await;
    for cart in &carts {
        system.record(cart, RecordType::AuthorizePayment).await;
    }
    // Its outcome is of the first partition, which goes to the other one.
    let in_hand = senseless();
    let record = in_hand.clone().into();
    system
        .publish_at(Topic::ShoppingCheckouts, 0, &record)
        .await;
    let open = async || {
        let held = system.counted("orchestrator", 0, "saga_readers_held_records", "");
        held.await > 0.0
    };
    system.until("the outcome is in a transaction", open).await;

    // It learns by that, when it tidies up, that it does not own them any more.
    let claims = "UPDATE progress SET epoch = epoch + 1 WHERE topic = 'inventory.events'";
    system.execute("orchestrator", claims).await;
    let first = [
        ("FAILPOINTS", ""),
        ("KAFKA_PROPERTIES", FIRST_BY_RANGE),
        ("SETTLE_AFTER_MS", "1000"),
    ];
    system.add_instance_with("orchestrator", &first).await;
    let published = published_for_another(&system.log("orchestrator", 1).await);
    assert_eq!(published, 1, "the new owner found the outcome in the row");
    let log = system.log("orchestrator", 0).await;
    let ended = "leaving the group; starting again";
    assert!(log.contains("giving partitions up"), "{log}");
    assert!(!log.contains(ended), "it has the outcome in hand: {log}");
    system.until_logged("orchestrator", ended).await;

    // The other one goes on alone, and does not put off what is to be tidied up.
    system.stop("orchestrator").await;
    system.start_service("payment").await;
    carts.push(in_hand);
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
}

/// A cart that makes no sense: its first batch has an outcome to publish.
fn senseless() -> CartCheckedOut {
    CartCheckedOut {
        total: 1,
        ..cart("sku", 1, 700)
    }
}

/// A system whose only orchestrator is frozen inside its first public transaction, which
/// has the first cart's outcome, and with the outcomes of the others in hand. Kafka ends the
/// transaction after `limit_ms`.
async fn frozen_in_a_public_transaction(
    name: &str,
    limit_ms: &str,
) -> (System, Vec<CartCheckedOut>) {
    let options = Options {
        environment: &[
            ("orchestrator", "FAILPOINTS", HOLD_IN_TRANSACTION),
            ("orchestrator", "READERS_CHECK_INTERVAL_MS", "200"),
        ],
        ..Options::default()
    };
    let limit = ("orchestrator", "TRANSACTION_TIMEOUT_MS", limit_ms.into());
    let system = System::start_with(name, options, vec![limit]).await;
    let mut carts = vec![senseless()];
    system.publish(&carts[0]).await;
    let open = async || {
        let held = system.counted("orchestrator", 0, "saga_readers_held_records", "");
        held.await > 0.0
    };
    system
        .until("the first outcome is in a transaction", open)
        .await;
    carts.extend((0..20).map(|_| senseless()));
    system
        .publish_all(&carts[1..].iter().collect::<Vec<_>>())
        .await;
    let committed = async || {
        let rows = system.query("orchestrator", "SELECT 1 FROM sagas", &[]);
        rows.await.len() == carts.len()
    };
    system.until("the others are in the rows", committed).await;
    system.freeze_instance("orchestrator", 0).await;
    let seen = system.recorder.outcomes();
    assert_eq!(seen, 0, "the transaction was over before the freeze");
    (system, carts)
}

/// Whether an instance of this name at Kafka is the only member of the orchestrator's group,
/// and has been told what it owns.
fn is_alone_in_the_group(client: &BaseConsumer, system: &System, name: &str) -> bool {
    let group = format!(
        "{}checkout-orchestrator",
        system.installation().topic_prefix
    );
    let asked = || client.fetch_group_list(Some(&group), GROUP_LIMIT);
    // Where no answer came, it is asked again.
    tokio::task::block_in_place(asked).is_ok_and(|found| {
        found.groups().iter().any(|group| {
            let is_it = matches!(group.members(), [member] if member.client_id() == name);
            is_it && group.state() == "Stable"
        })
    })
}

/// Waits until the log of the second orchestrator says that an open transaction had offsets
/// which it asked for; what librdkafka says during a rebalance is logged after it.
async fn until_it_has_waited(system: &System) {
    let has_waited = async || {
        let log = system.log("orchestrator", 1).await;
        let mut answers = log
            .lines()
            .filter(|line| line.contains("unstable partition(s)"));
        answers.any(|line| !line.contains("(0 unstable"))
    };
    let what = "the successor has met the open transaction";
    system.until(what, has_waited).await;
}

/// How many public messages an instance has published for a former owner, by its log.
fn published_for_another(log: &str) -> usize {
    let lines = log.lines();
    lines
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| usize::try_from(line["public"].as_u64()?).ok())
        .sum()
}

/// Waits until the first orchestrator, which was a zombie, begins anew, and both it and its
/// successor are at work; every cart has its outcome once.
async fn assert_goes_on_after_a_zombie(system: &System, mut carts: Vec<CartCheckedOut>) {
    let refused = "leaving the group; starting again";
    system.until_logged("orchestrator", refused).await;
    let both_work = async {
        system.wait_shared("orchestrator").await;
        works(system, "orchestrator", &[0, 1]).await;
    };
    carts.extend(system.load_during(Load::new(40, RATE), both_work).await);
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
}

/// Freezes the only instance of a service when its batch has begun a
/// transaction, waits for a row that the test holds, and has not written
/// anything; then lets the row go.
async fn freeze_inside_a_transaction(system: &System, service: Service) {
    let client = system
        .installation()
        .connect(service)
        .await
        .expect("a connection");
    let hold = "BEGIN; SELECT 1 FROM progress ORDER BY topic, partition FOR UPDATE";
    client.batch_execute(hold).await.expect("the rows are held");
    let waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() \
                 AND wait_event_type = 'Lock' AND query LIKE '%FROM progress%FOR UPDATE%'";
    system
        .until(&format!("a batch of {service} waits"), async || {
            // Over a connection of its own: a transaction sees one state only.
            !system.query(service.name(), waits, &[]).await.is_empty()
        })
        .await;
    system.freeze_instance(service.name(), 0).await;
    client.batch_execute("ROLLBACK").await.expect("let go");
}
