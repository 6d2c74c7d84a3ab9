//! Instances that die, come, go and hang.

use std::time::{Duration, Instant};

use contracts::RecordType;
use contracts::messages::CartCheckedOut;
use flow::Step;
use futures::future::join_all;
use integration_tests::carts::cart;
use integration_tests::load::Load;
use integration_tests::{EVERY, Network, Options, PATIENCE, SERVICES, System, participant, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use stack::Service;
use tokio::time::sleep;

/// Carts a second. The load goes on for as long as the fault does.
const RATE: f64 = 15.0;

/// Of the fourth batch: time enough to freeze the instance in it.
const HOLD_AFTER_THIRD_COMMIT: &str = "after-commit=3*off->1*sleep(20000)->off";
/// Of the first public transaction: the same.
const HOLD_IN_TRANSACTION: &str = "in-public-transaction=1*sleep(20000)->off";

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
async fn every_service_is_killed_at_random_moments() {
    let system = System::start("killed_at_random", Options::default()).await;
    let seed = seed();
    // Side by side, so that services also die and return together.
    let kills = join_all(SERVICES.iter().zip(0..).map(async |(service, number)| {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(number));
        for _ in 0..3 {
            sleep(Duration::from_millis(random.random_range(0..3_000))).await;
            system.kill_instance(service, 0).await;
            sleep(Duration::from_millis(random.random_range(0..1_000))).await;
            system.restart_instance(service, 0).await;
        }
    }));
    let carts = system
        .load_during(Load::new(100, RATE), async {
            kills.await;
        })
        .await;
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_and_three_instances_share_the_work_as_they_join_and_leave() {
    let options = Options {
        instances: 2,
        // Whoever leaves says so: nobody waits until its session is over.
        environment: &[(EVERY, "SESSION_TIMEOUT_MS", "600000")],
        ..Options::default()
    };
    let system = System::start("join_and_leave", options).await;
    let changes = async {
        everywhere(async |service| {
            system.wait_shared(service).await;
            works(&system, service, &[0, 1]).await;
        })
        .await;
        everywhere(async |service| {
            system.add_instance(service).await;
            system.wait_shared(service).await;
            works(&system, service, &[0, 1, 2]).await;
        })
        .await;
        everywhere(async |service| {
            system.stop_instance(service, 0).await;
            system.wait_shared(service).await;
            works(&system, service, &[1, 2]).await;
            system.stop_instance(service, 1).await;
            system.wait_shared(service).await;
            works(&system, service, &[2]).await;
            system.restart_instance(service, 0).await;
            system.wait_shared(service).await;
            works(&system, service, &[0, 2]).await;
        })
        .await;
    };
    let carts = system.load_during(Load::new(100, RATE), changes).await;
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
    for service in SERVICES {
        let fenced = "kind=\"fenced\"";
        for index in [0, 2] {
            let faults = system.counted(service, index, "saga_faults_total", fenced);
            assert_eq!(
                faults.await,
                0.0,
                "{service} {index}: those who leave in order fence nobody"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_instances_are_replaced_by_those_that_stay() {
    let options = Options {
        instances: 3,
        ..Options::default()
    };
    let system = System::start("killed_of_three", options).await;
    let kills = async {
        everywhere(async |service| {
            system.wait_shared(service).await;
            works(&system, service, &[0, 1, 2]).await;
            system.kill_instance(service, 0).await;
            system.wait_shared(service).await;
            works(&system, service, &[1, 2]).await;
            system.kill_instance(service, 1).await;
            // It returns while the others still take its death for a pause.
            system.restart_instance(service, 1).await;
            system.restart_instance(service, 0).await;
            system.wait_shared(service).await;
            works(&system, service, &[0, 1, 2]).await;
        })
        .await;
    };
    let carts = system.load_during(Load::new(100, RATE), kills).await;
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
}

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
    for cart in &carts {
        system.publish(cart).await;
    }
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
        sleep(Duration::from_secs(1)).await;
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
    let (system, carts) = frozen_in_a_public_transaction("ended_by_kafka", "20000").await;
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
    for cart in &carts[1..] {
        system.publish(cart).await;
    }
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
    let hold = "BEGIN; SELECT 1 FROM progress FOR UPDATE";
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

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_move_during_an_outage_of_the_database_are_read_when_they_return() {
    let options = Options {
        proxies: true,
        ..Options::default()
    };
    let system = System::start("moved_in_outage", options).await;
    let product = integration_tests::product();
    system.set_stock(&product, 1_000).await;
    let network = &system.proxies().databases["order"];
    network.set(Network::Down);
    // One by one, so that they are as many batches, until no more fit in.
    let mut carts = Vec::new();
    let begin = Instant::now();
    let paused = async || system.counted("order", 0, "saga_reading_paused", "").await > 0.0;
    while !paused().await {
        let waits = begin.elapsed() < PATIENCE;
        assert!(waits, "reading goes on without a database");
        let cart = cart(&product, 1, 500);
        system.publish(&cart).await;
        system.record(&cart, RecordType::CreateOrder).await;
        carts.push(cart);
    }
    let reachable = system.installation().database_url(Service::Order);
    system
        .add_instance_with("order", &[("DATABASE_URL", reachable)])
        .await;
    system.until_logged("order", "giving partitions up").await;
    network.set(Network::Up);
    system.wait_shared("order").await;
    system.stop_instance("order", 1).await;
    system.wait_shared("order").await;
    for _ in 0..20 {
        let cart = cart(&product, 1, 500);
        system.publish(&cart).await;
        carts.push(cart);
    }
    system.assert_settled(&carts).await;
}

/// Does the same with every service, side by side.
pub async fn everywhere(act: impl AsyncFn(&'static str)) {
    join_all(SERVICES.iter().map(|service| act(service))).await;
}

/// Waits until each of these instances has handled more than it has now.
pub async fn works(system: &System, service: &str, indices: &[usize]) {
    let handled = async |index| {
        let outcome = "outcome=\"handled\"";
        system
            .counted(service, index, "saga_inputs_total", outcome)
            .await
    };
    join_all(indices.iter().map(async |index| {
        let before = handled(*index).await;
        system
            .until(
                &format!("{service} {index} handles something"),
                async || handled(*index).await > before,
            )
            .await;
    }))
    .await;
}
