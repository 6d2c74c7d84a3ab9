//! All faults at once.

use std::time::Duration;

use integration_tests::storm::{Fault, Scene, Storm};
use integration_tests::{Options, System};

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_every_fault_loses_nothing_and_doubles_nothing() {
    let storm = Storm {
        seed: 4,
        length: Duration::from_secs(45),
        rate: 15.0,
        faults_per_minute: 40.0,
        scene: Scene {
            instances: 2,
            brokers: 1,
        },
    };
    let system = System::start(
        "storm",
        Options {
            instances: 2,
            own_brokers: 1,
            ..Options::default()
        },
    )
    .await;
    let aftermath = storm.rage(&system, &|event| println!("{event}")).await;
    assert_eq!(
        aftermath.faults.len(),
        Fault::ALL.len(),
        "every kind: {:?}",
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
}
