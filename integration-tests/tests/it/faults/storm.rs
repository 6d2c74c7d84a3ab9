//! All faults at once.

use std::collections::BTreeSet;
use std::time::Duration;

use integration_tests::seed_or;
use integration_tests::storm::{Fault, Ground, Scene, Storm, Watch};

/// Records that are remembered: all.
const REMEMBERED: usize = usize::MAX;

/// The storm of the first seed from here on that brings every kind of fault in so short a
/// time.
fn bringing_all(seed: u64) -> Storm {
    let storm = |seed| Storm {
        seed,
        length: Duration::from_secs(50),
        rate: 12.0,
        faults_per_minute: 80.0,
        scene: Scene {
            instances: 2,
            brokers: 1,
        },
    };
    let brings_all = |storm: &Storm| {
        let events = storm.schedule();
        let kinds: BTreeSet<_> = events.iter().map(|event| event.fault).collect();
        kinds.len() == Fault::ALL.len()
    };
    let mut storms = (seed..seed + 10_000).map(storm);
    storms.find(brings_all).expect("one of them")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_every_fault_loses_nothing_and_doubles_nothing() {
    let storm = bringing_all(seed_or(4));
    println!("the seed of the storm is {}", storm.seed);
    let ground = Ground::start("storm", storm.scene, REMEMBERED).await;
    let watch = Watch::new(|event| println!("{event}"));
    let aftermath = storm.rage(&ground, &watch).await;
    assert_eq!(
        aftermath.faults.len(),
        Fault::ALL.len(),
        "{:?}",
        aftermath.faults
    );
    assert!(
        aftermath.ended.is_empty(),
        "services ended: {:?}",
        aftermath.ended
    );
    assert!(
        aftermath.report.violations.is_empty(),
        "{}",
        aftermath.report
    );
    assert!(aftermath.gateway.is_empty(), "{:?}", aftermath.gateway);
    assert!(
        aftermath.report.carts >= aftermath.carts as u64,
        "of {} carts published not all are on the topic: {}",
        aftermath.carts,
        aftermath.report
    );
    // There was something to lose.
    let system = &ground.system;
    let late = "SELECT count(*) FROM saga_transitions WHERE outcome = 'step_in_doubt'";
    let late: i64 = system.query("orchestrator", late, &[]).await[0].get(0);
    assert!(late > 0, "no record was late");
    assert!(ground.gateway.misbehaved() > 0, "the gateway behaved");
    assert!(aftermath.report.orders > 0, "nothing was ordered");
}
