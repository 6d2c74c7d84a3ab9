//! `checkoutctl audit`, while the system works, and by a user who may only read.

use std::collections::BTreeMap;

use integration_tests::load::Load;
use integration_tests::{Options, System};
use serde_json::Value;
use stack::{Progress, Service};
use tokio::process::Command;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::{look, play};
use crate::ctl::PATIENT;

/// Runs `checkoutctl audit` with the variables that `cargo stack up` writes:
/// its exit status and what it printed.
async fn checkoutctl(system: &System, arguments: &[&str]) -> (Option<i32>, String, String) {
    checkoutctl_as(system, &system.installation().databases, arguments).await
}

/// The same, with other URLs of the databases.
async fn checkoutctl_as(
    system: &System,
    databases: &BTreeMap<Service, String>,
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    let installation = system.installation();
    let binaries = stack::binaries(&Progress::detect()).await.expect("built");
    let mut command = Command::new(binaries.named("checkoutctl"));
    command
        .arg("audit")
        .args(arguments)
        .envs(PATIENT)
        .env("KAFKA_BOOTSTRAP_SERVERS", &installation.bootstrap_servers)
        .env("SCHEMA_REGISTRY_URL", &installation.registry_url)
        .env("TOPIC_PREFIX", &installation.topic_prefix);
    for (service, url) in databases {
        let name = format!("{}_DATABASE_URL", service.name().to_uppercase());
        command.env(name, url);
    }
    let output = command.output().await.expect("it runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_under_load_finds_nothing_but_carts_in_flight() {
    let system = System::start("audit_live", Options::default()).await;
    let audits = async {
        let begun = async || system.recorder.outcomes() > 0;
        system.until("carts are under way", begun).await;
        for _ in 0..3 {
            // The load machine may be slow: a cart that takes a minute is none
            // of the audit's faults.
            let (status, json, errors) =
                checkoutctl(&system, &["--json", "--grace-seconds", "600"]).await;
            assert_eq!(status, Some(0), "{json} {errors}");
            let report: Value = serde_json::from_str(&json).expect("one JSON object");
            for field in [
                "carts",
                "orders",
                "failed",
                "rejected",
                "in_flight",
                "abandoned",
                "lost",
                "duplicated",
            ] {
                assert!(report[field].is_u64(), "{field}: {json}");
            }
            assert!(report["dead_letters"].is_object(), "{json}");
            assert_eq!(report["violations"], Value::Array(Vec::new()), "{json}");
            assert!(report["carts"].as_u64() > Some(0), "{json}");
        }
        // Nobody answers for payment: carts pile up, and are named without grace.
        system.stop("payment").await;
        let open = async || {
            let (status, json, errors) = checkoutctl(
                &system,
                &["--json", "--grace-seconds", "0", "--second-look-ms", "10"],
            )
            .await;
            let report: Value = serde_json::from_str(&json)
                .unwrap_or_else(|error| panic!("{error}: {json} {errors}"));
            let violations = report["violations"].as_array().expect("a list").clone();
            violations.iter().any(|found| {
                found["rule"] == "outcome-missing"
                    && found["cart_id"].is_string()
                    && found["checkout_id"].is_string()
                    && found["detail"].is_string()
            }) && status == Some(1)
        };
        system.until("carts are open", open).await;
        system.start_service("payment").await;
    };
    let carts = system.load_during(Load::new(100, 20.0), audits).await;
    system.assert_settled(&carts).await;

    // At rest: a table, and what cannot be reached.
    let (status, table, errors) = checkoutctl(&system, &["--grace-seconds", "0"]).await;
    assert_eq!(status, Some(0), "{table} {errors}");
    assert!(table.contains("violations    0"), "{table}");
    let nowhere = "postgresql://order:secret@127.0.0.1:1/order";
    let (status, _, errors) = checkoutctl(&system, &["--order-database-url", nowhere]).await;
    assert_eq!(status, Some(2), "{errors}");
    assert!(errors.contains("order database"), "{errors}");
    assert!(!errors.contains("secret"), "{errors}");
    let (status, table, errors) = checkoutctl(&system, &["--order-database-url="]).await;
    assert_eq!(status, Some(0), "{errors}");
    assert!(
        table.contains("not looked at: the order database"),
        "{table}"
    );
    let (status, json, _) = checkoutctl(&system, &["--json", "--since", "0s"]).await;
    let report: Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(
        (status, report["carts"].as_u64()),
        (Some(0), Some(0)),
        "{json}"
    );
}

/// Makes a user who may only read, in every database: its URLs.
async fn reader(system: &System) -> BTreeMap<Service, String> {
    let reader = format!("reader_{}", Uuid::new_v4().simple());
    let create = format!("CREATE ROLE {reader} LOGIN PASSWORD '{reader}'");
    system.administer("order", &create).await;
    let mut urls = BTreeMap::new();
    for (service, url) in &system.installation().databases {
        let owner = system.database(service.name());
        let grants = format!(
            "GRANT CONNECT ON DATABASE \"{owner}\" TO {reader};
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}"
        );
        system.execute(service.name(), &grants).await;
        let login = |user: &str| format!("//{user}:{user}@");
        urls.insert(*service, url.replace(&login(owner), &login(&reader)));
    }
    urls
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_needs_no_more_than_select() {
    let system = System::start("audit_reader", Options::default()).await;
    play(&system).await;
    let databases = reader(&system).await;
    // The user is really one who may not write.
    for url in databases.values() {
        let connected = tokio_postgres::connect(url, NoTls).await;
        let (client, connection) = connected.expect("a connection");
        tokio::spawn(connection);
        let written = client.batch_execute("UPDATE progress SET epoch = epoch");
        let refused = written.await.expect_err("it may not write");
        let code = refused.code();
        assert_eq!(code, Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{refused:?}");
    }
    let strictly = ["--json", "--grace-seconds", "0", "--second-look-ms", "100"];
    let (status, json, errors) = checkoutctl_as(&system, &databases, &strictly).await;
    assert_eq!(status, Some(0), "{json} {errors}");
    // It has seen what the owners see: without its rows, the order would be a violation.
    let report: Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(report["orders"], 1, "{json}");
    assert_eq!(report, look(&system).await.json());
}
