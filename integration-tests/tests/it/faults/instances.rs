//! Instances that die, come, go and hang.

use std::time::{Duration, Instant};

use contracts::RecordType;
use futures::future::join_all;
use integration_tests::carts::cart;
use integration_tests::load::Load;
use integration_tests::{EVERY, Network, Options, PATIENCE, SERVICES, System, seed};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stack::Service;
use tokio::time::sleep;

/// Carts a second. The load goes on for as long as the fault does.
const RATE: f64 = 15.0;

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
        environment: &[(EVERY, "SESSION_TIMEOUT_MS", "60000")],
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

/// It goes on heartbeating: its session does not end.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_does_not_come_to_a_rebalance_holds_up_nobody_for_long() {
    let options = Options {
        environment: &[
            ("order", "REJOIN_TIMEOUT_MS", "10000"),
            // In its second rebalance.
            (
                "order",
                "FAILPOINTS",
                "before-assignment=1*off->1*sleep(3600000)->off",
            ),
        ],
        ..Options::default()
    };
    let system = System::start("does_not_come", options).await;
    let joining = async {
        let well = [("FAILPOINTS", "")];
        system.add_instance_with("order", &well).await;
        system.add_instance_with("order", &well).await;
        works(&system, "order", &[1, 2]).await;
    };
    let carts = system.load_during(Load::new(40, RATE), joining).await;
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
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
