//! Dead letters while Kafka or the registry does not answer.

use contracts::{Message, Topic};
use integration_tests::carts::cart;
use integration_tests::{Network, Options, System, product};
use serde_json::Value;
use stack::PartKind;

use super::super::{run, texts};
use super::{Bad, GARBAGE, WHY, failed, list, no_services};

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_that_loses_kafka_tells_what_became_of_each_letter() {
    let options = Options {
        own_brokers: 1,
        ..no_services()
    };
    let system = System::start("ctl_dlq_lost", options).await;
    let dead = system.names.dlq(Topic::ShoppingCheckouts);
    system.bury(dead, &[GARBAGE; 60]).await;
    // The first transaction of a cluster waits for a topic to be made.
    let rehearse = ["dlq", "redrive", "--all", "--dry-run", "--json"];
    let ran = run(&system, &[&rehearse[..], WHY].concat()).await;
    assert_eq!(ran.json(0)["failed"], 0, "{}", ran.out);
    let broker = system.parts(PartKind::Kafka)[0].process();
    let broker = broker.expect("a process of ours");

    // One a second, so that most are not published yet when the first ones are seen.
    let redrive = ["dlq", "redrive", "--all", "--rate", "1", "--json"];
    let redrive = [&redrive[..], &["--timeout-seconds", "10"], WHY].concat();
    let topic = system.names.name(Topic::ShoppingCheckouts);
    let freeze = async {
        system
            .recorder
            .wait_for("some are published", |seen| {
                let published = seen.iter().filter(|record| record.topic == topic);
                // Those before the last one are confirmed: one is sent after the other.
                (published.count() >= 3).then_some(())
            })
            .await;
        broker.pause().expect("told to freeze");
    };
    let (ran, ()) = tokio::join!(run(&system, &redrive), freeze);
    broker.resume().expect("told to go on");

    let shown = ran.json(1);
    let letters = shown["letters"].as_array().expect("a list");
    let of_result = |result: &str| -> Vec<&str> {
        let those = letters.iter().filter(|one| one["result"] == result);
        those.filter_map(|one| one["letter"].as_str()).collect()
    };
    let published = of_result("not_marked");
    assert!(published.len() >= 2, "{shown:#}");
    // It did not wait for Kafka again and again.
    assert_eq!(of_result("not_published").len(), 1, "{shown:#}");
    let not_tried = of_result("not_tried").len();
    assert!(not_tried > 0, "{shown:#}");
    assert_eq!(published.len() + 1 + not_tried, 60, "{shown:#}");
    assert_eq!(shown["failed"], 60, "{shown:#}");
    for one in letters {
        let says = match one["result"].as_str() {
            Some("not_marked") => "published, but still open",
            Some("not_published") => "may be published all the same",
            _ => "not tried",
        };
        let error = failed(one).expect("an error");
        assert!(error.contains(says), "{says}: {error}");
        assert_eq!(one["place"].is_null(), says != "published, but still open");
    }

    // What it says to do helps.
    system
        .until("Kafka answers again", async || {
            let ran = run(&system, &["dlq", "list", "--json"]).await;
            ran.status == Some(1)
        })
        .await;
    run(
        &system,
        &[&["dlq", "discard", "--json"], &published[..], WHY].concat(),
    )
    .await
    .json(0);
    let left = texts(&list(&system, 1).await["letters"], "letter");
    assert_eq!(left.len(), 60 - published.len());
    assert!(
        !published
            .iter()
            .any(|id| left.iter().any(|left| left == id))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_whose_schema_the_registry_does_not_give_are_listed_undecoded() {
    let options = Options {
        proxies: true,
        ..no_services()
    };
    let system = System::start("ctl_dlq_registry", options).await;
    let dead = system.names.dlq(Topic::ShoppingCheckouts);
    let cart = system.encode(&Message::from(cart(&product(), 1, 700)));
    let readable: Bad<'_> = ("k", &cart, "HANDLER_PANICKED");
    system.bury(dead, &[GARBAGE, readable, readable]).await;
    let registry = &system.proxies().registry;
    let direct = &system.installation().registry_url;
    let path = direct.splitn(4, '/').nth(3).expect("a path");
    let url = format!("http://{}/{path}", registry.address());
    let away = ["--schema-registry-url", &url, "--timeout-seconds", "10"];
    let dlq = async |arguments: &[&str]| run(&system, &[&["dlq"], arguments, &away].concat()).await;

    // While it is waited for, it is said for how long.
    registry.set(Network::Frozen);
    let ran = dlq(&["list", "--letters"]).await;
    assert_eq!(ran.status, Some(1), "{}", ran.errors);
    for text in [
        "NOT_FRAMED",
        "HANDLER_PANICKED",
        "not known",
        "not all could be decoded: the schema registry",
    ] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
    let told = ran.errors.lines();
    let told = told.filter(|line| line.contains("dead letters decoded: "));
    assert!(told.count() >= 2, "{}", ran.errors);

    registry.set(Network::Down);
    let shown = dlq(&["list", "--json"]).await.json(1);
    let letters = shown["letters"].as_array().expect("a list");
    assert_eq!(letters.len(), 3, "{shown:#}");
    // It is the registry that is away, and no letter is to blame.
    let poison = texts(&shown["letters"], "decodesNot");
    assert_eq!(poison.len(), 1, "{shown:#}");
    assert!(poison[0].contains("NOT_FRAMED"), "{poison:?}");
    let is_told = |shown: &Value| {
        let fault = shown["registryFault"].as_str();
        fault.is_some_and(|fault| fault.contains("the schema registry"))
    };
    assert!(is_told(&shown), "{shown:#}");
    let panicked = letters.iter().find(|one| one["code"] == "HANDLER_PANICKED");
    let panicked = panicked.and_then(|one| one["letter"].as_str());
    let ran = dlq(&["show", panicked.expect("a letter")]).await;
    assert_eq!(ran.status, Some(0), "{}", ran.errors);
    let fault = "not all could be decoded: the schema registry";
    for says in ["not decoded: the schema registry", fault] {
        assert!(ran.out.contains(says), "{says}: {}", ran.out);
    }
    // What is sound is not warned of, and what is away is told once.
    let redrive = ["redrive", "--all", "--dry-run"];
    let ran = dlq(&[&redrive[..], WHY].concat()).await;
    assert_eq!(ran.status, Some(0), "{}", ran.errors);
    assert_eq!(ran.out.matches(fault).count(), 1, "{}", ran.out);
    let dry = dlq(&[&redrive[..], &["--json"], WHY].concat()).await;
    let dry = dry.json(0);
    let warnings = texts(&dry["letters"], "warning");
    assert_eq!(warnings.len(), 1, "{dry:#}");
    assert!(warnings[0].contains("NOT_FRAMED"), "{warnings:?}");
    assert!(is_told(&dry), "{dry:#}");
    let ran = dlq(&[&["discard", "--all", "--json"], WHY].concat()).await;
    let discarded = ran.json(0);
    assert_eq!(discarded["letters"].as_array().map(Vec::len), Some(3));
    assert_eq!(discarded["failed"], 0, "{discarded:#}");
    assert!(is_told(&discarded), "{discarded:#}");

    registry.set(Network::Up);
    // None of them is open.
    let shown = dlq(&["list", "--handled", "--json"]).await.json(0);
    assert_eq!(shown["registryFault"], Value::Null, "{shown:#}");
    let letters = shown["letters"].as_array().expect("a list").iter();
    assert_eq!(letters.filter(|one| !one["content"].is_null()).count(), 2);
}
