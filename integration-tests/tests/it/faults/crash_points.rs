//! Services that are killed at one point of their batches, again and again.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use integration_tests::load::Load;
use integration_tests::{Options, PATIENCE, SERVICES, System};
use tokio::time::{sleep, timeout};

/// How soon a dead service is started again.
const LOOK: Duration = Duration::from_millis(50);

/// Each service at another batch, so that they do not die together.
macro_rules! killed_at {
    ($point:literal) => {
        &[
            (
                "orchestrator",
                "FAILPOINTS",
                concat!($point, "=40*off->return"),
            ),
            (
                "inventory",
                "FAILPOINTS",
                concat!($point, "=12*off->return"),
            ),
            ("payment", "FAILPOINTS", concat!($point, "=12*off->return")),
            ("order", "FAILPOINTS", concat!($point, "=8*off->return")),
        ]
    };
}

type Environment = &'static [(&'static str, &'static str, &'static str)];

/// Carts go through while every service dies there in each of its lives; as many as it
/// takes until each has died, for how many make a batch depends on the machine.
async fn survives(name: &str, environment: Environment) {
    let options = Options {
        environment,
        ..Options::default()
    };
    let system = System::start(name, options).await;
    let mut deaths = BTreeSet::new();
    let all_died = AtomicBool::new(false);
    let each_dies = async {
        let died = async || {
            while !all_died.load(Ordering::Relaxed) {
                sleep(LOOK).await;
            }
        };
        let died = timeout(PATIENCE, died()).await;
        died.expect("each service dies");
    };
    let going = async {
        let carts = system.load_during(Load::new(200, 40.0), each_dies).await;
        system.assert_settled(&carts).await;
    };
    tokio::pin!(going);
    loop {
        tokio::select! {
            () = &mut going => break,
            () = sleep(LOOK) => {}
        }
        for service in SERVICES {
            let died = system.with_instance(service, 0, async |instance| {
                if instance.process.pid().is_some() {
                    return false;
                }
                let status = instance
                    .process
                    .wait_ended(PATIENCE)
                    .await
                    .expect("it ended");
                assert!(
                    status.contains("SIGKILL"),
                    "{service} ended by itself: {status}"
                );
                // It may die once more before it is ready.
                instance
                    .process
                    .start_again()
                    .await
                    .expect("it starts again");
                true
            });
            if died.await {
                deaths.insert(service);
            }
        }
        all_died.store(deaths.len() == SERVICES.len(), Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_transaction_each_service_loses_nothing() {
    survives("killed_before", killed_at!("before-transaction")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_transaction_each_service_loses_nothing() {
    survives("killed_in", killed_at!("in-transaction")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_commit_and_publishing_each_service_loses_nothing() {
    survives("killed_after_commit", killed_at!("after-commit")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_publishing_each_service_doubles_nothing() {
    survives("killed_publishing", killed_at!("while-publishing")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_publishing_each_service_doubles_nothing() {
    survives("killed_published", killed_at!("after-publishing")).await;
}

/// `cargo build --release` builds what is shipped; features of tests are not in it.
#[test]
fn what_is_shipped_has_no_fail_points() {
    for service in SERVICES {
        let tree = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--locked",
                "--offline",
                "--edges",
                "normal,features",
                "-p",
                service,
            ])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .expect("cargo tree");
        let tree = String::from_utf8(tree.stdout).expect("UTF-8");
        assert!(tree.contains("runtime v"), "{tree}");
        assert!(
            !tree.contains("fail v"),
            "{service} has fail points: {tree}"
        );
    }
}
