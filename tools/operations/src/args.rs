//! Flags that say where everything is, for every program that operates it.

use std::path::PathBuf;
use std::time::Duration;

use audit::{Database, Kafka, Target};
use contracts::{RegistryConfig, TopicNames};

/// What the names of topics begin with.
#[derive(clap::Args, Debug)]
pub struct NamesArgs {
    /// Put before the name of every topic and subject.
    #[arg(
        long,
        global = true,
        env = "TOPIC_PREFIX",
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true,
        value_parser = prefix
    )]
    topic_prefix: String,
}

impl NamesArgs {
    /// The names of the topics.
    pub fn names(&self) -> TopicNames {
        TopicNames::new(&self.topic_prefix)
    }
}

fn prefix(text: &str) -> Result<String, String> {
    TopicNames::check_prefix(text).map(|()| text.to_owned())
}

/// How to reach Kafka.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Kafka")]
pub struct KafkaArgs {
    /// Brokers to start from.
    #[arg(
        long,
        env = "KAFKA_BOOTSTRAP_SERVERS",
        value_name = "HOST:PORT,…",
        default_value = "localhost:9092"
    )]
    kafka_bootstrap_servers: String,

    /// A further librdkafka property; may be given several times. In the
    /// environment, separate properties by newlines.
    #[arg(
        long = "kafka-property",
        env = "KAFKA_PROPERTIES",
        value_name = "NAME=VALUE",
        value_delimiter = '\n',
        hide_env_values = true,
        value_parser = property
    )]
    kafka_properties: Vec<(String, String)>,
}

impl KafkaArgs {
    /// The cluster, given up after so long without an answer.
    pub fn kafka(&self, timeout: Duration) -> Kafka {
        Kafka {
            bootstrap_servers: self.kafka_bootstrap_servers.clone(),
            properties: self.kafka_properties.clone(),
            timeout,
        }
    }
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err("a property is NAME=VALUE".to_owned()),
    }
}

/// How to reach the schema registry.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Schema registry")]
pub struct RegistryArgs {
    /// Addresses of the schema registry (Confluent's API); the next is asked
    /// where one fails.
    #[arg(
        long,
        env = "SCHEMA_REGISTRY_URL",
        value_name = "URL,…",
        value_delimiter = ',',
        default_value = "http://localhost:8081"
    )]
    schema_registry_url: Vec<String>,

    /// User for basic authentication at the registry.
    #[arg(long, env = "SCHEMA_REGISTRY_USER", value_name = "USER")]
    schema_registry_user: Option<String>,

    /// Password for basic authentication at the registry.
    #[arg(
        long,
        env = "SCHEMA_REGISTRY_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true,
        requires = "schema_registry_user"
    )]
    schema_registry_password: Option<String>,

    /// Time limit of one request to the registry, in milliseconds.
    #[arg(
        long,
        env = "SCHEMA_REGISTRY_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    schema_registry_timeout_ms: u64,
}

impl RegistryArgs {
    /// The registry as its clients want it.
    pub fn config(&self) -> RegistryConfig {
        let password = self.schema_registry_password.clone().unwrap_or_default();
        RegistryConfig {
            urls: self.schema_registry_url.clone(),
            timeout: Duration::from_millis(self.schema_registry_timeout_ms),
            basic_auth: self
                .schema_registry_user
                .clone()
                .map(|user| (user, password)),
            ..RegistryConfig::default()
        }
    }
}

/// Kafka, the registry and the databases.
#[derive(clap::Args, Debug)]
pub struct TargetArgs {
    #[command(flatten)]
    kafka: KafkaArgs,

    #[command(flatten)]
    registry: RegistryArgs,

    #[command(flatten)]
    databases: DatabasesArgs,
}

/// The databases of the services; any user who may read them will do. The rules
/// about one without a URL are not applied. The database of a participant that has
/// no flag here is given as `<NAME>_DATABASE_URL` in the environment.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Databases")]
pub struct DatabasesArgs {
    /// Database of the orchestrator, postgresql://user:password@host:port/name.
    #[arg(
        long,
        env = "ORCHESTRATOR_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    orchestrator_database_url: Option<String>,

    /// Database of the inventory service.
    #[arg(
        long,
        env = "INVENTORY_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    inventory_database_url: Option<String>,

    /// Database of the payment service.
    #[arg(
        long,
        env = "PAYMENT_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    payment_database_url: Option<String>,

    /// Database of the order service.
    #[arg(
        long,
        env = "ORDER_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    order_database_url: Option<String>,

    /// PEM file of the certificate authorities trusted for the databases.
    /// Default: those of the web.
    #[arg(long, env = "DATABASE_TLS_CA_FILE", value_name = "FILE")]
    database_tls_ca_file: Option<PathBuf>,
}

impl TargetArgs {
    /// Where to look; Kafka and the registry are given up after so many seconds without
    /// an answer.
    pub fn target(&self, names: TopicNames, timeout_seconds: u64) -> Target {
        self.target_within(names, Duration::from_secs(timeout_seconds))
    }

    /// Where to look; Kafka and the registry are given up after so long without an
    /// answer.
    pub fn target_within(&self, names: TopicNames, timeout: Duration) -> Target {
        let databases = &self.databases;
        let database = |url: &Option<String>| {
            let url = url.clone().filter(|url| !url.is_empty())?;
            let tls_ca_file = databases.database_tls_ca_file.clone();
            Some(Database { url, tls_ca_file })
        };
        Target {
            kafka: self.kafka.kafka(timeout),
            registry: self.registry.config().within(timeout),
            topics: names,
            orchestrator: database(&databases.orchestrator_database_url),
            inventory: database(&databases.inventory_database_url),
            payment: database(&databases.payment_database_url),
            order: database(&databases.order_database_url),
            others: audit::further_services()
                .into_iter()
                .filter_map(|service| {
                    let name = format!("{}_DATABASE_URL", service.to_uppercase());
                    Some((service, database(&std::env::var(name).ok())?))
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Tool {
        #[command(flatten)]
        target: TargetArgs,
    }

    #[test]
    fn a_tool_asks_the_registry_once_and_within_its_own_time_out() {
        let tool = Tool::parse_from([
            "tool",
            "--schema-registry-url=http://a,http://b",
            "--schema-registry-timeout-ms=5000",
        ]);
        let registry = tool.target.target(TopicNames::default(), 2).registry;
        assert_eq!(registry.timeout * 2, Duration::from_secs(2), "both nodes");
        assert_eq!(registry.attempts, 1);
        assert!(registry.gives_up);
    }
}
