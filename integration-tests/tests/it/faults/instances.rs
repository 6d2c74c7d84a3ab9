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
use stack::Service;
use tokio::time::sleep;

/// Carts a second. The load goes on for as long as the fault does.
const RATE: f64 = 15.0;

/// Of the fourth batch: time enough to freeze the instance in it.
const HOLD_AFTER_THIRD_COMMIT: &str = "after-commit=3*off->1*sleep(20000)->off";

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
    // They make no sense, so that every batch has an outcome to publish.
    let carts: Vec<_> = (0..60)
        .map(|_| CartCheckedOut {
            total: 1,
            ..cart("sku", 1, 700)
        })
        .collect();
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
    let successor = system.instance("orchestrator", 1).await;
    let log = std::fs::read_to_string(successor.process.log()).expect("a log");
    let published: u64 = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| line["public"].as_u64())
        .sum();
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
