//! The command line.

use std::time::Duration;

use checkoutctl::{Cluster, stock::Stock, topics};
use clap::{Parser, Subcommand};
use contracts::{RegistryConfig, TopicNames};

use crate::audit_args::AuditArgs;

/// Prepares Kafka and the schema registry for the checkout, seeds stock and audits.
///
/// Every command can be repeated: what is already as it should be is left alone.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = "Examples:
  checkoutctl topics apply --kafka-bootstrap-servers localhost:9092
  checkoutctl schemas apply --schema-registry-url http://localhost:8081
  checkoutctl schemas check && echo ready
  checkoutctl stock set TEA-1=40 CUP-2=12
  checkoutctl audit --json

Addresses can also be given by the environment, as --help of each command shows."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) names: NamesArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(clap::Args, Debug)]
pub(crate) struct NamesArgs {
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
    pub(crate) fn names(&self) -> TopicNames {
        TopicNames::new(&self.topic_prefix)
    }
}

fn prefix(text: &str) -> Result<String, String> {
    TopicNames::check_prefix(text).map(|()| text.to_owned())
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// The topics of topics.yaml.
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// The schemas of schemas/.
    #[command(subcommand)]
    Schemas(SchemasCommand),
    /// The stock on hand.
    #[command(subcommand)]
    Stock(StockCommand),
    /// Does everything add up? Compares topics and databases; changes nothing.
    ///
    /// Exit status 0: it does; 1: there are violations; 2: it could not be found
    /// out. Can be used while the system works.
    #[command(after_help = "Examples:
  set -a; . .stack/stack.env; set +a; checkoutctl audit
  checkoutctl audit --since 24h --grace-seconds 300 --json")]
    Audit(Box<AuditArgs>),
}

#[derive(Subcommand, Debug)]
pub(crate) enum TopicsCommand {
    /// Create the topics that are missing, and report those that differ.
    ///
    /// Existing topics are never changed: more partitions move keys, and shorter
    /// retention deletes records.
    #[command(after_help = "Example:
  checkoutctl topics apply --kafka-bootstrap-servers kafka-1:9092 --partitions 12 --replication-factor 3")]
    Apply {
        #[command(flatten)]
        kafka: KafkaArgs,
        #[command(flatten)]
        options: TopicOptions,
        /// End with exit status 1 when a topic differs from topics.yaml.
        #[arg(long)]
        fail_on_drift: bool,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum SchemasCommand {
    /// Register every schema and set its subject's compatibility to FULL_TRANSITIVE.
    #[command(after_help = "Example:
  checkoutctl schemas apply --schema-registry-url http://localhost:8081")]
    Apply {
        #[command(flatten)]
        registry: RegistryArgs,
    },
    /// Tell which subjects are missing or differ; exit status 1 if any does.
    #[command(after_help = "Example:
  checkoutctl schemas check --schema-registry-url http://localhost:8081")]
    Check {
        #[command(flatten)]
        registry: RegistryArgs,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum StockCommand {
    /// Set the stock on hand of products, whatever it was before.
    ///
    /// Publishes one SetStock for each and returns when Kafka has them; the
    /// inventory service acts on them in its own time.
    #[command(after_help = "Example:
  checkoutctl stock set TEA-1=40 CUP-2=12")]
    Set {
        #[command(flatten)]
        kafka: KafkaArgs,
        #[command(flatten)]
        registry: RegistryArgs,
        /// Product and number of pieces.
        #[arg(required = true, value_name = "SKU=NUMBER")]
        stock: Vec<Stock>,
    },
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Kafka")]
pub(crate) struct KafkaArgs {
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
    pub(crate) fn cluster(&self) -> Cluster {
        Cluster {
            bootstrap_servers: self.kafka_bootstrap_servers.clone(),
            properties: self.kafka_properties.clone(),
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

#[derive(clap::Args, Debug)]
pub(crate) struct TopicOptions {
    /// Partitions of every topic, instead of those in topics.yaml.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    /// Replicas of every partition, instead of those in topics.yaml.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    replication_factor: Option<i32>,

    /// Time limit of the whole work, in seconds.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    timeout_seconds: u64,
}

impl TopicOptions {
    pub(crate) fn options(&self) -> topics::Options {
        topics::Options {
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            timeout: Duration::from_secs(self.timeout_seconds),
        }
    }
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Schema registry")]
pub(crate) struct RegistryArgs {
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
    pub(crate) fn config(&self) -> RegistryConfig {
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_prefix_may_stand_anywhere_and_is_checked() {
        for line in [
            "checkoutctl --topic-prefix eu. schemas check",
            "checkoutctl schemas check --topic-prefix eu.",
        ] {
            let args = Args::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(args.names.names().prefix(), "eu.");
        }
        let bad = "checkoutctl --topic-prefix e/u schemas check".split(' ');
        assert!(Args::try_parse_from(bad).is_err());
    }
}
