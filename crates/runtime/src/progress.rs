//! The rows of the table `progress`: inbox, outbox and fence of one partition.

use std::collections::BTreeMap;

use contracts::Topic;
use tokio_postgres::Row;

use crate::fault::Fault;
use crate::{Home, RunError, Sql};

/// The runtime's own migrations, by name and text, to be run in this order
/// beside those of the service.
pub const MIGRATIONS: &[(&str, &str)] = &[
    (
        "V1__progress",
        include_str!("../migrations/V1__progress.sql"),
    ),
    (
        "V2__last_record",
        include_str!("../migrations/V2__last_record.sql"),
    ),
    (
        "V3__expect_rows",
        include_str!("../migrations/V3__expect_rows.sql"),
    ),
];

/// Takes partitions over: a new epoch fences every former owner.
const CLAIM: &str = "
INSERT INTO progress AS p (topic, partition)
SELECT u.topic, u.partition FROM unnest($1::text[], $2::int4[]) AS u (topic, partition) ORDER BY 1, 2
ON CONFLICT (topic, partition) DO UPDATE SET epoch = p.epoch + 1
RETURNING p.topic, p.partition, p.epoch, p.revision, p.next_offset, p.last_record, p.public_sequence, p.outputs";

/// Locks the rows of a batch.
const LOCK: &str = "
SELECT p.topic, p.partition, p.epoch, p.revision
FROM progress p JOIN unnest($1::text[], $2::int4[]) AS u (topic, partition)
  ON p.topic = u.topic AND p.partition = u.partition
ORDER BY p.topic, p.partition FOR UPDATE OF p";

/// Moves the rows of a batch, if they are as they were left: by compare-and-set.
const ADVANCE: &str = "
UPDATE progress p
SET revision = p.revision + 1, next_offset = u.next_offset, last_record = u.last_record,
    public_sequence = u.public_sequence, outputs = u.outputs, updated_at = now()
FROM (
    SELECT unnest($1::text[]) AS topic, unnest($2::int4[]) AS partition,
           unnest($3::int8[]) AS epoch, unnest($4::int8[]) AS revision,
           unnest($5::int8[]) AS next_offset, unnest($6::int8[]) AS last_record,
           unnest($7::int8[]) AS public_sequence, unnest($8::bytea[]) AS outputs
) AS u
WHERE p.topic = u.topic AND p.partition = u.partition
  AND p.epoch = u.epoch AND p.revision = u.revision";

/// Every text above, to be prepared.
pub(crate) const STATEMENTS: &[&str] = &[CLAIM, LOCK, ADVANCE];

/// A row as its new owner finds it.
pub(crate) struct Claimed {
    pub(crate) home: Home,
    pub(crate) stamp: Stamp,
    /// `None` where nothing was read yet.
    pub(crate) read_to: Option<ReadTo>,
    /// The sequence number of the last public output.
    pub(crate) public_sequence: i64,
    /// Messages of the former owner that may not be on Kafka yet.
    pub(crate) outputs: Vec<u8>,
}

/// What a row is compared by: who owns it, and how often it was moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) epoch: i64,
    pub(crate) revision: i64,
}

/// How far a log was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReadTo {
    /// The next record to read.
    pub(crate) next_offset: i64,
    /// The digest of the record before it, where it is known.
    pub(crate) last_record: Option<i64>,
}

/// How a batch moves a row.
pub(crate) struct Advance {
    pub(crate) home: Home,
    /// How it was left.
    pub(crate) stamp: Stamp,
    pub(crate) read_to: Option<ReadTo>,
    pub(crate) public_sequence: i64,
    pub(crate) outputs: Vec<u8>,
}

fn columns(homes: impl Iterator<Item = Home>) -> (Vec<&'static str>, Vec<i32>) {
    homes
        .map(|home| (home.topic.name(), home.partition))
        .unzip()
}

pub(crate) fn claim(homes: &[Home]) -> Sql {
    let (topics, partitions) = columns(homes.iter().copied());
    Sql::new(CLAIM, vec![Box::new(topics), Box::new(partitions)])
}

pub(crate) fn lock(homes: impl Iterator<Item = Home>) -> Sql {
    let (topics, partitions) = columns(homes);
    Sql::new(LOCK, vec![Box::new(topics), Box::new(partitions)])
}

pub(crate) fn advance(mut rows: Vec<Advance>) -> Sql {
    // In the order in which they are locked elsewhere.
    rows.sort_unstable_by_key(|row| (row.home.topic.name(), row.home.partition));
    let (topics, partitions) = columns(rows.iter().map(|row| row.home));
    let epochs: Vec<i64> = rows.iter().map(|row| row.stamp.epoch).collect();
    let revisions: Vec<i64> = rows.iter().map(|row| row.stamp.revision).collect();
    let read_to = || rows.iter().map(|row| row.read_to);
    let next_offsets: Vec<Option<i64>> = read_to()
        .map(|read_to| read_to.map(|read_to| read_to.next_offset))
        .collect();
    let last_records: Vec<Option<i64>> = read_to()
        .map(|read_to| read_to.and_then(|read_to| read_to.last_record))
        .collect();
    let sequences: Vec<i64> = rows.iter().map(|row| row.public_sequence).collect();
    let outputs: Vec<Vec<u8>> = rows.into_iter().map(|row| row.outputs).collect();
    Sql::new(
        ADVANCE,
        vec![
            Box::new(topics),
            Box::new(partitions),
            Box::new(epochs),
            Box::new(revisions),
            Box::new(next_offsets),
            Box::new(last_records),
            Box::new(sequences),
            Box::new(outputs),
        ],
    )
}

fn home(row: &Row) -> Result<Home, Fault> {
    let name: &str = row.try_get("topic")?;
    let topic = Topic::ALL
        .iter()
        .copied()
        .find(|topic| topic.name() == name)
        .ok_or_else(|| {
            Fault::Fatal(RunError::Defect(format!(
                "the table progress names a topic that this binary does not know: {name}"
            )))
        })?;
    Ok(Home {
        topic,
        partition: row.try_get("partition")?,
    })
}

fn read_to(row: &Row) -> Result<Option<ReadTo>, Fault> {
    let next_offset: Option<i64> = row.try_get("next_offset")?;
    let last_record = row.try_get("last_record")?;
    Ok(next_offset.map(|next_offset| ReadTo {
        next_offset,
        last_record,
    }))
}

fn stamp(row: &Row) -> Result<Stamp, Fault> {
    Ok(Stamp {
        epoch: row.try_get("epoch")?,
        revision: row.try_get("revision")?,
    })
}

pub(crate) fn claimed(rows: &[Row]) -> Result<Vec<Claimed>, Fault> {
    rows.iter()
        .map(|row| {
            Ok(Claimed {
                home: home(row)?,
                stamp: stamp(row)?,
                read_to: read_to(row)?,
                public_sequence: row.try_get("public_sequence")?,
                outputs: row.try_get("outputs")?,
            })
        })
        .collect()
}

pub(crate) fn stamps(rows: &[Row]) -> Result<BTreeMap<Home, Stamp>, Fault> {
    rows.iter()
        .map(|row| Ok((home(row)?, stamp(row)?)))
        .collect()
}
