//! The cart service: publishes carts as any producer would, with a plain
//! Kafka client and the contracts' codec.

use std::time::Duration;

use anyhow::{Context, anyhow};
use contracts::messages::CartCheckedOut;
use contracts::{Codec, Message, RecordType, Topic, TraceContext, headers};
use futures::FutureExt;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use rdkafka::types::RDKafkaErrorCode;
use stack::Installation;

use crate::carts::Cart;

/// What it writes.
pub(crate) const WRITES: &[RecordType] = &[RecordType::CartCheckedOut];
/// Who it says it is.
const SOURCE: &str = "/demo/cart-service";
/// A record's delivery.
const DELIVERY_LIMIT: Duration = Duration::from_secs(30);
/// Pause before a full queue is tried again.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);

/// The cart service.
pub(crate) struct Shop {
    producer: FutureProducer,
    codec: Codec,
}

impl Shop {
    pub(crate) fn open(installation: &Installation, codec: &Codec) -> anyhow::Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &installation.bootstrap_servers)
            .set("client.id", "demo-cart-service")
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            // Java's: so carts go where other producers would put them.
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", DELIVERY_LIMIT.as_millis().to_string())
            .create()
            .context("cannot create a producer")?;
        Ok(Self {
            producer,
            codec: codec.clone(),
        })
    }

    /// Publishes all events of a cart, in order. Returns when they are under
    /// way; a delivery that fails is sent to `failed`.
    pub(crate) async fn publish(
        &self,
        cart: &Cart,
        failed: &tokio::sync::mpsc::UnboundedSender<anyhow::Error>,
    ) -> anyhow::Result<()> {
        for event in &cart.events {
            let delivery = self.enqueue(event).await?;
            let failed = failed.clone();
            tokio::spawn(delivery.map(move |outcome| {
                let error = match outcome {
                    Ok(Ok(_)) => return,
                    Ok(Err((error, _))) => anyhow!(error),
                    Err(_) => anyhow!("the producer was closed"),
                };
                // Nobody listens any more when the run has ended.
                let _ = failed.send(error.context("a cart was not delivered"));
            }));
        }
        Ok(())
    }

    async fn enqueue(&self, event: &CartCheckedOut) -> anyhow::Result<DeliveryFuture> {
        let message = Message::from(event.clone());
        let value = self.codec.encode(&message)?;
        let key = message.key();
        let trace = TraceContext::new_root();
        let mut all = OwnedHeaders::new();
        for (key, value) in headers(&message, SOURCE, event.occurred_at, &trace) {
            all = all.insert(Header {
                key: &key,
                value: Some(&value),
            });
        }
        let topic = self.codec.topics().name(Topic::ShoppingCheckouts);
        let mut record = FutureRecord::to(topic)
            .key(&key)
            .payload(&value)
            .headers(all);
        loop {
            match self.producer.send_result(record) {
                Ok(delivery) => return Ok(delivery),
                Err((error, back))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
                {
                    record = back;
                    tokio::time::sleep(QUEUE_FULL_PAUSE).await;
                }
                Err((error, _)) => return Err(error).context("cannot publish a cart"),
            }
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // Everything was delivered when the run went well; when it did not,
        // waiting for the rest helps nobody.
        self.producer
            .purge(rdkafka::producer::PurgeConfig::default().queue());
    }
}
