//! What is done before and after a deployment: topics, schemas, the flow, upgrades.

use contracts::Topic;
use flow::Step;
use integration_tests::carts::cart;
use integration_tests::{IMPATIENT, Options, System, all_but, product};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::{run, texts};

#[tokio::test(flavor = "multi_thread")]
async fn plans_and_drift_are_told_and_nothing_is_changed() {
    let system = System::start(
        "ctl_plan",
        Options {
            services: &[],
            ..Options::default()
        },
    )
    .await;
    let shown = run(&system, &["topics", "drift", "--json"]).await.json(0);
    assert_eq!(
        shown["drift"].as_array().map(Vec::len),
        Some(0),
        "{shown:#}"
    );

    let topic = system.names.name(Topic::OrderingOrders);
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set(
            "bootstrap.servers",
            &system.installation().bootstrap_servers,
        )
        .create()
        .expect("a client");
    let other = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("retention.ms", "12345");
    admin
        .alter_configs(&[other], &AdminOptions::new())
        .await
        .expect("altered");
    system
        .until("the drift is seen", async || {
            let ran = run(&system, &["topics", "drift", "--json"]).await;
            ran.status == Some(1) && ran.out.contains("12345")
        })
        .await;

    // An installation of which nothing is there yet.
    let none = ["--topic-prefix", "nowhere."];
    let plan = run(
        &system,
        &[&["topics", "plan", "--json"], &none[..]].concat(),
    )
    .await;
    let plan = plan.json(1);
    let missing = plan["missing"].as_array().expect("a list");
    assert!(
        missing.contains(&"nowhere.shopping.checkouts".into()),
        "{plan:#}"
    );
    let plan = run(
        &system,
        &[&["schemas", "plan", "--json"], &none[..]].concat(),
    )
    .await;
    let plan = plan.json(1);
    assert!(
        texts(&plan, "register")
            .iter()
            .all(|version| version == "first"),
        "{plan:#}"
    );
    let ran = run(&system, &[&["topics", "plan"], &none[..]].concat()).await;
    assert_eq!(ran.status, Some(1), "{}: nothing was created", ran.out);
    let plan = run(&system, &["schemas", "plan", "--json"]).await.json(0);
    assert_eq!(plan.as_array().map(Vec::len), Some(0), "{plan:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_is_tried_on_what_is_there() {
    let options = Options {
        services: all_but("payment"),
        environment: IMPATIENT,
        ..Options::default()
    };
    let system = System::start("ctl_upgrade", options).await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let open = cart(&sku, 1, 700);
    system.publish(&open).await;
    system
        .record(&open, contracts::RecordType::AuthorizePayment)
        .await;
    let shown = run(&system, &["upgrade", "preflight", "--json"])
        .await
        .json(0);
    assert_eq!(shown["sagas"], 1, "{shown:#}");
    assert!(shown["inputs"].as_u64() >= Some(8), "{shown:#}");

    // A version that has one more step has written it.
    system.stop("orchestrator").await;
    system
        .execute(
            "orchestrator",
            "UPDATE sagas SET progress = (progress::jsonb || '{\"step\": \"SHIP_PARCEL\"}')::json",
        )
        .await;
    let shown = run(&system, &["upgrade", "preflight", "--json"])
        .await
        .json(1);
    assert_eq!(shown["carts"][0]["cartId"], open.cart_id.to_string());
    let why = shown["carts"][0]["why"].as_str().expect("text");
    assert!(why.contains("SHIP_PARCEL"), "{why}");

    // What is on the topics: all understood but one of another schema.
    let retained = ["schemas", "check", "--retained", "--json"];
    let shown = run(&system, &retained).await.json(0);
    let records = |shown: &serde_json::Value| -> u64 {
        let topics = shown["topics"].as_array().expect("topics");
        topics
            .iter()
            .filter_map(|topic| topic["records"].as_u64())
            .sum()
    };
    assert!(records(&shown) >= 5, "{shown:#}");
    let mut cut = system.encode(&cart(&sku, 1, 700).into());
    cut.truncate(20);
    system
        .publish_raw(Topic::ShoppingCheckouts, None, Some(&cut), &[])
        .await;
    let shown = run(&system, &retained).await.json(1);
    assert_eq!(shown["notUnderstood"], 1, "{shown:#}");
    assert_eq!(shown["unknownSchema"], 0, "{shown:#}");

    // One of a schema that the registry does not have is told apart, and is a fault too.
    let mut unknown = system.encode(&cart(&sku, 1, 700).into());
    unknown[1..5].copy_from_slice(&0x7fff_fff0_u32.to_be_bytes());
    system
        .publish_raw(Topic::ShoppingCheckouts, None, Some(&unknown), &[])
        .await;
    // Of two letters that do not decode one is where it should be.
    let dead = system.names.dlq(Topic::ShoppingCheckouts);
    let letters = [
        ("k", &cut[..], "UNDECODABLE_DATUM"),
        ("k", &cut[..], "HANDLER_PANICKED"),
    ];
    system.bury(dead, &letters).await;
    let shown = run(&system, &retained).await.json(1);
    assert_eq!(shown["notUnderstood"], 2, "{shown:#}");
    assert_eq!(shown["unknownSchema"], 1, "{shown:#}");
    let mut letters = shown["deadLetters"].as_array().expect("a list").iter();
    let letters = letters.find(|one| one["topic"] == dead).expect("the topic");
    assert_eq!(letters["records"], 2, "{shown:#}");
    assert_eq!(letters["notUnderstood"], 1, "{shown:#}");
    assert_eq!(letters["poison"]["UNDECODABLE_DATUM"], 1, "{shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flow_completions_and_manual_are_printed() {
    let system = System::shared().await;
    let steps = run(system, &["flow", "show", "--json"]).await.json(0);
    let names: Vec<_> = Step::ALL.iter().map(|step| step.name()).collect();
    assert_eq!(texts(&steps, "step"), names);
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let check = run(system, &["flow", "check", "--docs", docs]).await;
    assert_eq!(check.status, Some(0), "{}", check.out);
    let check = run(system, &["flow", "check", "--docs", "/nowhere"]).await;
    assert_eq!(check.status, Some(1), "{}", check.out);

    for shell in ["bash", "zsh", "fish"] {
        let script = run(system, &["completions", shell]).await;
        assert!(script.out.contains("_checkoutctl"), "{}", script.errors);
    }
    let page = run(system, &["man"]).await;
    assert!(page.out.contains(".TH checkoutctl"), "{}", page.out);
    assert!(page.out.contains("Exit status"), "{}", page.out);
    let folder = tempfile::tempdir().expect("a folder");
    let below = folder.path().join("man1");
    let ran = run(system, &["man", "--folder", below.to_str().expect("text")]).await;
    assert_eq!(ran.status, Some(0), "{}", ran.errors);
    let page = std::fs::read_to_string(below.join("checkoutctl-sagas-retry.1"));
    let page = page.expect("a page for each command");
    assert!(page.contains("Exit status"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_told_for_how_long() {
    let system = System::shared().await;
    let away = ["--kafka-bootstrap-servers", "127.0.0.1:1"];
    let limit = ["--timeout-seconds", "10"];
    let ran = run(system, &[&["topics", "plan"], &away[..], &limit].concat()).await;
    assert_eq!(ran.status, Some(2), "{}", ran.out);
    // For each second that it was not too busy to say so.
    let seconds = (1..=10).map(|second| format!("asking Kafka: {second} s"));
    let told = seconds.filter_map(|says| ran.errors.find(&says)).min();
    let told = told.expect(&ran.errors);
    let failed = ran.errors.find("checkoutctl: ").expect(&ran.errors);
    assert!(told < failed, "{}", ran.errors);
}
