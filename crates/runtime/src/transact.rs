//! The transaction of a batch.
//!
//! Where all rows that it is about were kept from former batches, one trip of one
//! statement: it moves the progress rows by compare-and-set, writes and compares.
//! Whatever turns out not to be as it was kept ends it.
//!
//! Otherwise, and then, two. First trip: `BEGIN`, lock the progress rows, read. Then
//! the handler, in memory. Second trip: the same statement, `COMMIT`. The rows are
//! locked from the first trip on, so the comparison made there holds until the commit,
//! and a former owner's batch never gets to its second trip.

use crate::batch::Batch;
use crate::commit::{Failure, Prepared};
use crate::failpoint::{Point, reach};
use crate::fault::Fault;
use crate::progress::{self, Advance};
use crate::session::{Step, WriteEnd};
use crate::worker::Worker;
use crate::{Cache, Handler, Observations, RowVersion, Sql, measure};

/// How many batches read after one whose rows somebody else had changed: where that is
/// another instance at work on the same rows, it will go on.
const READS_AFTER_STALE: u32 = 100;

impl<H: Handler> Worker<H> {
    /// Reads, handles and writes a batch in one transaction.
    pub(crate) async fn transact(
        &mut self,
        batch: &mut Batch<H::Answer>,
    ) -> Result<Prepared<H::Call>, Failure<H::Call>> {
        if let Some(prepared) = self.transact_at_once(batch).await? {
            return Ok(prepared);
        }
        let mut state = self.read(batch).await?;
        let handled = self.handle(batch, state.as_mut())?;
        let mut prepared = self.prepare(batch, handled)?;
        let (writes, version) = self.writes(state, &mut prepared.observations);
        let advance = self.advance(&prepared)?;
        let parts: Vec<_> = [&advance].into_iter().chain(&writes).collect();
        reach(Point::InTransaction);
        match self.session()?.write(&parts, WriteEnd::Commit).await {
            Ok(transaction) => {
                version.set(transaction);
                Ok(prepared)
            }
            Err(Fault::Transient(reason)) => Err(Failure::InDoubt(reason, prepared)),
            Err(fault) => Err(fault.into()),
        }
    }

    /// The whole transaction in one trip, where every row was kept from former batches.
    /// `None` where the batch is to be read and handled again, with no transaction open:
    /// nothing is refused, and nobody is blamed, on the strength of rows that may be out
    /// of date.
    async fn transact_at_once(
        &mut self,
        batch: &mut Batch<H::Answer>,
    ) -> Result<Option<Prepared<H::Call>>, Failure<H::Call>> {
        let Some(mut state) = self.recall(batch) else {
            return Ok(None);
        };
        let Ok(handled) = self.handle(batch, state.as_mut()) else {
            return Ok(None);
        };
        let is_certain = state
            .as_ref()
            .is_none_or(|state| self.handler.is_certain(state));
        if !handled.refused.is_empty() || !is_certain {
            return Ok(None);
        }
        let mut prepared = self.prepare(batch, handled)?;
        let (writes, version) = self.writes(state, &mut prepared.observations);
        let advance = self.advance(&prepared)?;
        let parts: Vec<_> = [&advance].into_iter().chain(&writes).collect();
        match self.session()?.write(&parts, WriteEnd::Itself).await {
            Ok(transaction) => {
                version.set(transaction);
                if !batch.inputs.is_empty() {
                    measure::row_cache("hit");
                }
                Ok(Some(prepared))
            }
            Err(Fault::Transient(reason)) => Err(Failure::InDoubt(reason, prepared)),
            Err(Fault::Conflict(reason) | Fault::Deterministic(reason)) => {
                tracing::debug!(reason, "a row was not as it was kept; reading");
                measure::row_cache("stale");
                self.forget_rows();
                self.reads_left = READS_AFTER_STALE;
                Ok(None)
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// The state of a batch whose rows were all kept; `Some(None)` where there is no
    /// input and so no state.
    fn recall(&mut self, batch: &Batch<H::Answer>) -> Option<Option<H::State>> {
        if batch.inputs.is_empty() {
            return Some(None);
        }
        if self.reads_left > 0 {
            self.reads_left -= 1;
            return None;
        }
        if self.settings.max_cached_rows == 0 {
            return None;
        }
        let state = self.handler.recall(&batch.inputs, &mut self.cache)?;
        Some(Some(state))
    }

    /// Empties the cache: what is in it may not be in the database.
    pub(crate) fn forget_rows(&mut self) {
        self.cache = H::Cache::new(self.settings.max_cached_rows);
    }

    /// What a batch writes, also kept for the next ones, and the version that it will have.
    fn writes(
        &mut self,
        state: Option<H::State>,
        observations: &mut Option<Observations>,
    ) -> (Vec<Sql>, RowVersion) {
        let version = RowVersion::default();
        let Some(mut state) = state else {
            return (Vec::new(), version);
        };
        *observations = self.handler.observations(&mut state);
        if self.settings.max_cached_rows > 0 {
            self.handler.keep(&state, &mut self.cache, &version);
        }
        (self.handler.writes(state), version)
    }

    /// Moves the progress rows of a batch.
    fn advance(&self, prepared: &Prepared<H::Call>) -> Result<Sql, Fault> {
        let mut rows = Vec::with_capacity(prepared.homes.len());
        for (home, moved) in &prepared.homes {
            let Some(owned) = self.owned.get(home) else {
                return Err(Fault::Fenced(format!("{home} is not owned any more")));
            };
            rows.push(Advance {
                home: *home,
                stamp: owned.stamp,
                read_to: moved.read_to,
                public_sequence: moved.public_sequence,
                outputs: self.row_bytes(*home, moved),
            });
        }
        Ok(progress::advance(rows))
    }

    /// The first trip: locks the progress rows, makes sure that they are still
    /// ours, and reads what the handler asks for. There is no state where there is
    /// no input.
    async fn read(&mut self, batch: &Batch<H::Answer>) -> Result<Option<H::State>, Fault> {
        let lock = progress::lock(batch.homes().into_iter());
        let reads = if batch.inputs.is_empty() {
            Vec::new()
        } else {
            self.handler.reads(&batch.inputs)
        };
        let steps = [Step::Plain("BEGIN"), Step::Sql(&lock)]
            .into_iter()
            .chain(reads.iter().map(Step::Sql))
            .collect();
        let mut rows = self.session()?.trip(steps).await?.into_iter();
        let stamps = progress::stamps(&rows.next().unwrap_or_default())?;
        for home in batch.homes() {
            let ours = self.owned.get(&home).map(|owned| owned.stamp);
            if ours.is_none() || stamps.get(&home).copied() != ours {
                return Err(Fault::Fenced(format!(
                    "{home} has another owner now: the row has {:?}, this instance {ours:?}",
                    stamps.get(&home)
                )));
            }
        }
        if batch.inputs.is_empty() {
            return Ok(None);
        }
        measure::row_cache("miss");
        Ok(Some(self.handler.state(&batch.inputs, rows.collect())?))
    }
}
