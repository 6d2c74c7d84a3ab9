//! The consumer's thread: polls, and hands over what has come in chunks. While the worker
//! is held up it polls on, so that the group does not take this member for dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as sync_mpsc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::Home;
use crate::fault::Fault;
use crate::intake::{Chunk, RawRecord};
use crate::measure;
use crate::rebalance::{Context, broken};

/// The records that one hand-over holds at most.
const CHUNK_RECORDS: usize = 1_000;
/// The bytes after which a chunk is handed over.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// How long one poll waits; a stop or an offset commit waits as long.
const POLL: Duration = Duration::from_millis(100);
/// Limit of reading from another place of a log.
const SEEK_TIMEOUT: Duration = Duration::from_secs(10);

/// What the thread works with.
pub(crate) struct Poller {
    pub(crate) consumer: Arc<BaseConsumer<Context>>,
    pub(crate) chunks: mpsc::Sender<Chunk>,
    pub(crate) reached: sync_mpsc::Receiver<Vec<(Home, i64)>>,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Poller {
    /// Polls until it is told to stop, or the worker is gone.
    pub(crate) fn run(self) {
        while !self.stop.load(Ordering::Acquire) {
            while let Ok(offsets) = self.reached.try_recv() {
                self.note(&offsets);
            }
            if !self.poll_chunk() {
                break;
            }
            let context = self.consumer.context();
            if let Some(limit) = context.overdue() {
                context.fail(Fault::Broken(format!(
                    "the consumer did not get into its group within {limit:?}"
                )));
            }
        }
        while let Ok(offsets) = self.reached.try_recv() {
            self.note(&offsets);
        }
        // Dropping the consumer leaves the group at once.
    }

    /// Reads what is there now; false when the worker is gone.
    fn poll_chunk(&self) -> bool {
        let context = self.consumer.context();
        let mut chunk = Chunk {
            generation: context.generation(),
            records: Vec::new(),
        };
        let mut bytes = 0;
        let mut wait = POLL;
        loop {
            match self.consumer.poll(wait) {
                None => break,
                Some(Err(error)) => self.failed(&error),
                Some(Ok(message)) => {
                    let generation = context.generation();
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
                    if let Some(record) = RawRecord::of(context.topics(), &message) {
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
        // After a failure nothing is: the worker may not have heard of it yet.
        chunk.records.is_empty() || self.consumer.context().failed() || self.send(chunk)
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
                        SEEK_TIMEOUT,
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

    /// Notes the offsets reached, from which the lag is counted; tells Kafka, too, where
    /// no transaction does.
    fn note(&self, offsets: &[(Home, i64)]) {
        let context = self.consumer.context();
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (home, offset) in offsets {
            if let Err(error) = list.add_partition_offset(
                context.topics().name(home.topic),
                home.partition,
                Offset::Offset(*offset),
            ) {
                tracing::warn!(%error, %home, offset, "an offset cannot be noted");
            }
        }
        // Refused of a partition that has moved on; the others are noted.
        if let Err(error) = self.consumer.store_offsets(&list) {
            tracing::debug!(%error, "the lag shown is that of older offsets for the moment");
        }
        if context.commits()
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "lag monitors will see older offsets for the moment");
        }
    }
}
