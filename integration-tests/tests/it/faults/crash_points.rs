//! Services that are killed at one point of their batches, again and again.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use integration_tests::load::Load;
use integration_tests::{EVERY, Options, PATIENCE, SERVICES, System};
use stack::Service;
use tokio::time::{sleep, timeout};

/// How soon a dead service is started again.
const LOOK: Duration = Duration::from_millis(50);

/// Each service at another batch, so that they do not die together.
macro_rules! killed_at {
    ($point:literal $(, $more:expr)*) => {
        &[
            (EVERY, "FAILPOINTS", concat!($point, "=10*off->return")),
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
            $($more),*
        ]
    };
}

type Environment = &'static [(&'static str, &'static str, &'static str)];

/// Carts go through while each of these services dies at its fail point in each of its
/// lives; as many as it takes until each has died, for how many make a batch depends on
/// the machine.
async fn survives(name: &str, mortals: &[&'static str], environment: Environment) {
    let options = Options {
        environment,
        ..Options::default()
    };
    let system = System::start(name, options).await;
    let mut deaths: BTreeMap<&str, usize> = BTreeMap::new();
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
        carts
    };
    tokio::pin!(going);
    let carts = loop {
        tokio::select! {
            carts = &mut going => break carts,
            () = sleep(LOOK) => {}
        }
        for service in mortals.iter().copied() {
            let died = system.with_instance(service, 0, async |instance| {
                if instance.process.pid().is_some() {
                    return false;
                }
                let status = instance
                    .process
                    .wait_ended(PATIENCE)
                    .await
                    .expect("it ended");
                // The log is that of all its lives.
                let log = std::fs::read_to_string(instance.process.log()).expect("a log");
                let killed = log.matches("killed at the fail point").count();
                let before = deaths.get(service).copied().unwrap_or_default();
                assert!(
                    status.contains("SIGKILL") && killed == before + 1,
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
                *deaths.entry(service).or_default() += 1;
            }
        }
        all_died.store(deaths.len() == mortals.len(), Ordering::Relaxed);
    };
    system.assert_outcomes_once(&carts);
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_transaction_each_service_loses_nothing() {
    survives("killed_before", SERVICES, killed_at!("before-transaction")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_transaction_each_service_loses_nothing() {
    // A batch that keeps no rows reads, and its transaction is open meanwhile.
    let environment = killed_at!("in-transaction", (EVERY, "MAX_CACHED_ROWS", "0"));
    survives("killed_in", SERVICES, environment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_commit_and_publishing_each_service_loses_nothing() {
    survives("killed_after_commit", SERVICES, killed_at!("after-commit")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_publishing_each_service_doubles_nothing() {
    survives(
        "killed_publishing",
        SERVICES,
        killed_at!("while-publishing"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_publishing_each_service_doubles_nothing() {
    survives("killed_published", SERVICES, killed_at!("after-publishing")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_public_transaction_the_orchestrator_publishes_outcomes_once() {
    let environment = &[
        (
            "orchestrator",
            "FAILPOINTS",
            "in-public-transaction=8*off->return",
        ),
        // Until then nobody reads on, nor takes the partitions over.
        ("orchestrator", "TRANSACTION_TIMEOUT_MS", "2000"),
    ];
    survives("killed_in_public", &["orchestrator"], environment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_a_public_transaction_the_orchestrator_publishes_outcomes_once() {
    let environment = &[(
        "orchestrator",
        "FAILPOINTS",
        "after-public-transaction=8*off->return",
    )];
    survives("killed_after_public", &["orchestrator"], environment).await;
}

/// What the server has been asked, it does, although nobody waits for it any more.
#[tokio::test(flavor = "multi_thread")]
async fn killed_with_its_statement_under_way_each_service_loses_nothing() {
    let options = Options {
        environment: &[
            // Every batch has something to publish: none is made to tidy up.
            (EVERY, "SETTLE_AFTER_MS", "60000"),
            // The server gives nothing up meanwhile.
            (EVERY, "DATABASE_TIMEOUT_MS", "120000"),
        ],
        ..Options::default()
    };
    let system = System::start("killed_under_way", options).await;
    let kills = async {
        for service in Service::ALL {
            kill_with_a_statement_under_way(&system, *service).await;
        }
    };
    let carts = system.load_during(Load::new(100, 20.0), kills).await;
    // What is tidied up is so a minute later.
    let at_rest = system.try_settle(|_| false, |_| (), 2 * PATIENCE).await;
    at_rest.expect("an audit");
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
    system.assert_no_dead_letters();
}

/// Batches that read first, until one is met that is one statement.
const HOLDS_MAX: usize = 20;

/// Kills the only instance of a service while all that its batch writes waits for a row
/// which the test holds, starts the service again, and lets go when that waits for the row,
/// too. It is the row that a successor claims first: so it is behind the batch, and has
/// nothing yet that the batch may want.
async fn kill_with_a_statement_under_way(system: &System, service: Service) {
    let name = service.name();
    let installation = system.installation();
    let client = installation.connect(service).await.expect("a connection");
    // Over a connection of its own: a transaction sees one state only.
    let waiting = async || -> Vec<bool> {
        let sql = "SELECT starts_with(query, 'WITH part_0') FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let rows = system.query(name, sql, &[]).await;
        rows.iter().map(|row| row.get(0)).collect()
    };
    // After a command that came twice, as after the death of who sent it, a hundred batches
    // read.
    let at_once = async || {
        let result = "result=\"hit\"";
        system
            .counted(name, 0, "saga_row_cache_total", result)
            .await
    };
    let mut is_held = false;
    for _ in 0..HOLDS_MAX {
        let before = at_once().await;
        let what = format!("{name} writes without reading first");
        system.until(&what, async || at_once().await > before).await;
        let hold = "BEGIN; SELECT 1 FROM progress ORDER BY topic, partition LIMIT 1 FOR UPDATE";
        client.batch_execute(hold).await.expect("the row is held");
        let what = format!("a batch of {name} waits");
        system
            .until(&what, async || !waiting().await.is_empty())
            .await;
        is_held = waiting().await.contains(&true);
        if is_held {
            break;
        }
        client.batch_execute("ROLLBACK").await.expect("let go");
    }
    assert!(is_held, "{name} reads before it writes, always");
    system.kill_instance(name, 0).await;
    let instance = system.instance(name, 0).await;
    let started = instance.process.start_again().await;
    started.expect("it starts again");
    let what = format!("the next {name} waits for what is written");
    system
        .until(&what, async || waiting().await.contains(&false))
        .await;
    client.batch_execute("ROLLBACK").await.expect("let go");
    system
        .until_logged(name, "publishing stored outputs of the former owner")
        .await;
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
