//! An installation made, checked and stocked from the command line.

use std::process::Stdio;

use contracts::{RecordType, Registry, TopicNames, topology::topology};
use integration_tests::{Options, System, product};
use stack::Progress;
use tokio::process::Command;

use super::{run, texts};

/// A prefix under which nothing is there yet.
fn fresh(system: &System) -> String {
    format!("{}made.", system.installation().topic_prefix)
}

async fn empty(name: &str) -> System {
    let options = Options {
        services: &[],
        ..Options::default()
    };
    System::start(name, options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_created_once_and_drift_fails_where_it_is_asked_for() {
    let system = empty("ctl_topics").await;
    let prefix = fresh(&system);
    let apply = async |more: &[&str]| {
        let apply = ["topics", "apply", "--topic-prefix", &prefix];
        run(&system, &[&apply[..], more].concat()).await
    };
    let names: Vec<String> = topology()
        .iter()
        .map(|topic| format!("{prefix}{}", topic.name))
        .collect();
    let number = names.len();
    let as_made = ["--partitions", "1", "--replication-factor", "1"];
    let shown = apply(&[&as_made[..], &["--json"]].concat()).await.json(0);
    assert_eq!(shown["created"].as_array().map(Vec::len), Some(number));
    for name in names {
        let created = shown["created"].as_array().expect("a list");
        assert!(created.contains(&name.as_str().into()), "{name}: {shown:#}");
    }
    let ran = apply(&[&as_made[..], &["--fail-on-drift"]].concat()).await;
    assert_eq!(ran.status, Some(0), "{}", ran.errors);
    let says = format!("0 topics created, {number} existed");
    assert!(ran.out.contains(&says), "{}", ran.out);

    // They have another number of partitions than topics.yaml.
    let ran = apply(&["--replication-factor", "1"]).await;
    assert_eq!(ran.status, Some(0), "{}", ran.errors);
    let differs = "partitions is 1, declared is";
    assert!(ran.errors.contains(differs), "{}", ran.errors);
    let ran = apply(&["--fail-on-drift"]).await;
    assert_eq!(ran.status, Some(1), "{}", ran.out);
    assert!(ran.errors.contains(differs), "{}", ran.errors);
    let shown = apply(&["--fail-on-drift", "--json"]).await.json(1);
    assert_eq!(shown["created"].as_array().map(Vec::len), Some(0));
    let drift = texts(&shown["drift"], "property");
    assert!(drift.contains(&"partitions".to_owned()), "{shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn schemas_are_registered_once_and_checked() {
    let system = empty("ctl_schemas").await;
    let prefix = fresh(&system);
    let schemas = async |arguments: &[&str]| {
        let all = [&["schemas"], arguments, &["--topic-prefix", &prefix]];
        run(&system, &all.concat()).await
    };
    let all = Some(RecordType::ALL.len());
    let shown = schemas(&["check", "--json"]).await.json(1);
    let problems = shown["problems"].as_array().expect("a list");
    assert_eq!(Some(problems.len()), all, "{shown:#}");
    for problem in problems {
        let problem = problem.as_str().expect("text");
        assert!(problem.ends_with("not registered"), "{problem}");
    }
    let ran = schemas(&["check"]).await;
    assert_eq!(ran.status, Some(1));
    assert!(ran.errors.contains("schemas apply"), "{}", ran.errors);

    let shown = schemas(&["apply", "--json"]).await.json(0);
    assert_eq!(shown["registered"].as_array().map(Vec::len), all);
    assert_eq!(shown["compatibility_set"].as_array().map(Vec::len), all);
    let ran = schemas(&["apply"]).await;
    assert_eq!(ran.status, Some(0), "{}", ran.errors);
    let says = format!("0 schemas registered, {} existed", RecordType::ALL.len());
    assert!(ran.out.contains(&says), "{}", ran.out);
    let ran = schemas(&["check"]).await;
    assert_eq!(ran.status, Some(0), "{}", ran.errors);
    assert!(
        ran.out.contains("all schemas are registered"),
        "{}",
        ran.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_full_transitive_forbids_is_refused_whatever_the_rule_was() {
    let system = empty("ctl_schemas_refused").await;
    let prefix = fresh(&system);
    let schemas = async |command: &str| {
        let arguments = ["schemas", command, "--json", "--topic-prefix", &prefix];
        run(&system, &arguments).await
    };
    // An earlier version had a field that this one lacks: a weaker rule allows that.
    let record = RecordType::CartCheckedOut;
    let subject = TopicNames::new(&prefix).subject(record);
    let mut earlier: serde_json::Value = serde_json::from_str(record.schema_json()).expect("JSON");
    let fields = earlier["fields"].as_array_mut().expect("fields");
    fields.push(serde_json::json!({ "name": "giftWrapping", "type": "string" }));
    let registry = Registry::new(&system.registry).expect("a client");
    let registered = registry.register(&subject, &earlier.to_string()).await;
    registered.expect("the first of its subject");
    let set = registry.set_compatibility(&subject, "BACKWARD").await;
    set.expect("a rule");

    let of_subject = |plan: &serde_json::Value| -> serde_json::Value {
        let changes = plan.as_array().expect("a list").iter();
        let mut of_subject = changes.filter(|change| change["subject"] == subject.as_str());
        of_subject.next().expect("a change").clone()
    };
    let change = of_subject(&schemas("plan").await.json(1));
    assert_eq!(change["register"], "unjudged", "{change:#}");
    assert_eq!(change["compatibilityWas"], "BACKWARD", "{change:#}");

    // The rule comes first, and judges.
    let ran = schemas("apply").await;
    assert_eq!(ran.status, Some(2), "{}", ran.out);
    assert!(ran.errors.contains(&subject), "{}", ran.errors);
    let found = registry.find(&subject, record.schema_json()).await;
    assert_eq!(found.expect("an answer"), None, "it was registered");
    let level = registry.compatibility(&subject).await.expect("an answer");
    assert_eq!(level.as_deref(), Some("FULL_TRANSITIVE"));
    let change = of_subject(&schemas("plan").await.json(2));
    assert_eq!(change["register"], "refused", "{change:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_is_set_from_the_command_line() {
    let options = Options {
        services: &["inventory"],
        ..Options::default()
    };
    let system = System::start("ctl_stock", options).await;
    let (one, other) = (product(), product());
    let on_hand = async |product: &str| -> Option<i64> {
        let sql = "SELECT on_hand FROM stock WHERE product_id = $1";
        let rows = system.query("inventory", sql, &[&product]).await;
        rows.first().map(|row| row.get(0))
    };
    let set = async |stock: &[String]| {
        let stock = stock.iter().map(String::as_str);
        let arguments: Vec<&str> = ["stock", "set", "--json"]
            .into_iter()
            .chain(stock)
            .collect();
        run(&system, &arguments).await
    };
    let shown = set(&[format!("{one}=7"), format!("{other}=0")]).await;
    assert_eq!(shown.json(0)["delivered"], 2);
    system
        .until("both are set", async || {
            (on_hand(&one).await, on_hand(&other).await) == (Some(7), Some(0))
        })
        .await;
    set(&[format!("{one}=3")]).await.json(0);
    system
        .until("it is set anew", async || on_hand(&one).await == Some(3))
        .await;

    let ran = set(&[format!("{one}=-1")]).await;
    assert_eq!(ran.status, Some(2));
    assert!(ran.errors.contains("negative"), "{}", ran.errors);
    let ran = run(&system, &["stock", "set", &format!("{one}=4")]).await;
    assert_eq!(ran.status, Some(0), "{}", ran.errors);
    assert_eq!(ran.out, "1 products: SetStock delivered\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_enough_is_no_trouble() {
    let system = System::shared().await;
    let binaries = stack::binaries(&Progress::detect()).await.expect("built");
    let registry = ["--schema-registry-url", &system.installation().registry_url];
    for command in ["plan", "check"] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ran = Command::new(binaries.named("checkoutctl"))
            .args(["schemas", command, "--topic-prefix", "nowhere."])
            .args(registry)
            .stdout(writer)
            .stderr(Stdio::null())
            .status()
            .await
            .expect("it runs");
        assert_eq!(ran.code(), Some(1), "{command}");
    }
}
