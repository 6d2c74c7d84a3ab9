//! The thread that writes the transactions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use contracts::TopicNames;
use rdkafka::error::KafkaError;
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};

use super::deliveries::{Deliveries, LaneContext};
use super::{Busy, Known, MARK, Publication, Request, Work, locked};
use crate::Home;
use crate::failpoint::{Point, reach};
use crate::polled::PolledProducer;
use crate::publisher::{Shared, record};
use crate::rebalance::Membership;

/// The most records of one transaction.
const MAX_RECORDS: usize = 10_000;
/// For each record of a transaction, the next one waits so long, up to
/// `transaction_gather`, so that there are fewer and larger ones under load. All
/// partitions of the public topics are written, and their readers woken, by each.
const GATHER_FOR_EACH_RECORD: Duration = Duration::from_millis(1);
/// The pause between two tries of a transaction whose offsets a rebalance refuses.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Writes what the lane is asked for, one transaction after the other.
pub(super) struct Writer {
    pub(super) busy: Busy,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) given_up: Arc<AtomicBool>,
    pub(super) producer: PolledProducer<LaneContext>,
    pub(super) deliveries: Arc<Deliveries>,
    pub(super) membership: Membership,
    pub(super) topics: TopicNames,
    pub(super) shared: Arc<Shared>,
    pub(super) timeout: Duration,
    pub(super) gather: Duration,
    pub(super) homes: BTreeMap<Home, Known>,
}

impl Writer {
    pub(super) fn begin(&self, work: Work) {
        *locked(&self.busy) = Some((work, Instant::now()));
    }

    fn end(&self) {
        *locked(&self.busy) = None;
    }

    /// Until it is stopped, or a transaction fails.
    pub(super) fn run(&mut self, requests: &Receiver<Request>) -> Result<(), KafkaError> {
        self.begin(Work::Beginning);
        self.producer.init_transactions(self.timeout)?;
        self.end();
        let mut stop = false;
        while !stop {
            let Ok(first) = requests.recv() else {
                return Ok(());
            };
            let mut publications = Vec::new();
            let mut moved = BTreeMap::new();
            let mut records = 0;
            let mut disowned = None;
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Publish(publication) => {
                        records += publication.records.len();
                        moved.insert(publication.home, ());
                        publications.push(publication);
                    }
                    Request::Positions(offsets) => {
                        for (home, next_offset) in offsets {
                            self.homes.entry(home).or_default().next_offset = next_offset;
                            moved.insert(home, ());
                        }
                    }
                    Request::Owned(home, known) => {
                        self.homes.insert(home, known);
                    }
                    Request::Disowned(homes, done) => {
                        disowned = Some((homes, done));
                        break;
                    }
                    Request::Stop => {
                        stop = true;
                        break;
                    }
                }
                if records >= MAX_RECORDS {
                    break;
                }
                next = requests.try_recv().ok();
            }
            for publication in &publications {
                let known = self.homes.entry(publication.home).or_default();
                known.published = known.published.max(publication.sequence);
            }
            if !moved.is_empty() {
                let started = Instant::now();
                self.begin(Work::Transaction);
                self.transaction(&publications, moved.keys().copied())?;
                if !publications.is_empty() {
                    reach(Point::AfterPublicTransaction);
                }
                self.end();
                metrics::histogram!("saga_transaction_seconds").record(started.elapsed());
            }
            for publication in publications {
                self.shared
                    .acknowledge(&publication.group, publication.records.len());
            }
            if let Some((homes, done)) = disowned {
                self.homes.retain(|home, _| !homes.contains(home));
                // Whoever asked may have given up waiting.
                let _ = done.send(());
            }
            // One record is what a lone saga publishes.
            if records > 1 && !stop {
                let records = u32::try_from(records).unwrap_or(u32::MAX);
                std::thread::sleep(
                    self.gather
                        .min(GATHER_FOR_EACH_RECORD.saturating_mul(records)),
                );
            }
        }
        Ok(())
    }

    /// One transaction, begun again while a rebalance refuses its offsets, within the limit
    /// of one transaction.
    fn transaction(
        &self,
        publications: &[Publication],
        moved: impl Iterator<Item = Home> + Clone,
    ) -> Result<(), KafkaError> {
        let begin = Instant::now();
        let goes_on = || begin.elapsed() < self.timeout && !self.stop.load(Ordering::Relaxed);
        loop {
            self.producer.begin_transaction()?;
            match self.fill(publications, moved.clone()) {
                Ok(()) => {
                    if !publications.is_empty() {
                        reach(Point::InPublicTransaction);
                    }
                    return self.producer.commit_transaction(self.timeout);
                }
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() && goes_on() => {
                    tracing::debug!(%error, "a transaction is begun again");
                    self.producer.abort_transaction(self.timeout)?;
                    std::thread::sleep(REFUSED_PAUSE);
                }
                Err(error) => {
                    // The producer is given up in any case.
                    let _ = self.producer.abort_transaction(self.timeout);
                    return Err(error);
                }
            }
        }
    }

    fn fill(
        &self,
        publications: &[Publication],
        moved: impl Iterator<Item = Home>,
    ) -> Result<(), KafkaError> {
        let records = || {
            publications
                .iter()
                .flat_map(|publication| &publication.records)
        };
        self.deliveries.expect(records().count());
        for stored in records() {
            if let Err((error, _)) = self.producer.send(record(stored, ())) {
                return Err(error);
            }
        }
        self.deliveries.wait(self.timeout)?;
        let mut offsets = TopicPartitionList::new();
        for home in moved {
            let known = self.homes.get(&home).copied().unwrap_or_default();
            let topic = self.topics.name(home.topic);
            let offset = Offset::Offset(known.next_offset);
            offsets.add_partition_offset(topic, home.partition, offset)?;
            if let Some(mut element) = offsets.find_partition(topic, home.partition) {
                element.set_metadata(format!("{MARK}{}", known.published));
            }
        }
        if !publications.is_empty() {
            reach(Point::BeforePublicOffsets);
        }
        let group = self.membership.group_metadata();
        // Asked afterwards: what a member that joined anew proves is not of this lane.
        let group = group.filter(|_| !self.given_up.load(Ordering::SeqCst));
        let Some(group) = group else {
            return Err(KafkaError::Canceled);
        };
        self.producer
            .send_offsets_to_transaction(&offsets, &group, self.timeout)
    }
}
