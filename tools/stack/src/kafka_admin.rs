//! Questions to a Kafka cluster.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

/// One question to the cluster.
const METADATA_LIMIT: Duration = Duration::from_secs(5);

/// How many brokers take requests; at least one, or the reason why none does.
pub(crate) async fn ready_brokers(bootstrap_servers: &str) -> Result<usize, String> {
    let servers = bootstrap_servers.to_owned();
    let ask = move || -> Result<usize, KafkaError> {
        let client: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("log_level", "0")
            .create()?;
        Ok(client.fetch_metadata(None, METADATA_LIMIT)?.brokers().len())
    };
    match tokio::task::spawn_blocking(ask).await {
        Ok(Ok(0)) => Err("no broker takes requests yet".into()),
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
