//! What we ask of docker-compose.yml and the Dockerfile beyond the
//! specification. Each rule answers with the faults it found.

use integration_tests::SERVICES;
use serde_json::Value;

use super::dockerfile::Dockerfile;

/// Started by `docker compose up` with no profile, for programs on the host.
const PARTS: [&str; 3] = ["kafka", "registry", "postgres"];

pub(super) fn faults(compose: &Value, dockerfile: &Dockerfile) -> Vec<String> {
    let mut faults = Vec::new();
    for part in PARTS {
        if !compose["services"][part].is_object() {
            faults.push(format!("{part}: missing"));
        }
    }
    for (name, service) in compose["services"].as_object().unwrap() {
        let found = [
            ends_or_has_health_check(compose, name, service),
            image_is_pinned(service),
            target_exists(service, dockerfile),
            runs_as_ordinary_user(service, dockerfile),
            ports_are_loopback(service),
            waits_for_what_can_come(compose, service),
            secrets_can_be_replaced(service),
            database_is_made(compose, name, service),
            console_knows_the_services(compose, name, service),
            profile_is_right(name, service),
        ];
        faults.extend(
            found
                .into_iter()
                .flatten()
                .map(|fault| format!("{name}: {fault}")),
        );
    }
    faults.extend(
        dockerfile
            .images()
            .filter_map(unpinned)
            .map(|fault| format!("Dockerfile: {fault}")),
    );
    if compose["services"]["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] != "false" {
        faults.push("kafka: creates misspelt topics by itself".to_owned());
    }
    faults
}

fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value))
}

/// Runs to its end: whoever depends on it waits for that.
fn is_one_shot(compose: &Value, name: &str) -> bool {
    let mut conditions = entries(&compose["services"])
        .filter_map(|(_, other)| other["depends_on"].get(name))
        .map(|dependency| &dependency["condition"])
        .peekable();
    conditions.peek().is_some()
        && conditions.all(|condition| condition == "service_completed_successfully")
}

fn ends_or_has_health_check(compose: &Value, name: &str, service: &Value) -> Option<String> {
    let check = &service["healthcheck"];
    if is_one_shot(compose, name) {
        return (service["restart"] != "no").then(|| "runs once, but is restarted".to_owned());
    }
    let has_test = check["test"]
        .as_array()
        .is_some_and(|words| words.len() > 1 && words[0] == "CMD");
    (!has_test || check["disable"] == true).then(|| "has no health check".to_owned())
}

fn unpinned(image: &str) -> Option<String> {
    let tag = image
        .rsplit('/')
        .next()
        .and_then(|name| name.split_once(':'));
    match tag {
        Some((_, tag)) if tag != "latest" && tag.contains('.') => None,
        _ => Some(format!("image {image} names no exact version")),
    }
}

fn image_is_pinned(service: &Value) -> Option<String> {
    service["image"].as_str().and_then(unpinned)
}

fn target_exists(service: &Value, dockerfile: &Dockerfile) -> Option<String> {
    let build = service.get("build")?;
    let target = build["target"].as_str().unwrap_or("(none)");
    dockerfile
        .stage(target)
        .is_none()
        .then(|| format!("the Dockerfile has no target {target}"))
}

fn runs_as_ordinary_user(service: &Value, dockerfile: &Dockerfile) -> Option<String> {
    let stage = service["build"]["target"]
        .as_str()
        .and_then(|target| dockerfile.stage(target));
    let user = service["user"]
        .as_str()
        .or_else(|| dockerfile.in_force(stage?, "USER"))
        .unwrap_or("root");
    let id = user.split(':').next().unwrap_or_default();
    (id == "root" || id == "0").then(|| "runs as root".to_owned())
}

fn ports_are_loopback(service: &Value) -> Option<String> {
    let ports = service["ports"].as_array().into_iter().flatten();
    let open = ports
        .filter_map(Value::as_str)
        .find(|port| !port.starts_with("127.0.0.1:"))?;
    Some(format!("port {open} is open to the network"))
}

fn waits_for_what_can_come(compose: &Value, service: &Value) -> Option<String> {
    entries(&service["depends_on"]).find_map(|(name, dependency)| {
        let other = &compose["services"][name];
        let fulfilled = match dependency["condition"].as_str() {
            Some("service_healthy") => other["healthcheck"]["test"].is_array(),
            Some("service_completed_successfully") => other["restart"] == "no",
            _ => false,
        };
        (!fulfilled).then(|| format!("waits for {name} without a condition that {name} can meet"))
    })
}

fn secrets_can_be_replaced(service: &Value) -> Option<String> {
    entries(&service["environment"]).find_map(|(name, value)| {
        let is_secret = name.contains("PASSWORD") || name == "DATABASE_URL";
        let replaceable = value
            .as_str()
            .is_some_and(|text| text.contains("_PASSWORD:-"));
        (is_secret && !replaceable).then(|| format!("{name} cannot be set from outside"))
    })
}

/// The script in docker/postgres-init makes a database for each password that it gets.
fn database_is_made(compose: &Value, name: &str, service: &Value) -> Option<String> {
    let url = service["environment"]["DATABASE_URL"].as_str()?;
    let password = format!("{}_DATABASE_PASSWORD", name.to_uppercase());
    let expected = format!("postgresql://{name}:${{{password}:-{name}}}@postgres:5432/{name}");
    let given = &compose["services"]["postgres"]["environment"][&password];
    let made = given.as_str() == Some(format!("${{{password}:-{name}}}").as_str());
    (url != expected || !made).then(|| format!("database {url} is not the one that is made for it"))
}

/// Or it shows one as unreachable, and carts without what that one holds.
fn console_knows_the_services(compose: &Value, name: &str, service: &Value) -> Option<String> {
    let services = SERVICES.iter().filter(|_| name == "console");
    let mut addresses = services.flat_map(|of| {
        let own = &compose["services"][*of]["environment"];
        let listen = own["HTTP_LISTEN"].as_str().unwrap_or_default();
        let port = listen.rsplit(':').next().unwrap_or_default();
        let database = own["DATABASE_URL"].as_str().unwrap_or_default();
        let variable = of.to_uppercase();
        [
            (
                format!("{variable}_HTTP_URL"),
                format!("http://{of}:{port}"),
            ),
            (format!("{variable}_DATABASE_URL"), database.to_owned()),
        ]
    });
    let (variable, url) =
        addresses.find(|(variable, url)| service["environment"][variable] != *url)?;
    Some(format!("{variable} is not {url:?}"))
}

fn profile_is_right(name: &str, service: &Value) -> Option<String> {
    let is_part = PARTS.contains(&name);
    let right = match service.get("profiles").and_then(Value::as_array) {
        None => is_part,
        Some(profiles) => !is_part && profiles.iter().all(|profile| profile == "services"),
    };
    (!right).then(|| "is in the wrong profile".to_owned())
}
