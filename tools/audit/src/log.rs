//! Reads topics, as a `read_committed` consumer sees them.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::ends::ends;
use crate::error::{Error, Result};

/// How to reach a Kafka cluster.
#[derive(Debug, Clone)]
pub struct Kafka {
    /// Some of its brokers, `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// Further librdkafka properties, for example for TLS.
    pub properties: Vec<(String, String)>,
    /// After so long without an answer it is given up.
    pub timeout: Duration,
}

impl Kafka {
    /// A cluster that needs no further properties; given up after a minute.
    pub fn at(bootstrap_servers: &str) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.to_owned(),
            properties: Vec::new(),
            timeout: Duration::from_secs(60),
        }
    }
}

/// Logs what clients say, but that a partition was read to its end: readers here ask
/// for that.
pub struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::PartitionEOF) {
            tracing::error!("librdkafka: {error}: {reason}");
        }
    }
}

impl ConsumerContext for Quiet {}

/// Reads topics from where it is told to their ends. Joins no group and commits
/// nothing. Blocks the thread.
pub struct LogReader {
    consumer: BaseConsumer<Quiet>,
    timeout: Duration,
}

impl LogReader {
    /// Makes a reader; connects when it is first used.
    ///
    /// # Errors
    /// When a property is wrong.
    pub fn new(kafka: &Kafka) -> Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &kafka.bootstrap_servers)
            .set("client.id", "checkout-audit")
            .set("group.id", "checkout-audit")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            // The end of a partition is told after one fetch that found nothing.
            .set("fetch.wait.max.ms", "10")
            .set("log.connection.close", "false");
        for (name, value) in &kafka.properties {
            config.set(name, value);
        }
        let consumer = config
            .create_with_context(Quiet)
            .map_err(Error::kafka("cannot create a Kafka consumer"))?;
        Ok(Self {
            consumer,
            timeout: kafka.timeout,
        })
    }

    /// The partitions of a topic.
    ///
    /// # Errors
    /// When Kafka does not answer, or there is no such topic.
    pub fn partitions(&self, topic: &str) -> Result<Vec<i32>> {
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic), self.timeout)
            .map_err(Error::kafka(format!("cannot find topic {topic}")))?;
        let mut partitions: Vec<i32> = metadata
            .topics()
            .iter()
            .filter(|found| found.error().is_none())
            .flat_map(|found| found.partitions())
            .map(|partition| partition.id())
            .collect();
        partitions.sort_unstable();
        match partitions.is_empty() {
            true => Err(Error::Invalid(format!(
                "topic {topic} does not exist; `checkoutctl topics apply` creates it, \
                 --topic-prefix says what its name begins with"
            ))),
            false => Ok(partitions),
        }
    }

    /// The first offset in the log and the one after the last.
    ///
    /// # Errors
    /// When Kafka does not answer.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64)> {
        ends(&self.consumer, topic, partition, self.timeout)
    }

    /// Where the records begin that are not older than this time, in
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// When Kafka does not answer.
    pub fn offsets_at(
        &self,
        topic: &str,
        partitions: &[i32],
        at_ms: i64,
    ) -> Result<Vec<(i32, Offset)>> {
        let cannot = || Error::kafka(format!("cannot look for a time in topic {topic}"));
        let mut times = TopicPartitionList::new();
        for partition in partitions {
            times
                .add_partition_offset(topic, *partition, Offset::Offset(at_ms))
                .map_err(cannot())?;
        }
        let found = self
            .consumer
            .offsets_for_times(times, self.timeout)
            .map_err(cannot())?;
        Ok(found
            .elements()
            .iter()
            .map(|element| (element.partition(), element.offset()))
            .collect())
    }

    /// Reads partitions of a topic from these offsets to their ends as they are
    /// now. `each` gets every record, and may have enough of a partition.
    ///
    /// # Errors
    /// When Kafka does not answer for longer than the limit.
    pub fn read(
        &self,
        topic: &str,
        starts: &[(i32, Offset)],
        each: &mut dyn FnMut(&BorrowedMessage<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let cannot = || Error::kafka(format!("cannot read topic {topic}"));
        let mut open: HashSet<i32> = starts.iter().map(|(partition, _)| *partition).collect();
        let mut assignment = TopicPartitionList::new();
        for (partition, offset) in starts {
            assignment
                .add_partition_offset(topic, *partition, *offset)
                .map_err(cannot())?;
        }
        // One topic at a time: librdkafka tells the end of a partition by its
        // number alone.
        self.consumer.assign(&assignment).map_err(cannot())?;
        let mut last_news = Instant::now();
        while !open.is_empty() {
            let polled = self.consumer.poll(Duration::from_millis(100));
            let silent = last_news.elapsed() > self.timeout;
            match polled {
                Some(Ok(record)) => {
                    last_news = Instant::now();
                    // What came after the end belongs to the next look.
                    if open.contains(&record.partition()) && each(&record)?.is_break() {
                        open.remove(&record.partition());
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    last_news = Instant::now();
                    open.remove(&partition);
                }
                // librdkafka goes on trying by itself.
                Some(Err(error)) if silent => return Err(cannot()(error)),
                None if silent => {
                    return Err(Error::Invalid(format!(
                        "partitions {open:?} of topic {topic} could not be read to their end: \
                         nothing came for {} s; check the brokers that lead them",
                        self.timeout.as_secs()
                    )));
                }
                Some(Err(_)) | None => {}
            }
        }
        Ok(())
    }
}
