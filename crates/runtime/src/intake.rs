//! The consumer, on a thread of its own (`polling`): how it joins its group, what it hands
//! over, and how it leaves. Kafka's committed offsets only serve lag monitors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as sync_mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use contracts::TopicNames;
use rdkafka::Message as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use tokio::sync::mpsc;

use crate::Home;
use crate::fault::RunError;
use crate::polling::Poller;
use crate::positions;
use crate::rebalance::{Context, Membership, Notice};
use crate::settings::Settings;
use crate::stored::StoredHeader;
use crate::traffic::STATISTICS_INTERVAL_MS;

/// Chunks that wait for the worker.
const CHUNKS_WAITING: usize = 4;
/// The longest pause between two heartbeats: Kafka's own default.
const MAX_HEARTBEAT_INTERVAL_MS: u128 = 3_000;
/// How long a request to a broker may go unanswered. librdkafka's own default is a
/// minute, and a rebalance waits for the commit of offsets that is on its way: with
/// its repeats one lost commit would hold a partition up for three.
const REQUEST_TIMEOUT_MS: &str = "10000";

/// A record as it came.
#[derive(Debug)]
pub(crate) struct RawRecord {
    pub(crate) home: Home,
    pub(crate) offset: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<StoredHeader>,
    /// Milliseconds since 1970, of the record.
    pub(crate) timestamp_ms: Option<i64>,
}

impl RawRecord {
    /// A message as a record; `None` where its topic is none of ours.
    pub(crate) fn of(topics: &TopicNames, message: &BorrowedMessage<'_>) -> Option<Self> {
        let headers = message.headers().map_or_else(Vec::new, |headers| {
            headers
                .iter()
                .map(|header| StoredHeader {
                    name: header.key.to_owned(),
                    value: header.value.map(<[u8]>::to_vec),
                })
                .collect()
        });
        Some(Self {
            home: Home {
                topic: topics.topic(message.topic())?,
                partition: message.partition(),
            },
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers,
            timestamp_ms: message.timestamp().to_millis(),
        })
    }

    /// A number that tells it from another record at its offset.
    pub(crate) fn digest(&self) -> i64 {
        positions::digest(
            self.timestamp_ms,
            self.key.as_deref(),
            self.payload.as_deref(),
        )
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|header| header.name == name)
            .and_then(|header| std::str::from_utf8(header.value.as_deref()?).ok())
    }
}

/// Records of one assignment.
pub(crate) struct Chunk {
    /// The number of rebalances before these records were read.
    pub(crate) generation: u64,
    pub(crate) records: Vec<RawRecord>,
}

/// The running consumer.
pub(crate) struct Intake {
    pub(crate) chunks: mpsc::Receiver<Chunk>,
    pub(crate) notices: mpsc::Receiver<Notice>,
    pub(crate) membership: Membership,
    reached: sync_mpsc::Sender<Vec<(Home, i64)>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    /// How long the consumer may take to leave the group.
    leave_limit: Duration,
}

impl Intake {
    /// Joins the group for these topics.
    pub(crate) fn start(
        settings: &Settings,
        topics: &TopicNames,
        consumes: &[contracts::Topic],
        transactions: bool,
    ) -> Result<Self, RunError> {
        let mut config = rdkafka::ClientConfig::new();
        let session_ms = settings.session_timeout.as_millis();
        config
            .set("bootstrap.servers", &settings.kafka.bootstrap_servers)
            .set("client.id", &settings.kafka.client_id)
            .set("group.id", &settings.kafka.group_id)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session_ms.to_string())
            // A member hears of a rebalance by a heartbeat, so a long session must
            // not make rebalances slow.
            .set(
                "heartbeat.interval.ms",
                (session_ms / 4).min(MAX_HEARTBEAT_INTERVAL_MS).to_string(),
            )
            // So long does Kafka wait in a rebalance for members that do not come, and so
            // long may the thread that polls be held up. One has been seen that went on
            // heartbeating and did not come, and the partitions of who had left stood still.
            // Never shorter than a session, or librdkafka refuses to start.
            .set(
                "max.poll.interval.ms",
                session_ms
                    .max(settings.rejoin_timeout.as_millis())
                    .to_string(),
            )
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A position outside the log stops the service.
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("socket.timeout.ms", REQUEST_TIMEOUT_MS)
            // A new partition is noticed within this time.
            .set("topic.metadata.refresh.interval.ms", "30000")
            .set("queued.min.messages", "10000")
            .set(
                "queued.max.messages.kbytes",
                (settings.prefetch_bytes / 1024).max(1).to_string(),
            )
            .set("fetch.queue.backoff.ms", "10")
            .set("statistics.interval.ms", STATISTICS_INTERVAL_MS);
        for (name, value) in &settings.kafka.properties {
            config.set(name, value);
        }
        let (notice_sender, notices) = mpsc::channel(16);
        let (chunk_sender, chunks) = mpsc::channel(CHUNKS_WAITING);
        let (reached, reached_receiver) = sync_mpsc::channel();
        let context = Context::new(settings, &config, topics, transactions, notice_sender);
        let asked = config.get("debug").map(|asked| format!("{asked},"));
        let debug = asked.unwrap_or_default() + positions::DEBUG_CONTEXT;
        config
            .set("debug", debug)
            .set_log_level(RDKafkaLogLevel::Debug);
        let consumer: BaseConsumer<Context> = config
            .create_with_context(context)
            .map_err(RunError::Configuration)?;
        let names: Vec<&str> = consumes.iter().map(|topic| topics.name(*topic)).collect();
        consumer
            .subscribe(&names)
            .map_err(RunError::Configuration)?;
        let consumer = Arc::new(consumer);
        let membership = Membership::of(&consumer);
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("intake".into())
            .spawn({
                let stop = Arc::clone(&stop);
                move || {
                    Poller {
                        consumer,
                        chunks: chunk_sender,
                        reached: reached_receiver,
                        stop,
                    }
                    .run()
                }
            })
            .map_err(|error| RunError::Defect(format!("no thread for the consumer: {error}")))?;
        Ok(Self {
            chunks,
            notices,
            membership,
            reached,
            stop,
            thread,
            leave_limit: settings.drain_timeout.saturating_mul(2),
        })
    }

    /// Tells the consumer the offsets reached, from which the lag is counted; it tells
    /// Kafka where no transaction does.
    pub(crate) fn reached(&self, offsets: Vec<(Home, i64)>) {
        // A consumer that has ended says so by a notice.
        let _ = self.reached.send(offsets);
    }

    /// Leaves the group. Partitions still owned are given up without a word.
    pub(crate) async fn stop(self) {
        let limit = self.leave_limit;
        if tokio::time::timeout(limit, self.leave()).await.is_err() {
            // It owns nothing any more: whoever claims a partition fences it.
            tracing::warn!(
                ?limit,
                "the consumer has not left the group in time; it is left to itself, and leaves \
                 when the broker that it waits for has answered or is given up"
            );
        }
    }

    async fn leave(self) {
        let Self {
            mut chunks,
            mut notices,
            stop,
            thread,
            ..
        } = self;
        stop.store(true, Ordering::Release);
        chunks.close();
        // Closing the consumer revokes what it holds; the channel closes when
        // it is gone.
        while let Some(notice) = notices.recv().await {
            if let Notice::Revoked { reply, .. } = notice {
                let _ = reply.send(());
            }
        }
        if let Ok(Err(_)) = tokio::task::spawn_blocking(move || thread.join()).await {
            tracing::error!("the consumer's thread panicked");
        }
    }
}
