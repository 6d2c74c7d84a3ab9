//! The external provider: parts that run already, named by the environment.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::addresses::Addresses;
use crate::error::{Error, Result};
use crate::part::{Part, PartKind};
use crate::services::Service;

/// Where Kafka is, as for the services.
pub(crate) const KAFKA: &str = "KAFKA_BOOTSTRAP_SERVERS";
/// Where the schema registry is, as for the services.
pub(crate) const REGISTRY: &str = "SCHEMA_REGISTRY_URL";
/// PostgreSQL, as a user who may create databases and users.
pub(crate) const ADMIN: &str = "POSTGRES_ADMIN_URL";

/// The variable that names a service's database.
pub(crate) fn database_variable(service: Service) -> String {
    format!("{}_DATABASE_URL", service.name().to_uppercase())
}

/// The variable that names a service's HTTP address.
pub(crate) fn http_variable(service: Service) -> String {
    format!("{}_HTTP_URL", service.name().to_uppercase())
}

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// How long a broker may take to accept a connection.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// What is missing; empty when all parts are named and Kafka answers. Addresses
/// in a shell outlive the stack that they were of.
pub(crate) async fn missing() -> Vec<String> {
    let mut missing = missing_in(&environment);
    if missing.is_empty()
        && let Some(servers) = environment(KAFKA)
        && !answers(&servers).await
    {
        missing.push(format!(
            "an answer from {servers}, which {KAFKA} names: start that Kafka, or unset the variable"
        ));
    }
    missing
}

/// Whether one of these "host:port" accepts connections.
async fn answers(servers: &str) -> bool {
    for server in servers.split(',') {
        let connecting = TcpStream::connect(server.trim());
        if let Ok(Ok(_)) = tokio::time::timeout(ANSWER_LIMIT, connecting).await {
            return true;
        }
    }
    false
}

fn missing_in(variable: Environment) -> Vec<String> {
    let mut missing: Vec<String> = [KAFKA, REGISTRY]
        .into_iter()
        .filter(|name| variable(name).is_none())
        .map(|name| format!("the variable {name}"))
        .collect();
    if variable(ADMIN).is_none() && databases_in(variable).len() < Service::ALL.len() {
        missing.push(format!(
            "the variable {ADMIN} (or a *_DATABASE_URL for each service)"
        ));
    }
    missing
}

/// The addresses in the environment.
pub(crate) fn addresses() -> Result<Addresses> {
    let named = |name| {
        environment(name).ok_or_else(|| Error::Invalid(format!("the variable {name} is not set")))
    };
    Ok(Addresses {
        bootstrap_servers: named(KAFKA)?,
        registry_url: named(REGISTRY)?,
        postgres_admin_url: environment(ADMIN),
    })
}

/// The databases that the environment names.
pub(crate) fn databases() -> BTreeMap<Service, String> {
    databases_in(&environment)
}

fn databases_in(variable: Environment) -> BTreeMap<Service, String> {
    Service::ALL
        .iter()
        .filter_map(|service| Some((*service, variable(&database_variable(*service))?)))
        .collect()
}

/// The parts behind addresses, without processes.
pub(crate) fn parts(addresses: &Addresses) -> Vec<Part> {
    let servers = &addresses.bootstrap_servers;
    let first = servers.split(',').next().map(str::to_owned);
    let mut parts = vec![
        part(PartKind::Kafka, "Kafka", first, servers),
        registry(&addresses.registry_url),
    ];
    if let Some(url) = &addresses.postgres_admin_url {
        let address = host_and_port(url, 5432);
        parts.push(part(PartKind::Postgres, "PostgreSQL", address, url));
    }
    parts
}

/// The schema registry at this URL.
pub(crate) fn registry(url: &str) -> Part {
    let address = host_and_port(url, 80);
    part(PartKind::Registry, "schema registry", address, url)
}

fn part(kind: PartKind, name: &str, address: Option<String>, url: &str) -> Part {
    Part {
        kind,
        name: name.to_owned(),
        address: address.unwrap_or_default(),
        url: url.to_owned(),
        process: None,
        detour: None,
    }
}

/// "host:port" of a URL.
fn host_and_port(url: &str, default_port: u16) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?']).next()?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let port = if scheme == "https" { 443 } else { default_port };
    Some(match host.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
        _ => format!("{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_but(left_out: &'static str) -> impl Fn(&str) -> Option<String> {
        move |name| {
            ([KAFKA, REGISTRY, ADMIN].contains(&name) && name != left_out).then(|| "x".into())
        }
    }

    #[test]
    fn missing_variables_are_named() {
        assert!(missing_in(&all_but("")).is_empty());
        assert!(missing_in(&all_but(KAFKA))[0].contains(KAFKA));
        assert!(missing_in(&all_but(ADMIN))[0].contains(ADMIN));
    }

    #[test]
    fn ready_made_databases_need_no_administrator() {
        let given = |name: &str| (name != ADMIN).then(|| "x".to_owned());
        assert!(missing_in(&given).is_empty());
        assert_eq!(databases_in(&given).len(), Service::ALL.len());
        assert_eq!(database_variable(Service::Order), "ORDER_DATABASE_URL");
    }

    #[tokio::test]
    async fn addresses_of_a_stack_that_is_down_do_not_count() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        assert!(answers(&format!("127.0.0.1:1, {address}")).await);
        drop(listener);
        assert!(!answers(&address).await);
    }

    #[test]
    fn hosts_and_ports_of_urls() {
        let of = |url| host_and_port(url, 80).unwrap();
        assert_eq!(of("http://a:8085/apis/ccompat/v7"), "a:8085");
        assert_eq!(of("https://a"), "a:443");
        assert_eq!(of("http://u:p@a/b"), "a:80");
    }
}
