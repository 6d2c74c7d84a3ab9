//! How to reach a Kafka cluster.

use std::time::Duration;

use anyhow::Context;
use rdkafka::{
    ClientConfig,
    client::{Client, DefaultClientContext},
    metadata::Metadata,
};

/// A Kafka cluster and how to reach it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Some of its brokers, `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Further librdkafka properties, for example for TLS.
    pub properties: Vec<(String, String)>,
}

impl From<&str> for Cluster {
    /// A cluster that needs no further properties.
    fn from(bootstrap_servers: &str) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            properties: Vec::new(),
        }
    }
}

impl From<&String> for Cluster {
    fn from(bootstrap_servers: &String) -> Self {
        Self::from(bootstrap_servers.as_str())
    }
}

impl From<audit::Kafka> for Cluster {
    fn from(kafka: audit::Kafka) -> Self {
        Self {
            bootstrap_servers: kafka.bootstrap_servers,
            properties: kafka.properties,
        }
    }
}

impl From<&Cluster> for Cluster {
    fn from(cluster: &Cluster) -> Self {
        cluster.clone()
    }
}

impl Cluster {
    /// The configuration of a client of this cluster.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", "checkoutctl")
            // What clients log while brokers are away is said by our errors.
            .set("log.connection.close", "false");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    /// The cluster's metadata: all of it, fresh from a broker.
    pub(crate) async fn metadata(&self, timeout: Duration) -> anyhow::Result<Metadata> {
        let config = self.client_config();
        let fetch = move || -> rdkafka::error::KafkaResult<Metadata> {
            let native = config.create_native_config()?;
            let client = Client::new(
                &config,
                native,
                rdkafka::types::RDKafkaType::RD_KAFKA_PRODUCER,
                DefaultClientContext,
            )?;
            client.fetch_metadata(None, timeout)
        };
        // librdkafka waits for the broker by blocking the thread.
        tokio::task::spawn_blocking(fetch)
            .await
            .context("the thread that asks Kafka broke down")?
            .with_context(|| {
                format!(
                    "no Kafka broker answered at {} within {timeout:?}; check the address and that Kafka runs",
                    self.bootstrap_servers
                )
            })
    }
}
