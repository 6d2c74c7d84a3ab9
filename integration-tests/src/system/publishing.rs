//! What a cart service, an operator and a stranger publish.

use std::sync::atomic::Ordering;

use contracts::ids::GenericUuid;
use contracts::messages::{CartCheckedOut, SetStock};
use contracts::{DLQ_CODE, Message, Topic, TraceContext};
use futures::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use stack::Installation;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{LOOK_AGAIN, System};
use crate::{PATIENCE, Seen};

/// A client that publishes as a cart service might.
pub(super) fn producer(installation: &Installation) -> FutureProducer {
    ClientConfig::new()
        .set("bootstrap.servers", &installation.bootstrap_servers)
        .set("partitioner", "murmur2_random")
        .set("message.max.bytes", "2000000")
        .set("message.timeout.ms", "60000")
        // Tests add partitions and wait for them.
        .set("topic.metadata.refresh.interval.ms", "1000")
        .create()
        .expect("a producer")
}

impl System {
    /// A message in the wire format.
    pub fn encode(&self, message: &Message) -> Vec<u8> {
        self.codec.encode(message).expect("it encodes")
    }

    /// Publishes as the cart service does.
    pub async fn publish(&self, cart: &CartCheckedOut) {
        self.publish_message(&cart.clone().into()).await;
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    /// How many carts it has published.
    pub fn published(&self) -> usize {
        self.published.load(Ordering::Relaxed)
    }

    /// Publishes several carts without waiting in between.
    pub async fn publish_all(&self, carts: &[&CartCheckedOut]) {
        join_all(carts.iter().map(|cart| self.publish(cart))).await;
    }

    /// Publishes a cart as part of a trace.
    pub async fn publish_traced(&self, cart: &CartCheckedOut, trace: &TraceContext) {
        let message: Message = cart.clone().into();
        let headers = contracts::headers(&message, "/shop/carts", cart.occurred_at, trace);
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let value = self.encode(&message);
        self.publish_raw(
            Topic::ShoppingCheckouts,
            Some(message.key().as_bytes()),
            Some(&value),
            &headers,
        )
        .await;
    }

    pub async fn publish_message(&self, message: &Message) {
        let value = self.encode(message);
        let key = message.key();
        self.publish_raw(
            message.record_type().topic(),
            Some(key.as_bytes()),
            Some(&value),
            &[],
        )
        .await;
    }

    /// Publishes on a topic and partition of the caller's choice, as soon as the
    /// partition is there.
    pub async fn publish_at(&self, topic: Topic, partition: i32, message: &Message) {
        let value = self.encode(message);
        let key = message.key();
        let record = || {
            FutureRecord::to(self.names.name(topic))
                .partition(partition)
                .key(key.as_bytes())
                .payload(value.as_slice())
        };
        self.send(record).await;
    }

    /// The client of now.
    pub(super) fn producer(&self) -> FutureProducer {
        self.producer.lock().expect("no panic").clone()
    }

    /// Sends a record until Kafka has it. A client that cannot for long is replaced, as a
    /// shop would do: it has been seen not to come back from a broker that hung.
    async fn send<'a>(&self, record: impl Fn() -> FutureRecord<'a, [u8], [u8]>) {
        let begin = Instant::now();
        let mut producer = self.producer();
        while let Err((error, _)) = producer.send(record(), PATIENCE).await {
            eprintln!("not published, trying again: {error}");
            assert!(begin.elapsed() < PATIENCE, "not published: {error}");
            sleep(LOOK_AGAIN).await;
            producer = self::producer(&self.installation);
            *self.producer.lock().expect("no panic") = producer.clone();
        }
    }

    /// Publishes whatever bytes.
    pub async fn publish_raw(
        &self,
        topic: Topic,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) {
        let mut owned = OwnedHeaders::new();
        for (name, value) in headers {
            owned = owned.insert(Header {
                key: name,
                value: Some(*value),
            });
        }
        self.send(|| {
            let mut record = FutureRecord::to(self.names.name(topic)).headers(owned.clone());
            record.key = key;
            record.payload = value;
            record
        })
        .await;
    }

    /// Puts records aside in this order, as a service would have: key, value and code of
    /// each.
    pub async fn bury(&self, dlq: &str, letters: &[(&str, &[u8], &str)]) {
        // Dead-letter topics take larger records than the topics that they are of.
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.installation.bootstrap_servers)
            .set("message.max.bytes", "8388608")
            .set("enable.idempotence", "true")
            .create()
            .expect("a producer");
        let buried = letters.iter().map(|(key, value, code)| {
            let headers = OwnedHeaders::new().insert(Header {
                key: DLQ_CODE,
                value: Some(*code),
            });
            let record = FutureRecord::to(dlq)
                .key(*key)
                .payload(*value)
                .headers(headers);
            let sent = producer.send_result(record);
            sent.unwrap_or_else(|(error, _)| panic!("not buried: {error}"))
        });
        for delivery in join_all(buried.collect::<Vec<_>>()).await {
            delivery.expect("the producer lives").expect("buried");
        }
    }

    /// Publishes a record once more, as it is.
    pub async fn publish_again(&self, seen: &Seen) {
        let topic = self.names.topic(&seen.topic).expect("one of ours");
        let headers: Vec<(&str, &[u8])> = seen
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let (key, payload) = (seen.key.as_deref(), seen.payload.as_deref());
        self.publish_raw(topic, key, payload, &headers).await;
    }

    /// Sets the stock of a product and waits until it is set.
    pub async fn set_stock(&self, product: &str, on_hand: i64) {
        let command = SetStock {
            command_id: contracts::ids::CommandId::from_untyped_uuid(Uuid::new_v4()),
            product_id: product.to_owned(),
            on_hand,
        };
        let id = command.command_id;
        self.publish_message(&command.into()).await;
        self.recorder
            .wait_for("the stock is set", |seen| {
                seen.iter()
                    .any(|seen| {
                        matches!(&seen.message, Some(Message::StockSet(set)) if set.command_id == id)
                    })
                    .then_some(())
            })
            .await;
    }
}
