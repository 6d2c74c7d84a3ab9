//! Instances that Kafka is out of reach of, and of whom nobody else loses anything: their
//! databases they still reach.

use futures::future::join_all;
use integration_tests::load::Load;
use integration_tests::{Network, Options, Proxy, SERVICES, System};
use stack::PartKind;

use super::instances::{everywhere, works};

/// Carts a second.
const RATE: f64 = 15.0;

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_are_cut_off_from_kafka_alone_are_replaced_and_come_back() {
    let system = System::start("cut_off", Options::default()).await;
    let broker = system.parts(PartKind::Kafka)[0];
    let detour = broker.detour.as_ref().expect("a second address");
    let network = Proxy::start_at(&detour.told, &detour.listens).await;
    join_all(SERVICES.iter().map(|service| {
        let variables = [("KAFKA_BOOTSTRAP_SERVERS", detour.told.as_str())];
        let system = &system;
        async move { system.add_instance_with(service, &variables).await }
    }))
    .await;
    let cut = async {
        everywhere(async |service| {
            system.wait_shared(service).await;
            works(&system, service, &[0, 1]).await;
        })
        .await;
        network.set(Network::Frozen);
        everywhere(async |service| {
            // Kafka has put the other out, and what it had is here.
            system.wait_alone(service, 0).await;
            works(&system, service, &[0]).await;
            // It finds that out by itself.
            let found_out = async || {
                let log = system.log(service, 1).await;
                log.contains(r#""lost":true"#)
            };
            let what = format!("the {service} that is cut off gives everything up");
            system.until(&what, found_out).await;
        })
        .await;
        network.set(Network::Up);
        everywhere(async |service| {
            system.wait_shared(service).await;
            works(&system, service, &[0, 1]).await;
        })
        .await;
    };
    let before = pids(&system).await;
    let carts = system.load_during(Load::new(100, RATE), cut).await;
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
    assert_eq!(pids(&system).await, before, "no service ended");
}

async fn pids(system: &System) -> Vec<Option<u32>> {
    let of = SERVICES.iter().map(|service| system.instances(service));
    let all = join_all(of).await;
    let all = all.iter().flatten();
    all.map(|instance| instance.process.pid()).collect()
}
