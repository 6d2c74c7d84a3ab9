//! What the consumer does at a rebalance: it asks the worker, because only the worker
//! knows where a partition's reading goes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc as sync_mpsc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use contracts::TopicNames;
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Partition;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset, Statistics, TopicPartitionList};
use tokio::sync::mpsc;

use crate::Home;
use crate::failpoint::{Point, reach};
use crate::fault::Fault;
use crate::lane;
use crate::positions::{self, Positions};
use crate::progress::ReadTo;
use crate::rejoin::Rejoin;
use crate::settings::Settings;
use crate::traffic::Traffic;

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

/// What the consumer's callbacks know.
pub(crate) struct Context {
    topics: TopicNames,
    notices: mpsc::Sender<Notice>,
    generation: AtomicU64,
    /// Whether the worker was told that the consumer cannot go on.
    failed: AtomicBool,
    /// Whether offsets carry what was published in transactions.
    transactions: bool,
    positions: Positions,
    rejoin: Rejoin,
    /// Of one question to the group's coordinator, which waits for open transactions.
    limit: Duration,
    traffic: Traffic,
}

impl Context {
    /// That of a consumer which is built from `config`. With `transactions` the group's
    /// offsets carry what was published.
    pub(crate) fn new(
        settings: &Settings,
        config: &ClientConfig,
        topics: &TopicNames,
        transactions: bool,
        notices: mpsc::Sender<Notice>,
    ) -> Self {
        Self {
            topics: topics.clone(),
            notices,
            generation: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            transactions,
            positions: Positions::new(config, settings.rejoin_timeout),
            rejoin: Rejoin::new(settings.rejoin_timeout),
            limit: settings.rejoin_timeout,
            traffic: Traffic::of("consumer"),
        }
    }

    pub(crate) fn topics(&self) -> &TopicNames {
        &self.topics
    }

    /// The number of rebalances so far.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether offsets are committed by the consumer; if not, by transactions.
    pub(crate) fn commits(&self) -> bool {
        !self.transactions
    }

    /// The limit of joining the group, where it has passed.
    pub(crate) fn overdue(&self) -> Option<Duration> {
        self.rejoin.overdue()
    }

    /// Whether the consumer cannot go on: what it still reads may be of another log.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Tells the worker that the consumer cannot go on.
    pub(crate) fn fail(&self, fault: Fault) {
        self.failed.store(true, Ordering::Release);
        // A worker that is gone needs no telling.
        let _ = self.notices.blocking_send(Notice::Failed(fault));
    }
}

/// The consumer as a member of its group. Who has this does not keep the consumer: it
/// leaves the group when its own thread ends.
#[derive(Clone)]
pub(crate) struct Membership(Weak<BaseConsumer<Context>>);

impl Membership {
    pub(crate) fn of(consumer: &Arc<BaseConsumer<Context>>) -> Self {
        Self(Arc::downgrade(consumer))
    }

    /// What proves to Kafka that this member's generation is the current one;
    /// `None` when the member has left the group, or was put out.
    pub(crate) fn group_metadata(&self) -> Option<ConsumerGroupMetadata> {
        let consumer = self.0.upgrade()?;
        let metadata = consumer.group_metadata();
        // A member that was put out may have lost both its name and its
        // generation, and Kafka refuses nothing to a client that has neither.
        // Asked afterwards, because this does not turn false before the worker has
        // answered the revocation, which it does when its lane has let go.
        metadata.filter(|_| !consumer.assignment_lost())
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

    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        partitions: &mut TopicPartitionList,
    ) -> Result<(), Fault> {
        reach(Point::BeforeAssignment);
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
        // The lag is counted from there. Where nothing was read yet there is no number.
        if let Err(error) = consumer.store_offsets(partitions) {
            tracing::debug!(%error, "the lag is not known until something was handled");
        }
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
            .committed_offsets(partitions.clone(), self.limit)
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

/// Records of a partition that are there and not handled; `None` as long as that is not
/// known. Counted from the offset that was noted: transactions commit by a producer, of
/// which the consumer knows nothing.
fn lag(partition: &Partition) -> Option<i64> {
    // What is no longer read here has its lag at its new owner.
    if !partition.desired {
        return Some(0);
    }
    match partition.consumer_lag_stored {
        lag @ 0.. => Some(lag),
        // Nothing of it was ever handled.
        _ if partition.ls_offset >= 0 && partition.lo_offset >= 0 => {
            Some(partition.ls_offset - partition.lo_offset)
        }
        _ => None,
    }
}

/// What an error of the consumer is to the worker: it has to be built anew.
pub(crate) fn broken(error: KafkaError) -> Fault {
    Fault::Broken(format!("the consumer failed: {error}"))
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if let Some(topic) = positions::made_anew(line) {
            // Its positions are checked when the worker starts again.
            self.fail(Fault::Broken(format!("{topic} was deleted and made anew")));
        }
        DefaultClientContext.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // As for the producer: librdkafka logs the first of each kind itself.
        tracing::debug!(%error, reason, "consumer");
    }

    fn stats(&self, statistics: Statistics) {
        self.traffic.tell(&statistics);
        for (topic, statistics) in &statistics.topics {
            for (partition, statistics) in &statistics.partitions {
                if *partition >= 0
                    && let Some(lag) = lag(statistics)
                {
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
