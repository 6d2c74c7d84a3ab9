//! `checkoutctl` as operators use it: the program itself, on the real parts.

mod apply;
mod dlq;
mod explain;
mod sagas;
mod submit;
mod tools;

use integration_tests::System;
use serde_json::Value;
use stack::{Progress, Service};
use tokio::process::Command;

/// Other tests keep the machine busy: nothing is given up that would be answered.
pub(crate) const PATIENT: [(&str, &str); 3] = [
    ("EXPLAIN_TIMEOUT_SECONDS", "60"),
    ("OPERATIONS_TIMEOUT_SECONDS", "60"),
    ("SCHEMA_REGISTRY_TIMEOUT_MS", "60000"),
];

/// How a run ended.
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) errors: String,
}

impl Ran {
    /// What was printed, as one JSON value; the run must have ended so.
    pub(crate) fn json(&self, status: i32) -> Value {
        assert_eq!(self.status, Some(status), "{} {}", self.out, self.errors);
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.errors))
    }
}

/// Runs `checkoutctl` with the variables that `cargo stack up` writes.
pub(crate) async fn run(system: &System, arguments: &[&str]) -> Ran {
    let installation = system.installation();
    let binaries = stack::binaries(&Progress::detect()).await.expect("built");
    let mut command = Command::new(binaries.named("checkoutctl"));
    command
        .args(arguments)
        .envs(PATIENT)
        .env("KAFKA_BOOTSTRAP_SERVERS", &installation.bootstrap_servers)
        .env("SCHEMA_REGISTRY_URL", &installation.registry_url)
        .env("TOPIC_PREFIX", &installation.topic_prefix);
    for service in Service::ALL {
        let name = format!("{}_DATABASE_URL", service.name().to_uppercase());
        command.env(name, installation.database_url(*service));
    }
    let output = command.output().await.expect("it runs");
    Ran {
        status: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The values of a list's field, as text.
pub(crate) fn texts(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().expect("a list");
    list.iter()
        .filter_map(|item| item[field].as_str())
        .map(str::to_owned)
        .collect()
}
