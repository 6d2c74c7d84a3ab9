//! Instances that die, come, go and hang.

use std::time::Duration;

use integration_tests::load::Load;
use integration_tests::{Options, PATIENCE, SERVICES, System};

/// Longer than the session time-out that the harness sets, so that the broker
/// has given a paused instance's partitions to another.
const PAST_THE_SESSION: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_that_wakes_after_a_take_over_changes_nothing() {
    let options = Options {
        instances: 2,
        ..Options::default()
    };
    let system = System::start("zombies", options).await;
    let zombies = async {
        for service in SERVICES {
            system
                .with_instance(service, 0, async |instance| {
                    instance.process.pause().expect("paused");
                })
                .await;
        }
        tokio::time::sleep(PAST_THE_SESSION).await;
        for service in SERVICES {
            system
                .with_instance(service, 0, async |instance| {
                    instance.process.resume().expect("resumed");
                    instance.wait_ready(PATIENCE).await.expect("ready again");
                })
                .await;
        }
    };
    let (carts, ()) = tokio::join!(system.load(Load::new(300, 20.0)), zombies);
    system.assert_settled(&carts).await;
}
