//! What running services expose, against what rules and dashboard ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contracts::Topic;

use super::all_asked;
use super::queries::{BOUND, bound};
use integration_tests::carts::cart;
use integration_tests::{Options, SERVICES, System, product};

/// Labels that Prometheus adds.
const OF_PROMETHEUS: &[&str] = &["job", "instance"];

/// Shown only when something is wrong, or an hour old, that this test does not bring
/// about. That they are recorded is looked up in the sources.
const RARE: &[&str] = &[
    "saga_inputs_dropped_total",
    "saga_calls_deferred_total",
    "service_rows_purged_total",
];

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_dashboard_ask_for_nothing_that_services_do_not_expose() {
    let options = Options {
        environment: &[
            ("orchestrator", "GAUGE_INTERVAL_MS", "100"),
            ("orchestrator", "READERS_CHECK_INTERVAL_MS", "200"),
            // Long enough for the gauges to see a cart on its way.
            ("payment", "SIMULATED_LATENCY_MS", "1500"),
            ("payment", "GAUGE_INTERVAL_MS", "100"),
            ("inventory", "GAUGE_INTERVAL_MS", "100"),
            // So that a timer fires, after the cart was ordered.
            ("inventory", "RESERVATION_TTL_SECONDS", "10"),
            ("order", "GAUGE_INTERVAL_MS", "100"),
            ("order", "DATABASE_TIMEOUT_MS", "3000"),
        ],
        ..Options::default()
    };
    let system = System::start("observability", options).await;
    let sku = product();
    system.set_stock(&sku, 1_000).await;
    // A dead letter, a fault, an order, a failure, and a request that changes nothing.
    system
        .publish_raw(Topic::ShoppingCheckouts, None, Some(b"not framed"), &[])
        .await;
    let ordered = cart(&sku, 1, 700);
    let in_the_way = system.connect("order").await;
    let lock = "BEGIN; LOCK TABLE progress IN ACCESS EXCLUSIVE MODE";
    in_the_way.batch_execute(lock).await.unwrap();
    system.publish(&ordered).await;
    let faulty = async || {
        let exposed = system.get_text("order", "/metrics").await;
        exposed.contains("saga_faults_total")
    };
    system.until("a fault is counted", faulty).await;
    in_the_way.batch_execute("ROLLBACK").await.unwrap();
    system.outcome(&ordered).await;
    let failed = cart(&sku, 2_000, 700);
    system.publish(&failed).await;
    system.outcome(&failed).await;
    system.publish(&ordered).await;

    let asked: Vec<_> = all_asked()
        .into_iter()
        .filter(|asked| !RARE.contains(&asked.series.as_str()))
        .collect();
    assert!(asked.len() > 50, "{} series are asked for", asked.len());
    let mut missing = BTreeSet::new();
    let look = async || {
        // Gauges are read from time to time, and show only carts that are under way.
        system.publish(&cart(&sku, 1, 700)).await;
        let exposed = exposed(&system).await;
        missing = asked
            .iter()
            .filter_map(|asked| match exposed.get(&asked.series) {
                None => Some(asked.series.clone()),
                Some(labels) => {
                    let known = |label: &String| {
                        labels.contains(label) || OF_PROMETHEUS.contains(&label.as_str())
                    };
                    let unknown = asked.labels.iter().find(|label| !known(label))?;
                    Some(format!("{} with the label {unknown}", asked.series))
                }
            })
            .collect();
        eprintln!("not exposed so far: {missing:?}");
        missing.is_empty()
    };
    system.until("all that is asked for is exposed", look).await;
}

/// The orchestrator's offsets are committed by transactions, the others' by the consumer.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_tells_how_much_it_has_still_to_handle() {
    let system = System::start("lag", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 1_000).await;
    let mut carts = Vec::new();
    for service in ["orchestrator", "order"] {
        let lag = async || {
            system
                .counted(service, 0, "saga_consumer_lag_records", "")
                .await
        };
        let in_the_way = system.connect(service).await;
        let lock = "BEGIN; LOCK TABLE progress IN ACCESS EXCLUSIVE MODE";
        in_the_way.batch_execute(lock).await.unwrap();
        for _ in 0..3 {
            let cart = cart(&sku, 1, 700);
            system.publish(&cart).await;
            carts.push(cart);
        }
        system
            .until(&format!("{service} is behind"), async || lag().await >= 3.0)
            .await;
        in_the_way.batch_execute("ROLLBACK").await.unwrap();
        system
            .until(&format!("{service} has caught up"), async || {
                lag().await == 0.0
            })
            .await;
    }
    system.assert_settled(&carts).await;
}

/// The labels of every series that a service exposes, and the bounds of its buckets.
async fn exposed(system: &System) -> BTreeMap<String, BTreeSet<String>> {
    let mut exposed = BTreeMap::<String, BTreeSet<String>>::new();
    for service in SERVICES {
        let text = system.get_text(service, "/metrics").await;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, _)) = line.rsplit_once(' ') else {
                continue;
            };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels
                .split("\",")
                .filter_map(|label| label.split_once('='));
            let known = exposed.entry(name.to_owned()).or_default();
            for (label, value) in labels {
                if label == BOUND {
                    known.insert(bound(value.trim_matches(['"', '}'])));
                }
                known.insert(label.to_owned());
            }
        }
    }
    exposed
}

#[test]
fn what_is_rare_is_recorded_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = String::new();
    for folder in ["crates", "services"] {
        gather(&root.join(folder), &mut sources);
    }
    for name in RARE {
        assert!(sources.contains(&format!("\"{name}\"")), "{name}");
        assert!(
            all_asked().iter().any(|asked| asked.series == *name),
            "nobody asks for {name}"
        );
    }
}

fn gather(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}
