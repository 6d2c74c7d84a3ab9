//! Dead letters listed, shown, redriven and discarded.
//!
//! - `away`: while Kafka or the registry does not answer.
//! - `marking`: what can be remembered of those that were handled.

mod away;
mod marking;

use contracts::{Message, Topic};
use integration_tests::carts::cart;
use integration_tests::{Options, Outcome, System, product};
use serde_json::Value;

use super::{run, texts};

/// Who acts, and why.
const WHY: &[&str] = &["--reason", "the test", "--operator", "night shift"];

/// A record that no service can read.
const GARBAGE: Bad<'static> = ("k", b"garbage", "NOT_FRAMED");

/// Nobody reads what is redriven, so nothing comes back.
fn no_services() -> Options {
    Options {
        services: &[],
        ..Options::default()
    }
}

/// A record to be put aside: its key, its value and the code.
type Bad<'b> = (&'b str, &'b [u8], &'b str);

/// What `dlq list` prints as JSON.
async fn list(system: &System, status: i32) -> Value {
    run(system, &["dlq", "list", "--json"]).await.json(status)
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_grouped_redriven_and_discarded() {
    let system = System::start("ctl_dlq", Options::default()).await;
    let list = async |arguments: &[&str], status: i32| -> Value {
        let arguments = [&["dlq", "list", "--json"], arguments].concat();
        run(&system, &arguments).await.json(status)
    };
    assert_eq!(list(&[], 0).await["letters"], Value::Array(Vec::new()));

    // Three of garbage, and a cart whose schema id is one that nobody knows.
    for marker in ["g1", "g2", "g3"] {
        let garbage = Some(&b"garbage"[..]);
        let headers = [("marker", marker.as_bytes())];
        system
            .publish_raw(Topic::ShoppingCheckouts, Some(b"k"), garbage, &headers)
            .await;
        system.dead_letter(Topic::ShoppingCheckouts, marker).await;
    }
    let sku = product();
    system.set_stock(&sku, 5).await;
    let cart = cart(&sku, 1, 700);
    let message = Message::from(cart.clone());
    let mut unknown = system.encode(&message);
    unknown[1..5].copy_from_slice(&9_999_999_u32.to_be_bytes());
    let key = cart.cart_id.to_string();
    let publish = async |topic, value: &[u8], marker: &str| {
        let headers = [("marker", marker.as_bytes()), ("kept", &b"as it was"[..])];
        system
            .publish_raw(topic, Some(key.as_bytes()), Some(value), &headers)
            .await;
        system.dead_letter(topic, marker).await;
    };
    publish(Topic::ShoppingCheckouts, &unknown, "u").await;
    // A good cart on a topic that carries none: it is poison there.
    publish(Topic::OrderingCommands, &system.encode(&message), "w").await;

    let shown = list(&[], 1).await;
    let groups = shown["groups"].as_array().expect("groups");
    assert_eq!(groups.len(), 3, "{groups:#?}");
    assert_eq!(groups[0]["count"], 3, "{groups:#?}");
    assert_eq!(groups[0]["code"], "NOT_FRAMED");
    assert_eq!(groups[0]["topic"], "shopping.checkouts");
    assert_eq!(groups[0]["service"], "orchestrator");
    let of_code = async |code: &str| texts(&list(&["--code", code], 1).await["letters"], "letter");
    let wrong = of_code("WRONG_RECORD_FOR_TOPIC").await;
    assert_eq!(wrong.len(), 1);
    // As text each of them has a line, where that is asked for.
    let ran = run(&system, &["dlq", "list", "--letters"]).await;
    assert_eq!(ran.status, Some(1), "{}", ran.errors);
    let mut lines: Vec<&str> = ran.out.lines().skip(1).collect();
    for id in texts(&shown["letters"], "letter") {
        let begin = format!("{id} ");
        let before = lines.len();
        lines.retain(|line| !line.starts_with(&begin));
        assert_eq!(lines.len() + 1, before, "{id}: {}", ran.out);
    }
    assert!(lines.is_empty(), "{lines:?}");
    assert!(
        list(&["--topic", "payments.commands"], 0).await["letters"]
            .as_array()
            .is_some_and(Vec::is_empty)
    );

    // One, with all that is known of it.
    let garbage = of_code("NOT_FRAMED").await;
    let ran = run(&system, &["dlq", "show", &garbage[0]]).await;
    assert_eq!(ran.status, Some(0), "{}", ran.errors);
    for text in ["NOT_FRAMED", "marker: g", "does not decode", "orchestrator"] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
    let nowhere = format!("{}:0:999999", system.names.dlq(Topic::ShoppingCheckouts));
    let ran = run(&system, &["dlq", "show", &nowhere]).await;
    assert_eq!(ran.status, Some(2), "{}", ran.out);
    assert!(ran.errors.contains("no letter at"), "{}", ran.errors);

    // The garbage is discarded, and what is left stays open.
    let discard = ["dlq", "discard", "--code", "NOT_FRAMED", "--json"];
    let ran = run(&system, &[&discard[..], &WHY[2..]].concat()).await;
    assert_eq!(ran.status, Some(2), "nobody says why: {}", ran.out);
    assert!(ran.errors.contains("--reason"), "{}", ran.errors);
    let discard = [&discard[..], WHY].concat();
    let dry = run(&system, &[&discard[..], &["--dry-run"]].concat()).await;
    assert_eq!(dry.json(0)["letters"].as_array().map(Vec::len), Some(3));
    assert_eq!(of_code("NOT_FRAMED").await.len(), 3, "it was a dry run");
    run(&system, &discard).await.json(0);
    let left = texts(&list(&[], 1).await["letters"], "code");
    assert_eq!(left, ["UNKNOWN_SCHEMA_ID", "WRONG_RECORD_FOR_TOPIC"]);
    let all = list(&["--handled"], 1).await;
    assert_eq!(texts(&all["letters"], "code").len(), 5, "{all:#}");
    let ran = run(&system, &["dlq", "show", &garbage[0]]).await;
    assert!(ran.out.contains("discarded by night shift"), "{}", ran.out);
    assert!(ran.out.contains(": the test"), "{}", ran.out);

    // Redriven: a dry run says that it will come back, and so it does, unchanged.
    let redrive = [&["dlq", "redrive", &wrong[0], "--json"], WHY].concat();
    let dry = run(&system, &[&redrive[..], &["--dry-run"]].concat())
        .await
        .json(0);
    let warning = dry["letters"][0]["warning"].as_str().expect("a warning");
    assert!(warning.contains("WRONG_RECORD_FOR_TOPIC"), "{warning}");
    assert_eq!(dry["letters"][0]["result"], "would_be_redriven", "{dry:#}");
    let shown = run(&system, &redrive).await.json(0);
    assert_eq!(shown["failed"], 0, "{shown:#}");
    assert_eq!(shown["letters"][0]["result"], "redriven", "{shown:#}");
    system
        .until("it comes back", async || {
            texts(&list(&[], 1).await["letters"], "code").len() == 2
        })
        .await;
    let again = of_code("WRONG_RECORD_FOR_TOPIC").await;
    assert_ne!(again, wrong, "the first is handled, the second is open");
    let ran = run(&system, &["dlq", "show", &again[0]]).await;
    for text in ["kept: as it was", "checkout_redriven_by: night shift"] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }

    // A letter whose cause was mended is handled as if nothing had been.
    let value = system.encode(&message);
    let dead = system.names.dlq(Topic::ShoppingCheckouts);
    system
        .bury(dead, &[(&key, &value, "UNKNOWN_SCHEMA_ID")])
        .await;
    let waits = of_code("UNKNOWN_SCHEMA_ID").await;
    let mended = waits.last().expect("a letter");
    let redrive = [&["dlq", "redrive", mended, "--json"], WHY].concat();
    let shown = run(&system, &redrive).await.json(0);
    assert_eq!(shown["letters"][0]["warning"], Value::Null, "{shown:#}");
    assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));

    let ran = run(&system, &[&["dlq", "redrive"], WHY].concat()).await;
    assert_eq!(ran.status, Some(2));
    assert!(ran.errors.contains("--all"), "{}", ran.errors);
}

/// The error of a letter, where it has one.
fn failed(one: &Value) -> Option<&str> {
    one["error"].as_str()
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_that_cannot_be_redriven_are_told_and_stay_open() {
    let system = System::start("ctl_dlq_failed", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let good = cart(&sku, 1, 700);
    let value = system.encode(&Message::from(good.clone()));
    let dead = system.names.dlq(Topic::ShoppingCheckouts);
    // Dead-letter topics take larger records than the topics that they are of.
    let large = vec![7; 2_500_000];
    system
        .bury(dead, &[("k", &large, "RECORD_TOO_LARGE")])
        .await;
    let key = good.cart_id.to_string();
    system
        .bury(dead, &[(&key, &value, "UNKNOWN_SCHEMA_ID")])
        .await;

    let redrive = ["dlq", "redrive", "--all", "--json"];
    let shown = run(&system, &[&redrive[..], WHY].concat()).await.json(1);
    assert_eq!(shown["failed"], 1, "{shown:#}");
    let letters = shown["letters"].as_array().expect("a list");
    assert_eq!(letters.len(), 2, "{shown:#}");
    let bad: Vec<_> = letters.iter().filter(|one| failed(one).is_some()).collect();
    let error = failed(bad[0]).expect("an error");
    assert!(error.to_lowercase().contains("size"), "{error}");
    assert_eq!(bad[0]["place"], Value::Null, "{shown:#}");
    assert_eq!(bad[0]["result"], "not_published", "{shown:#}");
    // The other one was handled, and the failed one is open.
    assert!(matches!(system.outcome(&good).await, Outcome::Created(_)));
    let left = list(&system, 1).await;
    assert_eq!(texts(&left["letters"], "code"), ["RECORD_TOO_LARGE"]);
    assert_eq!(left["letters"][0]["letter"], bad[0]["letter"]);
    let ran = run(&system, &[&redrive[..3], WHY].concat()).await;
    assert_eq!(ran.status, Some(1), "{}", ran.errors);
    assert!(ran.out.contains("1 letters, 1 failed"), "{}", ran.out);
}
