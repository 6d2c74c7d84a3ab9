//! Removes rows that have ended long ago, in small transactions, so that databases
//! do not grow without end and nobody waits for it.

use std::time::Duration;

use anyhow::Context;
use deadpool_postgres::Pool;
use jiff::{SignedDuration, Timestamp};
use metrics::{counter, describe_counter};
use tokio::time::sleep;

use crate::args::RetentionArgs;

/// Rows removed, by table.
const PURGED: &str = "service_rows_purged_total";
/// The lock under which one instance of a service removes rows; each service has a
/// database of its own.
const LOCK: i64 = 0x7075_7267;

/// Rows that may be removed after a time.
#[derive(Clone, Copy, Debug)]
pub struct Purge {
    /// What the metric and the log call them.
    pub table: &'static str,
    /// Removes rows that ended before `$1 timestamptz`, at most `$2 bigint`.
    pub sql: &'static str,
    /// How long they are kept; `None`: for ever.
    pub keep: Option<Duration>,
}

/// Removes rows for ever, one round after another.
pub(crate) async fn run(pool: Pool, purges: Vec<Purge>, limits: RetentionArgs) {
    describe_counter!(PURGED, "Rows removed after their retention, by table");
    let interval = Duration::from_secs(u64::from(limits.purge_interval_seconds));
    loop {
        sleep(interval).await;
        for purge in &purges {
            let Some(keep) = purge.keep else { continue };
            match round(&pool, purge, keep, &limits).await {
                Ok(0) => {}
                Ok(rows) => tracing::info!(table = purge.table, rows, "removed old rows"),
                // The next round tries again.
                Err(error) => tracing::warn!(
                    table = purge.table,
                    error = format!("{error:#}"),
                    "old rows were not removed"
                ),
            }
        }
    }
}

/// Removes what is too old now; the rows removed.
async fn round(
    pool: &Pool,
    purge: &Purge,
    keep: Duration,
    limits: &RetentionArgs,
) -> anyhow::Result<u64> {
    let before = SignedDuration::try_from(keep)
        .ok()
        .and_then(|keep| Timestamp::now().checked_sub(keep).ok())
        .context("the retention is longer than time itself")?;
    let most = u64::from(limits.purge_batch_rows);
    let mut removed = 0;
    loop {
        let rows = batch(pool, purge, before, most).await?;
        counter!(PURGED, "table" => purge.table).increment(rows);
        removed += rows;
        if rows < most {
            return Ok(removed);
        }
        sleep(Duration::from_millis(u64::from(limits.purge_pause_ms))).await;
    }
}

/// One transaction; none of the rows where another instance is at it.
async fn batch(pool: &Pool, purge: &Purge, before: Timestamp, most: u64) -> anyhow::Result<u64> {
    let mut client = pool.get().await?;
    let transaction = client.transaction().await?;
    let lock = "SELECT pg_try_advisory_xact_lock($1)";
    let ours: bool = transaction.query_one(lock, &[&LOCK]).await?.try_get(0)?;
    if !ours {
        return Ok(0);
    }
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = transaction.execute(purge.sql, &[&before, &most]).await?;
    transaction.commit().await?;
    Ok(rows)
}
