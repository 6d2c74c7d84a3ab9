//! docker-compose.yml and the Dockerfile, checked without a Docker engine: by
//! the Compose Specification's own schema, and by rules of ours.

#![allow(
    clippy::unwrap_used,
    reason = "a file that is not as expected fails the test"
)]

mod dockerfile;
mod rules;

use std::path::PathBuf;
use std::process::Command;

use integration_tests::SERVICES;
use serde_json::{Value, json};

use self::dockerfile::Dockerfile;

fn read(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The file as Compose sees it, with anchors and merge keys resolved.
fn compose() -> Value {
    serde_saphyr::from_str(&read("docker-compose.yml")).unwrap()
}

fn dockerfile() -> Dockerfile {
    Dockerfile::parse(&read("Dockerfile"))
}

fn against_specification(compose: &Value) -> Vec<String> {
    let schema = read("integration-tests/tests/compose-spec/compose-spec.json");
    let schema = serde_json::from_str::<Value>(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors = validator.iter_errors(compose);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn against_rules(compose: &Value) -> Vec<String> {
    rules::faults(compose, &dockerfile())
}

#[test]
fn follows_the_compose_specification() {
    assert_eq!(against_specification(&compose()), Vec::<String>::new());
}

#[test]
fn keeps_our_rules() {
    assert_eq!(against_rules(&compose()), Vec::<String>::new());
}

#[test]
fn the_specification_refuses_what_it_does_not_know() {
    let cases = [
        ("/services/kafka/port", json!(["127.0.0.1:9092:9092"])),
        ("/services/kafka/ports", json!("9092:9092")),
        ("/services/kafka/healthcheck/retries", json!(["three"])),
        (
            "/services/order/depends_on/kafka/condition",
            json!("service_ready"),
        ),
        ("/services/order/build/stage", json!("order")),
        ("/services/postgres/environment", json!(17)),
    ];
    for (place, value) in cases {
        let broken = with(compose(), place, value);
        assert_ne!(
            against_specification(&broken),
            Vec::<String>::new(),
            "{place}"
        );
    }
}

#[test]
fn our_rules_refuse_a_broken_copy() {
    let cases = [
        (
            "/services/kafka/image",
            json!("apache/kafka:latest"),
            "kafka: image",
        ),
        (
            "/services/kafka/image",
            json!("apache/kafka"),
            "kafka: image",
        ),
        (
            "/services/kafka/ports",
            json!(["9092:9092"]),
            "kafka: port 9092:9092 is open",
        ),
        (
            "/services/postgres/user",
            json!("root"),
            "postgres: runs as root",
        ),
        ("/services/order/user", json!("0:0"), "order: runs as root"),
        (
            "/services/registry/healthcheck",
            Value::Null,
            "registry: has no health check",
        ),
        (
            "/services/order/healthcheck/disable",
            json!(true),
            "order: has no health check",
        ),
        (
            "/services/setup/restart",
            json!("always"),
            "setup: runs once, but is restarted",
        ),
        (
            "/services/order/build/target",
            json!("orders"),
            "order: the Dockerfile has no target",
        ),
        (
            "/services/order/depends_on/kafka",
            json!({}),
            "order: waits for kafka",
        ),
        (
            "/services/order/profiles",
            json!(["other"]),
            "order: is in the wrong profile",
        ),
        (
            "/services/kafka/profiles",
            json!(["services"]),
            "kafka: is in the wrong profile",
        ),
        (
            "/services/postgres/environment/POSTGRES_PASSWORD",
            json!("x"),
            "postgres: POSTGRES_PASSWORD cannot be set",
        ),
        (
            "/services/order/environment/DATABASE_URL",
            json!(
                "postgresql://payment:${PAYMENT_DATABASE_PASSWORD:-payment}@postgres:5432/payment"
            ),
            "order: database",
        ),
        (
            "/services/postgres/environment/ORDER_DATABASE_PASSWORD",
            Value::Null,
            "order: database",
        ),
        (
            "/services/kafka/environment/KAFKA_AUTO_CREATE_TOPICS_ENABLE",
            json!("true"),
            "kafka: creates misspelt topics",
        ),
        (
            "/services/console/environment/ORDER_HTTP_URL",
            json!("http://order:8080"),
            "console: ORDER_HTTP_URL",
        ),
        (
            "/services/console/environment/PAYMENT_DATABASE_URL",
            Value::Null,
            "console: PAYMENT_DATABASE_URL",
        ),
        ("/services/registry", Value::Null, "registry: missing"),
    ];
    for (place, value, fault) in cases {
        let found = against_rules(&with(compose(), place, value));
        assert!(
            found.iter().any(|text| text.starts_with(fault)),
            "{place}: {found:?}"
        );
    }
}

/// The script that the postgres image runs, with a `psql` that only tells its arguments.
#[test]
fn every_service_gets_a_database_with_its_own_password() {
    let folder = tempfile::tempdir().unwrap();
    let psql = folder.path().join("psql");
    std::fs::write(&psql, "#!/bin/sh\necho \"$@\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&psql, mode).unwrap();
    let path = std::env::var("PATH").unwrap();
    let script =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docker/postgres-init/10-databases.sh");
    let mut command = Command::new("bash");
    command.arg(script).env_clear();
    command.env("PATH", format!("{}:{path}", folder.path().display()));
    command.envs([("POSTGRES_USER", "postgres"), ("POSTGRES_DB", "postgres")]);
    for name in SERVICES {
        let variable = format!("{}_DATABASE_PASSWORD", name.to_uppercase());
        command.env(variable, format!("secret of {name}"));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stdout).unwrap();
    for name in SERVICES {
        let made = format!("--set name={name} --set password=secret of {name}");
        assert!(told.contains(&made), "{name}: {told}");
    }
    assert_eq!(told.lines().count(), SERVICES.len(), "{told}");
}

/// The copy with one value put in place, or removed if it is null.
fn with(mut compose: Value, place: &str, value: Value) -> Value {
    let (parent, key) = place.rsplit_once('/').unwrap();
    let parent = compose
        .pointer_mut(parent)
        .and_then(Value::as_object_mut)
        .unwrap();
    if value.is_null() {
        parent.remove(key).unwrap();
    } else {
        parent.insert(key.to_owned(), value);
    }
    compose
}

#[test]
fn images_are_built_with_the_pinned_toolchain() {
    let toolchain = read("rust-toolchain.toml");
    let version = toolchain.split('"').nth(1).unwrap();
    let dockerfile = dockerfile();
    let build = dockerfile.stage("build").unwrap();
    assert!(
        build.base.starts_with(&format!("rust:{version}-")),
        "{}",
        build.base
    );
    assert_eq!(
        dockerfile.in_force(build, "ENV"),
        Some(format!("RUSTUP_TOOLCHAIN={version}").as_str())
    );
}

/// What serves HTTP: the services, and what shows them.
fn servers() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().copied().chain(["console"])
}

/// An image is whole without Compose too.
#[test]
fn every_service_image_checks_its_own_health() {
    let (compose, dockerfile) = (compose(), dockerfile());
    for name in servers() {
        let stage = dockerfile.stage(name).unwrap();
        let listen = dockerfile.in_force(stage, "ENV").unwrap();
        let port = listen.rsplit(':').next().unwrap();
        let probe = format!("\"http://127.0.0.1:{port}/readyz\"");
        let own = dockerfile.in_force(stage, "HEALTHCHECK").unwrap();
        assert!(own.contains(&probe), "{name}: {own}");
        let service = &compose["services"][name];
        assert!(
            service["healthcheck"]["test"].to_string().contains(&probe),
            "{name}"
        );
        assert_eq!(
            listen,
            format!(
                "HTTP_LISTEN={}",
                service["environment"]["HTTP_LISTEN"].as_str().unwrap()
            )
        );
        assert!(
            service["ports"][0]
                .as_str()
                .unwrap()
                .ends_with(&format!(":{port}")),
            "{name}"
        );
        assert_eq!(dockerfile.in_force(stage, "EXPOSE"), Some(port));
        assert_eq!(
            dockerfile.in_force(stage, "ENTRYPOINT"),
            Some(format!("[\"{name}\"]").as_str())
        );
    }
}

/// A variable that no program reads would be ignored without a word.
#[tokio::test(flavor = "multi_thread")]
async fn programs_read_every_variable_that_is_set() {
    let compose = compose();
    let programs = stack::binaries(&stack::Progress::detect()).await.unwrap();
    let help = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(programs.named(program));
        let output = command.args(arguments).arg("--help").output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for name in servers() {
        let mut listed = help(name, &[]);
        if name == "console" {
            listed.push_str(&of_further_services());
        }
        assert_listed(&compose, name, &listed);
    }
    let setup = ["topics", "schemas"].map(|what| help("checkoutctl", &[what, "apply"]));
    let setup = setup.concat();
    assert_listed(&compose, "setup", &setup);
    assert_eq!(
        unknown(&json!({"KAFKA_BROKERS": "kafka:19092"}), &setup),
        ["KAFKA_BROKERS"]
    );
}

/// What the console reads of services that it has no flags for: further participants.
/// `<NAME>_HTTP_URL` and `<NAME>_DATABASE_URL`, as a help would list them.
fn of_further_services() -> String {
    let names = audit::further_services().into_iter().map(str::to_uppercase);
    names
        .map(|name| format!("[env: {name}_HTTP_URL=][env: {name}_DATABASE_URL=]"))
        .collect()
}

fn assert_listed(compose: &Value, service: &str, help: &str) {
    let environment = &compose["services"][service]["environment"];
    assert_eq!(
        unknown(environment, help),
        Vec::<String>::new(),
        "{service}"
    );
}

/// The variables that a program's help does not name.
fn unknown(environment: &Value, help: &str) -> Vec<String> {
    let names = environment.as_object().unwrap().keys();
    let listed = |name: &str| {
        ["]", "="]
            .iter()
            .any(|end| help.contains(&format!("[env: {name}{end}")))
    };
    names.filter(|name| !listed(name)).cloned().collect()
}
