//! Carts published from the command line, with their outcomes.

use std::collections::BTreeSet;
use std::process::Stdio;

use contracts::Message;
use integration_tests::{Options, PATIENCE, System, product};
use serde_json::Value;
use stack::{PartKind, Progress};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::{run, texts};

#[tokio::test(flavor = "multi_thread")]
async fn carts_are_submitted_and_their_outcomes_awaited() {
    let system = System::start("ctl_submit", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 100).await;
    let generate = |product: &str, more: &[&str]| {
        let line = [
            "checkout",
            "submit",
            "--json",
            "--generate",
            "5",
            "--product",
        ];
        [&line[..], &[product], more].concat().join(" ")
    };
    let submit = async |line: &str, status: i32| {
        let arguments: Vec<&str> = line.split(' ').collect();
        run(&system, &arguments).await.json(status)
    };
    let two = format!("{sku}=2");
    let shown = submit(&generate(&two, &[]), 0).await;
    assert_eq!(shown["created"], 5, "{shown:#}");
    assert_eq!(texts(&shown["carts"], "outcome"), vec!["OrderCreated"; 5]);
    assert!(shown["carts"][0]["milliseconds"].is_u64(), "{shown:#}");
    assert_eq!(system.stock(&sku).await, (100, 10));

    // From a file: one that makes no sense, and one that comes again.
    let id = shown["carts"][0]["cartId"].as_str().expect("a cart");
    let folder = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
    std::fs::create_dir(&folder).expect("a folder");
    let file = folder.join("carts.json");
    let item = format!(r#"{{"productId": "{sku}", "quantity": 1, "unitPrice": 10}}"#);
    let text =
        format!(r#"{{"items": [{item}], "total": 9}} [{{"cartId": "{id}", "items": [{item}]}}]"#);
    std::fs::write(&file, text).expect("written");
    let path = file.to_str().expect("text");
    let shown = submit(&format!("checkout submit --json {path}"), 1).await;
    assert_eq!(
        texts(&shown["carts"], "detail"),
        ["INVALID_CART", "ALREADY_ORDERED"],
        "{shown:#}"
    );
    std::fs::write(&file, "{}").expect("written");
    let ran = run(&system, &["checkout", "submit", path]).await;
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.errors.contains("carts.json") && ran.errors.contains("items"),
        "{}",
        ran.errors
    );
    std::fs::remove_dir_all(&folder).expect("removed");

    // Nobody answers in time.
    system.stop("orchestrator").await;
    let shown = submit(&generate(&two, &["--wait-seconds", "1"]), 1).await;
    assert_eq!(shown["open"], 5, "{shown:#}");
}

/// Submits so many carts, freezes the broker when what the program says of its work
/// `is_it`, and waits until it has ended.
async fn submitted_until(
    system: &System,
    number: &str,
    is_it: impl Fn(&str) -> bool,
) -> std::process::Output {
    let broker = system.parts(PartKind::Kafka)[0].process();
    let broker = broker.expect("a process of ours");
    let installation = system.installation();
    let binaries = stack::binaries(&Progress::detect()).await.expect("built");
    let mut submit = Command::new(binaries.named("checkoutctl"))
        .args(["checkout", "submit", "--json", "--generate", number])
        .args(["--product", "mug=1", "--wait-seconds", "600"])
        .args(["--timeout-seconds", "10"])
        .args(["--kafka-bootstrap-servers", &installation.bootstrap_servers])
        .args(["--schema-registry-url", &installation.registry_url])
        .args(["--topic-prefix", &installation.topic_prefix])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it runs");
    let errors = submit.stderr.take().expect("a pipe");
    let mut lines = BufReader::new(errors).lines();
    let waiting = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if is_it(&line) {
                return true;
            }
        }
        false
    };
    let is_there = timeout(PATIENCE, waiting).await.expect("it goes on");
    assert!(is_there, "it ended before");
    broker.pause().expect("told to freeze");
    let ended = timeout(PATIENCE, submit.wait_with_output()).await;
    broker.resume().expect("told to go on");
    ended.expect("it gives up").expect("it ended")
}

fn own_broker() -> Options {
    Options {
        services: &[],
        own_brokers: 1,
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn carts_are_told_when_kafka_is_lost_before_they_have_an_outcome() {
    let system = System::start("ctl_submit_lost", own_broker()).await;
    // It says how far it is: all are published, and nobody is there to answer.
    let waits = |line: &str| line.contains("0 of 3 carts have an outcome");
    let ended = submitted_until(&system, "3", waits).await;

    assert_eq!(ended.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(shown["open"], 3, "{shown:#}");
    assert!(shown["unread"].is_string(), "{shown:#}");
    for cart in shown["carts"].as_array().expect("a list") {
        assert_eq!(cart["published"], true, "{shown:#}");
    }
    let told: BTreeSet<String> = texts(&shown["carts"], "cartId").into_iter().collect();
    let published = system.recorder.wait_for("the carts", |seen| {
        let carts = seen.iter().filter_map(|seen| match &seen.message {
            Some(Message::CartCheckedOut(cart)) => Some(cart.cart_id.to_string()),
            _ => None,
        });
        let carts: BTreeSet<String> = carts.collect();
        (carts.len() == 3).then_some(carts)
    });
    assert_eq!(published.await, told);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cart_is_tried_once_kafka_is_lost_and_those_on_their_way_are_not_known() {
    let system = System::start("ctl_submit_stops", own_broker()).await;
    // So many that some are published when it first says so, and by far not all.
    let number = 100_000;
    let some = |line: &str| line.contains("carts published") && !line.starts_with("0 of");
    let ended = submitted_until(&system, &number.to_string(), some).await;

    assert_eq!(ended.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    let carts = shown["carts"].as_array().expect("a list");
    assert_eq!(carts.len(), number, "each is told");
    let of = |published: Value| {
        let of = carts.iter().filter(|cart| cart["published"] == published);
        of.collect::<Vec<_>>()
    };
    let (published, left) = (of(Value::Bool(true)), of(Value::Bool(false)));
    let unknown = of(Value::Null);
    assert!(!published.is_empty(), "{}", shown["unread"]);
    // No more than are on their way at once.
    assert!((1..=500).contains(&unknown.len()), "{}", unknown.len());
    for (carts, says) in [(left, "not tried"), (unknown, "not known whether")] {
        assert!(!carts.is_empty(), "{says}");
        for cart in carts {
            let detail = cart["detail"].as_str().expect("text");
            assert!(detail.contains(says), "{says}: {detail}");
        }
    }
}
