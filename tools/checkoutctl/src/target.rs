//! Flags that say where everything is.

use std::path::PathBuf;
use std::time::Duration;

use audit::{Database, Kafka, Target};
use contracts::TopicNames;

use crate::args::{KafkaArgs, RegistryArgs};

/// Kafka, the registry and the databases.
#[derive(clap::Args, Debug)]
pub(crate) struct TargetArgs {
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,

    #[command(flatten)]
    pub(crate) registry: RegistryArgs,

    #[command(flatten)]
    databases: DatabasesArgs,
}

/// The databases of the services; any user who may read them will do. The rules
/// about one without a URL are not applied. The database of a participant that has
/// no flag here is given as `<NAME>_DATABASE_URL` in the environment.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Databases")]
pub(crate) struct DatabasesArgs {
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
    /// Where to look; Kafka is given up after so many seconds without an answer.
    pub(crate) fn target(&self, names: TopicNames, timeout_seconds: u64) -> Target {
        let cluster = self.kafka.cluster();
        let databases = &self.databases;
        let database = |url: &Option<String>| {
            let url = url.clone().filter(|url| !url.is_empty())?;
            let tls_ca_file = databases.database_tls_ca_file.clone();
            Some(Database { url, tls_ca_file })
        };
        Target {
            kafka: Kafka {
                bootstrap_servers: cluster.bootstrap_servers,
                properties: cluster.properties,
                timeout: Duration::from_secs(timeout_seconds),
            },
            registry: self.registry.config(),
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
