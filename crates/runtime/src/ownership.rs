//! Which partitions this instance owns, from their assignment to their being
//! given up: claimed in the database, their stored outputs published, cleared
//! when acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use crate::batch::Batch;
use crate::fault::{Fault, RunError};
use crate::intake::{Intake, RawRecord};
use crate::lane::{Known, Publication};
use crate::publisher::Group;
use crate::rebalance::{Notice, Position};
use crate::stored::StoredRecord;
use crate::worker::Worker;
use crate::{Handler, Home, measure, progress};

/// What this instance knows of a partition that it owns.
pub(crate) struct Owned {
    /// Chunks of older generations are not for this ownership.
    since: u64,
    pub(crate) stamp: progress::Stamp,
    pub(crate) read_to: Option<progress::ReadTo>,
    /// The number of the last public output.
    pub(crate) public_sequence: i64,
    /// Published groups that may still be unacknowledged, with their stored bytes.
    pub(crate) outputs: VecDeque<(Arc<Group>, Vec<u8>)>,
    /// Whether the row holds outputs that a crash would publish again.
    pub(crate) row_holds_outputs: bool,
    pub(crate) written: Instant,
    /// The offset that Kafka was told.
    committed: Option<i64>,
}

impl Owned {
    /// Forgets the groups that are acknowledged.
    pub(crate) fn forget_acknowledged(&mut self) {
        self.outputs.retain(|(group, _)| !group.is_acknowledged());
    }
}

impl<H: Handler> Worker<H> {
    /// Whether a record is the next of a partition that is owned.
    pub(crate) fn is_expected(&self, generation: u64, record: &RawRecord) -> bool {
        self.owned.get(&record.home).is_some_and(|owned| {
            generation >= owned.since
                && owned
                    .read_to
                    .is_none_or(|read_to| record.offset >= read_to.next_offset)
        })
    }

    pub(crate) async fn on_notice(&mut self, notice: Option<Notice>) -> Result<(), Fault> {
        match notice {
            Some(Notice::Assigned {
                homes,
                generation,
                published,
                reply,
            }) => {
                let positions = self.claim(&homes, generation, &published).await?;
                self.health.set_group(true);
                // The callback waits for this; it fails only when its thread is gone.
                let _ = reply.send(positions);
            }
            Some(Notice::Revoked { homes, lost, reply }) => {
                let given_up = self.give_up(&homes, lost).await;
                if given_up.is_err()
                    && let Some(lane) = &self.lane
                {
                    lane.give_up();
                }
                given_up?;
                let _ = reply.send(());
            }
            Some(Notice::Failed(fault)) => return Err(fault),
            None => return Err(Fault::Broken("the consumer's thread ended".into())),
        }
        self.health.set_partitions(self.owned.len());
        measure::partitions(self.owned.len());
        Ok(())
    }

    /// Gives partitions up, with what is still to be published of them if nobody else can
    /// own them yet.
    async fn give_up(&mut self, homes: &[Home], lost: bool) -> Result<(), Fault> {
        if !lost {
            self.release(homes).await?;
        }
        for home in homes {
            self.owned.remove(home);
        }
        match &self.lane {
            Some(lane) => lane.disown(homes).await,
            None => Ok(()),
        }
    }

    /// Takes partitions over: fences former owners, publishes what they may not
    /// have published, and says where reading goes on.
    async fn claim(
        &mut self,
        homes: &[Home],
        generation: u64,
        published: &BTreeMap<Home, i64>,
    ) -> Result<Vec<Position>, Fault> {
        if homes.is_empty() {
            return Ok(Vec::new());
        }
        let claim = progress::claim(homes);
        let rows = self.retrying(vec![&claim]).await?;
        let claimed = progress::claimed(rows.first().map_or(&[], Vec::as_slice))?;
        let mut positions = Vec::with_capacity(homes.len());
        for (claimed, leftover) in self.leftovers(claimed).await? {
            let home = claimed.home;
            let published = published.get(&home).copied().unwrap_or(0);
            if let Some(lane) = &self.lane {
                let next_offset = claimed.read_to.map_or(0, |read_to| read_to.next_offset);
                let known = Known {
                    published,
                    next_offset,
                };
                lane.own(home, known)?;
            }
            let outputs = self.publish_again(home, leftover, published).await?;
            tracing::info!(
                home = %claimed.home,
                epoch = claimed.stamp.epoch,
                next_offset = claimed.read_to.map(|read_to| read_to.next_offset),
                "partition claimed"
            );
            positions.push((claimed.home, claimed.read_to));
            self.owned.insert(
                claimed.home,
                Owned {
                    since: generation,
                    stamp: claimed.stamp,
                    read_to: claimed.read_to,
                    // The row may have been deleted by an operator; what is
                    // published stays published.
                    public_sequence: claimed.public_sequence.max(published),
                    row_holds_outputs: !claimed.outputs.is_empty(),
                    outputs,
                    written: Instant::now(),
                    committed: None,
                },
            );
        }
        Ok(positions)
    }

    /// Publishes numbered records of a home in the next transaction.
    pub(crate) fn publish_in_lane(
        &self,
        home: Home,
        records: Vec<StoredRecord>,
    ) -> Result<Arc<Group>, Fault> {
        let Some(lane) = &self.lane else {
            return Err(RunError::Defect("there is no lane for transactions".into()).into());
        };
        let group = self.publisher.expect(records.len());
        lane.publish(Publication {
            home,
            sequence: records
                .last()
                .and_then(|record| record.sequence)
                .unwrap_or(0),
            records,
            group: Arc::clone(&group),
        })?;
        Ok(group)
    }

    /// Waits, within the limit, until the outputs of these homes are
    /// acknowledged, and clears them from their rows.
    pub(crate) async fn release(&mut self, homes: &[Home]) -> Result<(), Fault> {
        let deadline = Instant::now() + self.settings.drain_timeout;
        let mut batch = Batch::new();
        for home in homes {
            while let Some(owned) = self.owned.get_mut(home) {
                owned.forget_acknowledged();
                if owned.outputs.is_empty() {
                    if owned.row_holds_outputs {
                        batch.settled.insert(*home);
                    }
                    break;
                }
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    // The next owner publishes them again.
                    tracing::warn!(%home, "given up with unacknowledged outputs");
                    break;
                }
                self.publisher.wait_for_progress(left).await?;
            }
        }
        self.commit_batch(batch).await
    }

    /// Clears acknowledged outputs of quiet partitions, so that a crash does not
    /// publish them again.
    pub(crate) async fn settle(&mut self) -> Result<(), Fault> {
        let mut batch = Batch::new();
        for (home, owned) in &mut self.owned {
            if owned.row_holds_outputs && owned.written.elapsed() >= self.settings.settle_after {
                owned.forget_acknowledged();
                if owned.outputs.is_empty() {
                    batch.settled.insert(*home);
                }
            }
        }
        self.commit_batch(batch).await
    }

    pub(crate) async fn drain(&mut self, intake: &Intake) -> Result<(), Fault> {
        let homes: Vec<Home> = self.owned.keys().copied().collect();
        let limit = self.settings.drain_timeout;
        // Bounded as a whole too: a stop must not hang on a database that is away.
        match tokio::time::timeout(limit.saturating_mul(2), self.release(&homes)).await {
            Ok(released) => released?,
            Err(_) => tracing::warn!("stopping without having cleared the progress rows"),
        }
        self.commit_offsets(intake)?;
        Ok(())
    }

    pub(crate) fn commit_offsets(&mut self, intake: &Intake) -> Result<(), Fault> {
        let mut offsets = Vec::new();
        for (home, owned) in &mut self.owned {
            let next_offset = owned.read_to.map(|read_to| read_to.next_offset);
            if owned.committed != next_offset
                && let Some(next) = next_offset
            {
                owned.committed = next_offset;
                offsets.push((*home, next));
            }
        }
        if offsets.is_empty() {
            return Ok(());
        }
        intake.reached(offsets.clone());
        match &self.lane {
            Some(lane) => lane.commit(offsets),
            None => Ok(()),
        }
    }

    /// Whether an answer or timer still belongs here.
    pub(crate) fn owns(&self, home: Home) -> bool {
        self.owned.contains_key(&home)
    }
}
