//! One installation of the system: topics under a prefix, their schemas, and a
//! database for each service. Several live side by side on the same parts.

use std::collections::BTreeMap;
use std::time::Duration;

use checkoutctl::{schemas, topics};
use contracts::{RegistryConfig, TopicNames};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use crate::addresses::Addresses;
use crate::database;
use crate::error::{Error, Result};
use crate::services::Service;

/// Making all topics of an installation, also on brokers that have just started and make
/// those of many at once.
const TOPICS_LIMIT: Duration = Duration::from_secs(180);

/// What a service or a test needs to know of its installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    /// Tells it from others on the same parts; empty for the usual one.
    pub name: String,
    /// What every topic's name begins with.
    pub topic_prefix: String,
    /// Kafka's addresses.
    pub bootstrap_servers: String,
    /// The schema registry's base address.
    pub registry_url: String,
    /// Each service's database.
    pub databases: BTreeMap<Service, String>,
}

impl Installation {
    /// The names of its topics.
    pub fn topics(&self) -> TopicNames {
        TopicNames::new(&self.topic_prefix)
    }

    /// How to reach its schema registry.
    pub fn registry(&self) -> RegistryConfig {
        RegistryConfig::at(&self.registry_url)
    }

    /// The URL of a service's database.
    pub fn database_url(&self, service: Service) -> &str {
        self.databases.get(&service).map_or("", String::as_str)
    }

    /// Where an audit of it has to look.
    pub fn audit_target(&self) -> audit::Target {
        let database = |service| {
            let url = self.databases.get(&service)?;
            Some(audit::Database::at(url))
        };
        audit::Target {
            kafka: audit::Kafka::at(&self.bootstrap_servers),
            registry: self.registry(),
            topics: self.topics(),
            orchestrator: database(Service::Orchestrator),
            inventory: database(Service::Inventory),
            payment: database(Service::Payment),
            order: database(Service::Order),
            others: Service::ALL
                .iter()
                .filter(|service| !audit::SERVICES.contains(&service.name()))
                .filter_map(|service| Some((service.name(), database(*service)?)))
                .collect(),
        }
    }

    /// Waits until everything adds up and is at rest; reports what does not after
    /// `limit`.
    ///
    /// # Errors
    /// When Kafka, the registry or a database cannot be read.
    pub async fn audit(&self, limit: Duration) -> Result<audit::Report> {
        self.audit_since(None, limit).await
    }

    /// The same, for carts published since then alone.
    ///
    /// # Errors
    /// As [`Installation::audit`].
    pub async fn audit_since(
        &self,
        since: Option<Timestamp>,
        limit: Duration,
    ) -> Result<audit::Report> {
        let options = audit::Options {
            since,
            ..audit::Options::default()
        };
        Ok(audit::settle(&self.audit_target(), &options, limit).await?)
    }

    /// Connects to a service's database, as the service does.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn connect(&self, service: Service) -> Result<Client> {
        database::connect(self.database_url(service)).await
    }
}

/// How topics differ from their declaration, where they do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shape {
    pub(crate) partitions: Option<i32>,
    pub(crate) replicas: Option<i32>,
}

/// Creates the databases that are not `given` and applies topics and schemas.
pub(crate) async fn create(
    addresses: &Addresses,
    name: &str,
    topic_prefix: &str,
    shape: Shape,
    given: BTreeMap<Service, String>,
) -> Result<Installation> {
    TopicNames::check_prefix(topic_prefix).map_err(Error::Invalid)?;
    let databases = async {
        let mut databases = given;
        if Service::ALL
            .iter()
            .all(|service| databases.contains_key(service))
        {
            return Ok(databases);
        }
        let admin_url = addresses.postgres_admin_url.as_deref().ok_or_else(|| {
            Error::Invalid(
                "databases of its own need POSTGRES_ADMIN_URL, a user who may create databases \
                 and users"
                    .into(),
            )
        })?;
        // At once: each copies a template and waits for the disk.
        let all = Service::ALL.iter().map(async |service| {
            let database = match name {
                "" => service.name().to_owned(),
                name => format!("{}_{name}", service.name()),
            };
            let admin = database::connect(admin_url).await?;
            let url = database::create(&admin, admin_url, &database).await?;
            Ok::<_, Error>((*service, url))
        });
        for (service, url) in futures::future::try_join_all(all).await? {
            databases.entry(service).or_insert(url);
        }
        Ok(databases)
    };
    let (databases, (), ()) = tokio::try_join!(
        databases,
        apply_topics(addresses, topic_prefix, shape),
        apply_schemas(addresses, topic_prefix),
    )?;
    Ok(Installation {
        name: name.to_owned(),
        topic_prefix: topic_prefix.to_owned(),
        bootstrap_servers: addresses.bootstrap_servers.clone(),
        registry_url: addresses.registry_url.clone(),
        databases,
    })
}

async fn apply_topics(addresses: &Addresses, prefix: &str, shape: Shape) -> Result<()> {
    let cluster = checkoutctl::Cluster::from(&addresses.bootstrap_servers);
    let options = topics::Options {
        timeout: TOPICS_LIMIT,
        partitions: shape.partitions,
        replication_factor: shape.replicas,
    };
    topics::apply(&cluster, &TopicNames::new(prefix), &options)
        .await
        .map(drop)
        .map_err(deploy("topics", &addresses.bootstrap_servers))
}

async fn apply_schemas(addresses: &Addresses, prefix: &str) -> Result<()> {
    let config = RegistryConfig::at(&addresses.registry_url);
    schemas::apply(&config, &TopicNames::new(prefix))
        .await
        .map(drop)
        .map_err(deploy("schemas", &addresses.registry_url))
}

fn deploy(what: &str, to: &str) -> impl FnOnce(anyhow::Error) -> Error {
    let doing = format!("cannot apply the {what} to {to}");
    move |cause| Error::Deploy { doing, cause }
}
