//! Carts published from the command line, with their outcomes.

use std::collections::BTreeSet;
use std::process::Stdio;

use contracts::Message;
use integration_tests::{Options, System, product};
use serde_json::Value;
use stack::{PartKind, Progress};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

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

#[tokio::test(flavor = "multi_thread")]
async fn carts_are_told_when_kafka_is_lost_before_they_have_an_outcome() {
    let options = Options {
        services: &[],
        own_brokers: 1,
        ..Options::default()
    };
    let system = System::start("ctl_submit_lost", options).await;
    let broker = system.parts(PartKind::Kafka)[0].process();
    let broker = broker.expect("a process of ours");
    let installation = system.installation();
    let binaries = stack::binaries(&Progress::detect()).await.expect("built");
    let mut submit = Command::new(binaries.named("checkoutctl"))
        .args(["checkout", "submit", "--json", "--generate", "3"])
        .args(["--product", "mug=1", "--wait-seconds", "600"])
        .args(["--timeout-seconds", "2"])
        .args(["--kafka-bootstrap-servers", &installation.bootstrap_servers])
        .args(["--schema-registry-url", &installation.registry_url])
        .args(["--topic-prefix", &installation.topic_prefix])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");

    // It says how far it is: all are published, and nobody is there to answer.
    let errors = submit.stderr.take().expect("a pipe");
    let mut lines = BufReader::new(errors).lines();
    let mut waits = false;
    while !waits && let Some(line) = lines.next_line().await.expect("text") {
        waits = line.contains("0 of 3 carts have an outcome");
    }
    assert!(waits, "it ended before it waited for outcomes");
    broker.pause().expect("told to freeze");
    let ended = submit.wait_with_output().await.expect("it ended");
    broker.resume().expect("told to go on");

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
