//! One run: carts are published and their outcomes read by one thread, so that
//! it costs the machine as little as can be.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use contracts::ids::{CheckoutId, GenericUuid, checkout_id};
use contracts::{Codec, Message, Topic, TraceContext, headers};
use hdrhistogram::Histogram;
use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use stack::Installation;

use crate::carts::Carts;
use crate::hops::Traced;
use crate::pace::Pace;
use crate::traffic::{Observed, STATISTICS_INTERVAL_MS, Traffic};

/// Asking for a topic's partitions.
const METADATA_LIMIT: Duration = Duration::from_secs(30);
/// Without any outcome, or room for a cart, for so long a run is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest wait for a record, so that carts are published on time.
const POLL: Duration = Duration::from_millis(1);
/// Latencies are kept in microseconds up to ten minutes, to three digits.
const LONGEST_US: u64 = 600_000_000;
/// In the middle of the measured time, carts of a third of it are traced, and of this long
/// at least.
const TRACED_MIN: Duration = Duration::from_secs(2);

/// What a run gave.
pub(crate) struct Sample {
    /// Sagas that ended in the measured time.
    pub(crate) ended: u64,
    /// Of these, by outcome.
    pub(crate) created: u64,
    pub(crate) failed: u64,
    pub(crate) rejected: u64,
    /// The measured time.
    pub(crate) took: Duration,
    /// From publication, or from when it was due, to the outcome read, in µs.
    pub(crate) latencies: Histogram<u64>,
    /// Carts published in the whole run, warm-up included.
    pub(crate) published: u64,
    /// Some whose orders were created, to be followed hop by hop.
    pub(crate) traced: Vec<Traced>,
}

/// A cart whose outcome has not been read.
struct Open {
    /// When it was published, or was due.
    since: Instant,
    /// Where it is one to be followed.
    traced: Option<Traced>,
}

/// The client of one variant: its carts and its public topics.
pub(crate) struct Driver {
    producer: ThreadedProducer<Observed>,
    consumer: BaseConsumer<Observed>,
    codec: Codec,
    runtime: tokio::runtime::Handle,
}

impl Driver {
    pub(crate) fn open(installation: &Installation, codec: &Codec) -> anyhow::Result<Self> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &installation.bootstrap_servers)
            .set("client.id", "bench-cart-service")
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            // Java's: so carts go where other producers would put them.
            .set("partitioner", "murmur2_random")
            .set("statistics.interval.ms", STATISTICS_INTERVAL_MS)
            .create_with_context(Observed::default())
            .context("cannot create a producer")?;
        let consumer: BaseConsumer<Observed> = ClientConfig::new()
            .set("bootstrap.servers", &installation.bootstrap_servers)
            .set("client.id", "bench-subscriber")
            .set("group.id", format!("{}bench", installation.topic_prefix))
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("statistics.interval.ms", STATISTICS_INTERVAL_MS)
            .create_with_context(Observed::default())
            .context("cannot create a consumer")?;
        let mut assignment = TopicPartitionList::new();
        for topic in [Topic::OrderingOrders, Topic::OrderingCheckouts] {
            let name = codec.topics().name(topic);
            let metadata = consumer
                .fetch_metadata(Some(name), METADATA_LIMIT)
                .with_context(|| format!("cannot find topic {name}"))?;
            for partition in metadata
                .topics()
                .iter()
                .flat_map(|found| found.partitions())
            {
                assignment.add_partition_offset(name, partition.id(), Offset::Beginning)?;
            }
        }
        consumer
            .assign(&assignment)
            .context("cannot read the public topics")?;
        Ok(Self {
            producer,
            consumer,
            codec: codec.clone(),
            runtime: tokio::runtime::Handle::current(),
        })
    }

    /// What our own clients have sent.
    pub(crate) fn traffic(&self) -> Traffic {
        let producer = self.producer.context().totals();
        let consumer = self.consumer.client().context().totals();
        [
            ("load/producer".to_owned(), producer),
            ("load/consumer".to_owned(), consumer),
        ]
        .into()
    }

    /// Publishes at this pace for `warm_up` and `length`, counts what ends in
    /// `length`, then waits until all have ended. `measuring` is called when the
    /// measured time begins and when it ends. Which latencies count, `Pace` says.
    pub(crate) fn run(
        &self,
        pace: Pace,
        carts: &mut Carts,
        warm_up: Duration,
        length: Duration,
        measuring: &mut dyn FnMut(bool),
    ) -> anyhow::Result<Sample> {
        let mut open: HashMap<CheckoutId, Open> = HashMap::new();
        let mut sample = Sample {
            ended: 0,
            created: 0,
            failed: 0,
            rejected: 0,
            took: length,
            latencies: Histogram::new_with_bounds(1, LONGEST_US, 3)?,
            published: 0,
            traced: Vec::new(),
        };
        let begin = Instant::now();
        let (from, until) = (begin + warm_up, begin + warm_up + length);
        let traced = TRACED_MIN.max(length / 3);
        let middle = from + length.saturating_sub(traced) / 2;
        let to_trace = middle..middle + traced;
        let mut last_news = begin;
        let mut measured = None;
        loop {
            let now = Instant::now();
            if measured.is_none() && now >= from {
                measured = Some(true);
                measuring(true);
            }
            if measured == Some(true) && now >= until {
                measured = Some(false);
                measuring(false);
            }
            match pace {
                Pace::InFlight(most) => {
                    while now < until && open.len() < most as usize {
                        let now = Instant::now();
                        self.publish(carts, now, to_trace.contains(&now), &mut open)?;
                        sample.published += 1;
                    }
                }
                // All that are due before the end, also where the end has passed.
                Pace::Rate(rate) => loop {
                    let due = begin + Pace::due(rate, sample.published);
                    if due > Instant::now() || due >= until {
                        break;
                    }
                    self.publish(carts, due, to_trace.contains(&due), &mut open)?;
                    sample.published += 1;
                },
            }
            if now >= until && open.is_empty() {
                return Ok(sample);
            }
            let Some(record) = self.consumer.poll(POLL) else {
                if last_news.elapsed() > PATIENCE {
                    bail!(
                        "{} carts have not ended: no outcome for {PATIENCE:?}",
                        open.len()
                    );
                }
                continue;
            };
            // librdkafka goes on by itself after an error; a lasting one shows
            // as silence.
            let Ok(record) = record else { continue };
            let Some(topic) = self.codec.topics().topic(record.topic()) else {
                continue;
            };
            let decoded = self
                .runtime
                .block_on(self.codec.decode(topic, record.payload()));
            let read = Instant::now();
            let (checkout, is_created, of) = match decoded
                .context("an outcome cannot be decoded")?
            {
                Message::OrderCreated(order) => (order.checkout_id, true, &mut sample.created),
                Message::CheckoutFailed(failed) => (failed.checkout_id, false, &mut sample.failed),
                Message::CheckoutRejected(rejected) => {
                    (rejected.checkout_id, false, &mut sample.rejected)
                }
                _ => continue,
            };
            // A second outcome is found by the audit at the end.
            let Some(Open { since, traced }) = open.remove(&checkout) else {
                continue;
            };
            last_news = read;
            let counted = from..until;
            if counted.contains(&read) {
                sample.ended += 1;
                *of += 1;
            }
            if let Some(latency) = pace.latency(&counted, since, read) {
                let us = u64::try_from(latency.as_micros())?;
                sample.latencies.record(us.clamp(1, LONGEST_US))?;
            }
            if let Some(traced) = traced
                && is_created
                && counted.contains(&read)
            {
                sample.traced.push(Traced {
                    read_us: Timestamp::now().as_microsecond(),
                    ..traced
                });
            }
        }
    }

    fn publish(
        &self,
        carts: &mut Carts,
        since: Instant,
        is_traced: bool,
        open: &mut HashMap<CheckoutId, Open>,
    ) -> anyhow::Result<()> {
        let cart = carts.draw();
        let checkout = checkout_id(cart.event_id);
        let occurred_at = cart.occurred_at;
        let trace = TraceContext::new_root();
        let traced = is_traced.then(|| Traced {
            trace_id: trace.trace_id,
            cart_id: cart.cart_id.into_untyped_uuid(),
            checkout_id: checkout.into_untyped_uuid(),
            published_us: Timestamp::now().as_microsecond(),
            read_us: 0,
        });
        let message = Message::from(cart);
        let value = self.codec.encode(&message)?;
        let key = message.key();
        let mut all = OwnedHeaders::new();
        for (key, value) in headers(&message, "/bench/cart-service", occurred_at, &trace) {
            all = all.insert(Header {
                key: &key,
                value: Some(&value),
            });
        }
        let topic = self.codec.topics().name(Topic::ShoppingCheckouts);
        let mut record = BaseRecord::to(topic).key(&key).payload(&value).headers(all);
        open.insert(checkout, Open { since, traced });
        let begin = Instant::now();
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) =>
                {
                    ensure!(
                        begin.elapsed() < PATIENCE,
                        "Kafka has taken no cart for {PATIENCE:?}: the client's queue is full"
                    );
                    record = back;
                    std::thread::sleep(POLL);
                }
                Err((error, _)) => return Err(error).context("cannot publish a cart"),
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.producer
            .purge(rdkafka::producer::PurgeConfig::default().queue());
    }
}
