//! What the former owner of a partition has stored and may not have published.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use contracts::CE_ID;
use uuid::Uuid;

use crate::fault::{Fault, RunError};
use crate::progress::Claimed;
use crate::publisher::Group;
use crate::stored::{self, StoredRecord};
use crate::worker::Worker;
use crate::{Handler, Home};

impl<H: Handler> Worker<H> {
    /// The records stored in these rows, without those on a compacted topic that a newer
    /// one has replaced: that one is published, or will be by whoever has it stored, and
    /// the older one must not come after it.
    pub(crate) async fn leftovers(
        &mut self,
        claimed: Vec<Claimed>,
    ) -> Result<Vec<(Claimed, Vec<StoredRecord>)>, Fault> {
        let mut leftovers = Vec::with_capacity(claimed.len());
        let mut keys = BTreeSet::new();
        for claimed in claimed {
            let records = stored::from_bytes(&claimed.outputs)
                .map_err(|error| unusable(claimed.home, &error))?;
            let compacted = records
                .iter()
                .filter(|record| self.publisher.is_compacted(&record.topic));
            keys.extend(compacted.filter_map(key));
            leftovers.push((claimed, records));
        }
        let newest = self.newest(keys).await?;
        for (_, records) in &mut leftovers {
            records.retain(|record| {
                let replaced_by = key(record)
                    .filter(|_| self.publisher.is_compacted(&record.topic))
                    .and_then(|key| newest.get(&key));
                replaced_by.is_none_or(|newest| id(record) == Some(*newest))
            });
        }
        Ok(leftovers)
    }

    /// The id of the newest record of each of these keys, where it is known.
    async fn newest(&mut self, keys: BTreeSet<Uuid>) -> Result<HashMap<Uuid, Uuid>, Fault> {
        let mut newest = HashMap::new();
        if keys.is_empty() {
            return Ok(newest);
        }
        if let Some(query) = self.handler.newest_of(keys.into_iter().collect()) {
            for row in self.retrying(vec![&query]).await?.iter().flatten() {
                newest.extend(self.handler.newest(row)?);
            }
        }
        Ok(newest)
    }

    /// Publishes what is left over of a home, of which so many public records are out.
    pub(crate) async fn publish_again(
        &self,
        home: Home,
        leftover: Vec<StoredRecord>,
        published: i64,
    ) -> Result<VecDeque<(Arc<Group>, Vec<u8>)>, Fault> {
        let (public, inner): (Vec<_>, Vec<_>) = leftover
            .into_iter()
            .partition(|record| record.sequence.is_some() && self.lane.is_some());
        let public: Vec<_> = public
            .into_iter()
            .filter(|record| record.sequence > Some(published))
            .collect();
        if inner.is_empty() && public.is_empty() {
            return Ok(VecDeque::new());
        }
        tracing::info!(
            %home, inner = inner.len(), public = public.len(),
            "publishing stored outputs of the former owner"
        );
        let mut groups = VecDeque::new();
        if !inner.is_empty() {
            let bytes = stored::to_bytes(&inner).map_err(|error| unusable(home, &error))?;
            groups.push_back((self.publisher.publish(&inner).await?, bytes));
        }
        if !public.is_empty() {
            let bytes = stored::to_bytes(&public).map_err(|error| unusable(home, &error))?;
            groups.push_back((self.publish_in_lane(home, public)?, bytes));
        }
        Ok(groups)
    }
}

fn unusable(home: Home, error: &dyn std::fmt::Display) -> RunError {
    RunError::Defect(format!(
        "the outputs stored for {home} cannot be used: {error}"
    ))
}

/// The key of a record, as messages have it.
fn key(record: &StoredRecord) -> Option<Uuid> {
    Uuid::try_parse_ascii(record.key.as_deref()?).ok()
}

/// What identifies a record on the wire.
fn id(record: &StoredRecord) -> Option<Uuid> {
    let header = record.headers.iter().find(|header| header.name == CE_ID)?;
    Uuid::try_parse_ascii(header.value.as_deref()?).ok()
}
