//! The consumer, on a thread of its own. It hands records over in chunks and
//! asks the worker about every rebalance, because only the worker knows where a
//! partition's reading goes on: Kafka's committed offsets only serve lag
//! monitors.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc as sync_mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use contracts::TopicNames;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message as _, Offset, Statistics, TopicPartitionList};
use tokio::sync::mpsc;

use crate::Home;
use crate::fault::{Fault, RunError};
use crate::lane;
use crate::measure;
use crate::positions::{self, Positions};
use crate::progress::ReadTo;
use crate::rejoin::Rejoin;
use crate::settings::Settings;
use crate::stored::StoredHeader;
use crate::traffic::{STATISTICS_INTERVAL_MS, Traffic};

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

/// Where a partition's reading goes on; `None` is the beginning of its log.
pub(crate) type Position = (Home, Option<ReadTo>);

/// What the consumer tells the worker.
pub(crate) enum Notice {
    /// Partitions are ours from `generation` on. The reply says where to begin.
    Assigned {
        homes: Vec<Home>,
        generation: u64,
        /// Sequence numbers of the public outputs that are out, where they are
        /// published in transactions.
        published: BTreeMap<Home, i64>,
        reply: sync_mpsc::SyncSender<Vec<Position>>,
    },
    /// Partitions are to be given up; the reply says that they are. Where they
    /// are lost, others may own them already.
    Revoked {
        homes: Vec<Home>,
        lost: bool,
        reply: sync_mpsc::SyncSender<()>,
    },
    /// The consumer cannot go on.
    Failed(Fault),
}

/// The records that one hand-over holds at most.
const CHUNK_RECORDS: usize = 1_000;
/// The bytes after which a chunk is handed over.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Chunks that wait for the worker.
const CHUNKS_WAITING: usize = 4;
/// How long one poll waits; a stop or an offset commit waits as long.
const POLL: Duration = Duration::from_millis(100);
/// Limit of asking a broker for the bounds of a log.
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit of asking for committed offsets; longer than a transaction may be open.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest pause between two heartbeats: Kafka's own default.
const MAX_HEARTBEAT_INTERVAL_MS: u128 = 3_000;
/// How long the consumer's thread may be held up before the group takes this
/// instance for dead: librdkafka's own default.
const MAX_POLL_INTERVAL_MS: u128 = 300_000;
/// How long a request to a broker may go unanswered. librdkafka's own default is a
/// minute, and a rebalance waits for the commit of offsets that is on its way: with
/// its repeats one lost commit would hold a partition up for three.
const REQUEST_TIMEOUT_MS: &str = "10000";

struct Context {
    topics: TopicNames,
    notices: mpsc::Sender<Notice>,
    generation: AtomicU64,
    /// Whether offsets carry what was published in transactions.
    transactions: bool,
    positions: Positions,
    rejoin: Rejoin,
    traffic: Traffic,
}

/// The consumer as a member of its group.
#[derive(Clone)]
pub(crate) struct Membership(Arc<BaseConsumer<Context>>);

impl Membership {
    /// What proves to Kafka that this member's generation is the current one;
    /// `None` when the group has put the member out.
    pub(crate) fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        let metadata = self.0.group_metadata();
        // A member that was put out may have lost both its name and its
        // generation, and Kafka refuses nothing to a client that has neither.
        // Asked afterwards, because this never turns false before a rejoin.
        metadata.filter(|_| !self.0.assignment_lost())
    }
}

impl Context {
    fn homes(&self, partitions: &TopicPartitionList) -> Vec<Home> {
        partitions
            .elements()
            .iter()
            .filter_map(|element| {
                Some(Home {
                    topic: self.topics.topic(element.topic())?,
                    partition: element.partition(),
                })
            })
            .collect()
    }

    fn fail(&self, fault: Fault) {
        // A worker that is gone needs no telling.
        let _ = self.notices.blocking_send(Notice::Failed(fault));
    }

    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &mut TopicPartitionList,
    ) -> Result<(), Fault> {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let published = self.published(consumer, partitions)?;
        let (reply, positions) = sync_mpsc::sync_channel(1);
        let ended = || Fault::Broken("the worker ended during a rebalance".into());
        self.notices
            .blocking_send(Notice::Assigned {
                homes: self.homes(partitions),
                generation,
                published,
                reply,
            })
            .map_err(|_| ended())?;
        let positions: BTreeMap<Home, Option<ReadTo>> =
            positions.recv().map_err(|_| ended())?.into_iter().collect();
        let read = positions
            .iter()
            .filter_map(|(home, read_to)| Some((*home, (*read_to)?)));
        self.positions
            .check(consumer, &self.topics, read.collect())?;
        for (home, read_to) in positions {
            let topic = self.topics.name(home.topic);
            let offset = read_to.map_or(Offset::Beginning, |read_to| {
                Offset::Offset(read_to.next_offset)
            });
            partitions
                .set_partition_offset(topic, home.partition, offset)
                .map_err(broken)?;
        }
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
            _ => consumer.assign(partitions),
        }
        .map_err(broken)?;
        self.rejoin.done();
        Ok(())
    }

    /// What former owners have published. It waits for their open transactions,
    /// and they can begin no other: their generation is over.
    fn published(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &TopicPartitionList,
    ) -> Result<BTreeMap<Home, i64>, Fault> {
        if !self.transactions || partitions.count() == 0 {
            return Ok(BTreeMap::new());
        }
        let committed = consumer
            .committed_offsets(partitions.clone(), COMMITTED_TIMEOUT)
            .map_err(broken)?;
        let mut published = BTreeMap::new();
        for element in committed.elements() {
            element.error().map_err(broken)?;
            if let Some(topic) = self.topics.topic(element.topic()) {
                let home = Home {
                    topic,
                    partition: element.partition(),
                };
                published.insert(home, lane::published(element.metadata()));
            }
        }
        Ok(published)
    }

    fn revoke(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &TopicPartitionList,
    ) -> Result<(), Fault> {
        self.rejoin.begin();
        self.generation.fetch_add(1, Ordering::AcqRel);
        let (reply, released) = sync_mpsc::sync_channel(1);
        let lost = consumer.assignment_lost();
        tracing::info!(
            partitions = partitions.count(),
            lost,
            "giving partitions up"
        );
        let notice = Notice::Revoked {
            homes: self.homes(partitions),
            lost,
            reply,
        };
        if self.notices.blocking_send(notice).is_ok() {
            // A worker that has ended has nothing to release.
            let _ = released.recv();
        }
        // A pause outlives the assignment: the partitions would not be read if
        // they came back.
        consumer.resume(partitions).map_err(broken)?;
        match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            _ => consumer.unassign(),
        }
        .map_err(broken)
    }
}

pub(crate) fn broken(error: KafkaError) -> Fault {
    Fault::Broken(format!("the consumer failed: {error}"))
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        // As for the producer: librdkafka logs the first of each kind itself.
        tracing::debug!(%error, reason, "consumer");
    }

    fn stats(&self, statistics: Statistics) {
        self.traffic.tell(&statistics);
        for (topic, statistics) in &statistics.topics {
            for (partition, statistics) in &statistics.partitions {
                // What is no longer read here has its lag at its new owner.
                let lag = match (statistics.desired, statistics.consumer_lag) {
                    (true, lag @ 0..) => lag,
                    (true, _) => continue,
                    (false, _) => 0,
                };
                if *partition >= 0 {
                    metrics::gauge!(
                        "saga_consumer_lag_records",
                        "topic" => topic.clone(),
                        "partition" => partition.to_string()
                    )
                    .set(lag as f64);
                }
            }
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let result = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.assign(consumer, partitions)
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                self.revoke(consumer, partitions)
            }
            other => {
                let code: RDKafkaErrorCode = other.into();
                tracing::warn!(%code, "a rebalance failed; giving every partition up");
                self.revoke(consumer, partitions)
            }
        };
        if let Err(fault) = result {
            self.fail(fault);
        }
    }
}

/// The running consumer.
pub(crate) struct Intake {
    pub(crate) chunks: mpsc::Receiver<Chunk>,
    pub(crate) notices: mpsc::Receiver<Notice>,
    pub(crate) membership: Membership,
    commits: sync_mpsc::Sender<Vec<(Home, i64)>>,
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
            // Never shorter than a session, or librdkafka refuses to start.
            .set(
                "max.poll.interval.ms",
                session_ms.max(MAX_POLL_INTERVAL_MS).to_string(),
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
        let (commits, commit_receiver) = sync_mpsc::channel();
        let consumer: BaseConsumer<Context> = config
            .create_with_context(Context {
                topics: topics.clone(),
                notices: notice_sender,
                generation: AtomicU64::new(0),
                transactions,
                positions: Positions::new(&config),
                rejoin: Rejoin::new(settings.rejoin_timeout),
                traffic: Traffic::of("consumer"),
            })
            .map_err(RunError::Configuration)?;
        let names: Vec<&str> = consumes.iter().map(|topic| topics.name(*topic)).collect();
        consumer
            .subscribe(&names)
            .map_err(RunError::Configuration)?;
        let consumer = Arc::new(consumer);
        let membership = Membership(Arc::clone(&consumer));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new()
            .name("intake".into())
            .spawn({
                let stop = Arc::clone(&stop);
                move || {
                    Poller {
                        consumer,
                        chunks: chunk_sender,
                        commits: commit_receiver,
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
            commits,
            stop,
            thread,
            leave_limit: settings.drain_timeout.saturating_mul(2),
        })
    }

    /// Tells Kafka the offsets reached, for lag monitors.
    pub(crate) fn commit(&self, offsets: Vec<(Home, i64)>) {
        // A consumer that has ended says so by a notice.
        let _ = self.commits.send(offsets);
    }

    /// Leaves the group. Partitions still owned are given up without a word.
    pub(crate) async fn stop(self) {
        let limit = self.leave_limit;
        if tokio::time::timeout(limit, self.leave()).await.is_err() {
            // It owns nothing any more: whoever claims a partition fences it.
            tracing::warn!(
                ?limit,
                "the consumer has not left the group in time; it is left to itself, and \
                 Kafka puts it out after SESSION_TIMEOUT_MS"
            );
        }
    }

    async fn leave(self) {
        let Self {
            mut chunks,
            mut notices,
            membership,
            stop,
            thread,
            ..
        } = self;
        // The consumer is closed by whoever drops it last. That must be its own thread,
        // which is told to end after this: closing waits for the worker.
        drop(membership);
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

struct Poller {
    consumer: Arc<BaseConsumer<Context>>,
    chunks: mpsc::Sender<Chunk>,
    commits: sync_mpsc::Receiver<Vec<(Home, i64)>>,
    stop: Arc<AtomicBool>,
}

impl Poller {
    fn run(self) {
        while !self.stop.load(Ordering::Acquire) {
            while let Ok(offsets) = self.commits.try_recv() {
                self.commit(&offsets);
            }
            if !self.poll_chunk() {
                break;
            }
            let context = self.consumer.context();
            if let Some(limit) = context.rejoin.overdue() {
                context.fail(Fault::Broken(format!(
                    "the consumer did not get into its group within {limit:?}"
                )));
            }
        }
        while let Ok(offsets) = self.commits.try_recv() {
            self.commit(&offsets);
        }
        // Dropping the consumer leaves the group at once.
    }

    /// Reads what is there now; false when the worker is gone.
    fn poll_chunk(&self) -> bool {
        let context = self.consumer.context();
        let mut chunk = Chunk {
            generation: context.generation.load(Ordering::Acquire),
            records: Vec::new(),
        };
        let mut bytes = 0;
        let mut wait = POLL;
        loop {
            match self.consumer.poll(wait) {
                None => break,
                Some(Err(error)) => self.failed(&error),
                Some(Ok(message)) => {
                    let generation = context.generation.load(Ordering::Acquire);
                    if generation != chunk.generation {
                        // What was read before a rebalance must not pass for
                        // what was read after it.
                        let before = std::mem::replace(
                            &mut chunk,
                            Chunk {
                                generation,
                                records: Vec::new(),
                            },
                        );
                        if !self.hand_over(before) {
                            return false;
                        }
                    }
                    bytes += message.payload_len() + message.key_len();
                    if let Some(record) = record(&context.topics, &message) {
                        chunk.records.push(record);
                    }
                }
            }
            if chunk.records.len() >= CHUNK_RECORDS || bytes >= CHUNK_BYTES {
                break;
            }
            wait = Duration::ZERO;
        }
        self.hand_over(chunk)
    }

    fn hand_over(&self, chunk: Chunk) -> bool {
        chunk.records.is_empty() || self.send(chunk)
    }

    /// Waits for the worker; meanwhile rebalances are answered, with fetching
    /// paused.
    fn send(&self, chunk: Chunk) -> bool {
        let mut chunk = chunk;
        let patience = Instant::now() + Duration::from_secs(1);
        let mut paused: Option<TopicPartitionList> = None;
        let delivered = loop {
            match self.chunks.try_send(chunk) {
                Ok(()) => break true,
                Err(mpsc::error::TrySendError::Closed(_)) => break false,
                Err(mpsc::error::TrySendError::Full(back)) => chunk = back,
            }
            if self.stop.load(Ordering::Acquire) {
                break false;
            }
            if Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            // The worker is held up, by a database that is away for instance.
            // Without polling, the group would take this member for dead.
            let assigned = self.consumer.assignment().unwrap_or_default();
            if let Err(error) = self.consumer.pause(&assigned) {
                self.consumer.context().fail(broken(error));
                break false;
            }
            measure::reading_paused(true);
            paused = Some(assigned);
            match self.consumer.poll(POLL) {
                None => {}
                Some(Err(error)) => self.failed(&error),
                Some(Ok(message)) => {
                    // Read before the pause: it is read again after the resume.
                    let again = self.consumer.seek(
                        message.topic(),
                        message.partition(),
                        Offset::Offset(message.offset()),
                        WATERMARK_TIMEOUT,
                    );
                    if let Err(error) = again {
                        self.consumer.context().fail(broken(error));
                        break false;
                    }
                }
            }
        };
        if paused.is_some() {
            measure::reading_paused(false);
            let assigned = self.consumer.assignment().unwrap_or_default();
            if let Err(error) = self.consumer.resume(&assigned) {
                self.consumer.context().fail(broken(error));
            }
        }
        delivered
    }

    fn failed(&self, error: &KafkaError) {
        let context = self.consumer.context();
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                // The assignment is checked anew when the worker starts again,
                // and names the position that was lost.
                context.fail(Fault::Broken(format!(
                    "a position is outside its log: {error}"
                )));
            }
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => {
                // It may come back with other records: the worker waits for it,
                // and its positions are checked anew.
                context.fail(Fault::Broken(format!("a topic is not there: {error}")));
            }
            Some(RDKafkaErrorCode::Fatal | RDKafkaErrorCode::PollExceeded) => {
                context.fail(broken(error.clone()));
            }
            _ => tracing::warn!(%error, "the consumer cannot read for the moment; it tries again"),
        }
    }

    fn commit(&self, offsets: &[(Home, i64)]) {
        let topics = &self.consumer.context().topics;
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (home, offset) in offsets {
            if let Err(error) = list.add_partition_offset(
                topics.name(home.topic),
                home.partition,
                Offset::Offset(*offset),
            ) {
                tracing::warn!(%error, %home, offset, "an offset cannot be committed");
            }
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(%error, "lag monitors will see older offsets for the moment");
        }
    }
}

fn record(topics: &TopicNames, message: &BorrowedMessage<'_>) -> Option<RawRecord> {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        headers
            .iter()
            .map(|header| StoredHeader {
                name: header.key.to_owned(),
                value: header.value.map(<[u8]>::to_vec),
            })
            .collect()
    });
    Some(RawRecord {
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
