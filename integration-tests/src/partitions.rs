//! Topics that get more partitions.

use contracts::Topic;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use tokio::time::{Duration, Instant, sleep};

use crate::{PATIENCE, System};

impl System {
    /// A client that administers topics.
    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.installation().bootstrap_servers)
            .create()
            .expect("an admin client")
    }

    /// How many partitions a topic has.
    pub async fn partitions(&self, topic: Topic) -> usize {
        let (admin, name) = (self.admin(), self.names.name(topic).to_owned());
        let asking = move || {
            let metadata = admin.inner().fetch_metadata(Some(&name), PATIENCE);
            metadata.map(|metadata| metadata.topics()[0].partitions().len())
        };
        let asked = tokio::task::spawn_blocking(asking).await.expect("asked");
        asked.expect("metadata")
    }

    /// Gives a topic so many partitions in all, as soon as the broker is there.
    pub async fn set_partitions(&self, topic: Topic, partitions: usize) {
        let admin = self.admin();
        let more = NewPartitions::new(self.names.name(topic), partitions);
        let begin = Instant::now();
        loop {
            let asked = admin.create_partitions([&more], &AdminOptions::new()).await;
            let refusal = match asked.as_ref().map(|outcomes| &outcomes[0]) {
                Ok(Ok(_)) => return,
                // The answer to an earlier try got lost.
                _ if self.partitions(topic).await == partitions => return,
                Ok(Err((_, code))) => code.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(begin.elapsed() < PATIENCE, "not added: {refusal}");
            sleep(Duration::from_millis(500)).await;
        }
    }
}
