//! Records through this client and broker, as services send and read them.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use contracts::{Codec, Message, Topic, TraceContext, headers};
use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use stack::Installation;
use uuid::Uuid;

/// An inner topic; its installation has no services that would read it.
const TOPIC: Topic = Topic::PaymentsCommands;
/// A public topic, for transactions.
const PUBLIC: Topic = Topic::OrderingOrders;
/// Longer than any round takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A record as it is sent.
pub(super) struct Ready {
    value: Vec<u8>,
    headers: OwnedHeaders,
    bytes: usize,
}

impl Ready {
    /// With key and headers.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Records of these messages.
pub(super) fn records(codec: &Codec, samples: &[Message]) -> anyhow::Result<Vec<Ready>> {
    samples
        .iter()
        .map(|message| {
            let value = codec.encode(message)?;
            let mut all = OwnedHeaders::new();
            let mut bytes = value.len() + message.key().len();
            let trace = TraceContext::new_root();
            for (key, value) in headers(message, "/bench/floor", Timestamp::now(), &trace) {
                bytes += key.len() + value.len();
                all = all.insert(Header {
                    key: &key,
                    value: Some(&value),
                });
            }
            Ok(Ready {
                value,
                headers: all,
                bytes,
            })
        })
        .collect()
}

/// Set as a service's producer.
fn producer(installation: &Installation) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &installation.bootstrap_servers)
        .set("client.id", "bench-floor")
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .set("partitioner", "murmur2_random");
    config
}

/// Rounds of records that are sent and read back.
pub(super) struct Rounds {
    producer: ThreadedProducer<DefaultProducerContext>,
    consumer: BaseConsumer,
    topic: String,
    records: Vec<Ready>,
    sent: usize,
}

impl Rounds {
    pub(super) fn open(installation: &Installation, records: Vec<Ready>) -> anyhow::Result<Self> {
        let topic = installation.topics().name(TOPIC).to_owned();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &installation.bootstrap_servers)
            .set("client.id", "bench-floor")
            .set("group.id", format!("{}floor", installation.topic_prefix))
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()
            .context("cannot create a consumer")?;
        let metadata = consumer
            .fetch_metadata(Some(&topic), LIMIT)
            .with_context(|| format!("cannot find topic {topic}"))?;
        let mut assignment = TopicPartitionList::new();
        for partition in metadata
            .topics()
            .iter()
            .flat_map(|found| found.partitions())
        {
            assignment.add_partition_offset(&topic, partition.id(), Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let producer = producer(installation)
            .create()
            .context("cannot create a producer")?;
        Ok(Self {
            producer,
            consumer,
            topic,
            records,
            sent: 0,
        })
    }

    /// Sends so many records and reads them all.
    pub(super) fn round(&mut self, records: usize) -> anyhow::Result<()> {
        for _ in 0..records {
            let ready = &self.records[self.sent % self.records.len()];
            self.sent += 1;
            // Carts are spread over the partitions by their ids.
            let key = Uuid::new_v4().to_string();
            let mut record = BaseRecord::to(&self.topic)
                .key(&key)
                .payload(&ready.value)
                .headers(ready.headers.clone());
            while let Err((error, back)) = self.producer.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(error).context("cannot send a record");
                }
                record = back;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let begin = Instant::now();
        let mut read = 0;
        while read < records {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(_)) => read += 1,
                // librdkafka goes on by itself; a lasting error shows as silence.
                _ if begin.elapsed() > LIMIT => {
                    bail!("{read} of {records} records came back within {LIMIT:?}")
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Bare transactions of one record each.
pub(super) struct Transactions {
    producer: ThreadedProducer<DefaultProducerContext>,
    topic: String,
    value: Vec<u8>,
}

impl Transactions {
    pub(super) fn open(
        installation: &Installation,
        samples: &[Message],
        codec: &Codec,
    ) -> anyhow::Result<Self> {
        let producer: ThreadedProducer<_> = producer(installation)
            .set(
                "transactional.id",
                format!("{}floor", installation.topic_prefix),
            )
            .create()
            .context("cannot create a transactional producer")?;
        producer.init_transactions(LIMIT)?;
        let last = samples.last().context("a saga without records")?;
        Ok(Self {
            producer,
            topic: installation.topics().name(PUBLIC).to_owned(),
            value: codec.encode(last)?,
        })
    }

    /// Begins, sends and commits.
    pub(super) fn round(&mut self) -> anyhow::Result<()> {
        self.producer.begin_transaction()?;
        let key = Uuid::new_v4().to_string();
        let record = BaseRecord::to(&self.topic).key(&key).payload(&self.value);
        self.producer
            .send(record)
            .map_err(|(error, _)| error)
            .context("cannot send a record")?;
        // A commit waits in steps of 100 ms for what is not delivered yet.
        let begin = Instant::now();
        while self.producer.in_flight_count() > 0 {
            if begin.elapsed() > LIMIT {
                bail!("a record was not acknowledged within {LIMIT:?}");
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        self.producer.commit_transaction(LIMIT)?;
        Ok(())
    }
}
