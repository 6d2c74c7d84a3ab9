//! Whether readers of the public topics are held back. A transaction that stays
//! open, whoever began it, keeps every `read_committed` reader from what comes
//! after it: the last stable offset stands still.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use contracts::TopicNames;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

use crate::fault::RunError;
use crate::measure;
use crate::settings::Settings;

/// Limit of one question to a broker.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The thread that looks from time to time; it ends when this is dropped.
pub(crate) struct Readers {
    _stop: Sender<()>,
}

impl Readers {
    /// Starts to look after the public topics among `topics`.
    pub(crate) fn start(settings: &Settings, topics: &TopicNames) -> Result<Self, RunError> {
        let client = |isolation| -> Result<BaseConsumer, RunError> {
            let mut config = ClientConfig::new();
            config
                .set("bootstrap.servers", &settings.kafka.bootstrap_servers)
                .set("client.id", &settings.kafka.client_id)
                .set("isolation.level", isolation);
            for (name, value) in &settings.kafka.properties {
                config.set(name, value);
            }
            config.create().map_err(RunError::Configuration)
        };
        let watch = Watch {
            stable: client("read_committed")?,
            all: client("read_uncommitted")?,
            topics: contracts::Topic::ALL
                .iter()
                .filter(|topic| topic.is_public())
                .map(|topic| topics.name(*topic).to_owned())
                .collect(),
            held: BTreeMap::new(),
            warn_after: settings.transaction_warn_after,
        };
        let every = settings.readers_check_interval;
        let (stop, stopped) = mpsc::channel();
        std::thread::Builder::new()
            .name("readers".into())
            .spawn(move || {
                let mut watch = watch;
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    watch.look();
                }
            })
            .map_err(|error| RunError::Defect(format!("no thread for the readers: {error}")))?;
        Ok(Self { _stop: stop })
    }
}

struct Watch {
    /// Asked for the end of a log, it tells the last stable offset.
    stable: BaseConsumer,
    all: BaseConsumer,
    topics: Vec<String>,
    /// Where readers are held back: at which offset, and since when.
    held: BTreeMap<(String, i32), (i64, Instant)>,
    warn_after: Duration,
}

impl Watch {
    /// Looks at every partition; one that cannot be asked keeps none of the others from
    /// being looked at.
    fn look(&mut self) {
        // Kafka being away is reported by those who need it.
        let away = |error: KafkaError, topic: &str| {
            tracing::debug!(%error, topic, "the readers of a topic could not be looked after");
        };
        for topic in self.topics.clone() {
            match self.partitions(&topic) {
                Ok(partitions) => {
                    for partition in partitions {
                        if let Err(error) = self.look_at(&topic, partition) {
                            away(error, &topic);
                        }
                    }
                }
                Err(error) => away(error, &topic),
            }
        }
    }

    fn partitions(&self, topic: &str) -> Result<Vec<i32>, KafkaError> {
        let metadata = self.all.fetch_metadata(Some(topic), TIMEOUT)?;
        let found = metadata.topics().iter();
        Ok(found
            .flat_map(|found| found.partitions())
            .map(|partition| partition.id())
            .collect())
    }

    fn look_at(&mut self, topic: &str, partition: i32) -> Result<(), KafkaError> {
        let (_, stable) = self.stable.fetch_watermarks(topic, partition, TIMEOUT)?;
        let (_, end) = self.all.fetch_watermarks(topic, partition, TIMEOUT)?;
        let place = (topic.to_owned(), partition);
        let held_for = match self.held.get(&place) {
            _ if stable >= end => {
                self.held.remove(&place);
                Duration::ZERO
            }
            Some((offset, since)) if *offset == stable => since.elapsed(),
            // Transactions come and go under load; only one that stays counts.
            _ => {
                self.held.insert(place, (stable, Instant::now()));
                Duration::ZERO
            }
        };
        measure::readers_held(topic, partition, end - stable, held_for);
        if held_for > self.warn_after {
            tracing::warn!(
                topic,
                partition,
                offset = stable,
                records = end - stable,
                seconds = held_for.as_secs(),
                "a transaction is open since the record at this offset and holds the readers of \
                 the topic back; Kafka ends it after the time-out of its producer \
                 (TRANSACTION_TIMEOUT_MS of an orchestrator). If it stays, find it with \
                 `kafka-transactions.sh find-hanging` and end it with `abort`"
            );
        }
        Ok(())
    }
}
