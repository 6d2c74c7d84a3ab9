//! What a service waits for before it is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::Pool;
use runtime::Health;
use serde::Serialize;
use tokio::time::timeout;

/// How often the database is asked whether it answers. The message loop only notices when
/// it has something to do.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// Limit of one such question.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Shared between the start, which sets it, and `/readyz`, which shows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Readiness(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    migrated: AtomicBool,
    answers: AtomicBool,
    schemas: AtomicBool,
    stopping: AtomicBool,
    health: Health,
}

/// The body of `/readyz`: each part with `ok` or what is missing.
#[derive(Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Whether all parts are.
    pub(crate) ready: bool,
    database: &'static str,
    schemas: &'static str,
    broker: &'static str,
    /// Partitions that this instance handles.
    partitions: usize,
    /// Whether the service was told to stop.
    stopping: bool,
}

impl Readiness {
    pub(crate) fn new(health: Health) -> Self {
        Self(Arc::new(Flags {
            health,
            ..Flags::default()
        }))
    }

    /// The database was reached and its tables are up to date.
    pub(crate) fn set_migrated(&self) {
        self.0.migrated.store(true, Ordering::Relaxed);
        self.0.answers.store(true, Ordering::Relaxed);
    }

    /// Asks the database now and then whether it answers. Runs until it is dropped.
    pub(crate) async fn probe(self, pool: Pool) {
        loop {
            tokio::time::sleep(PROBE_INTERVAL).await;
            let asked = async {
                let client = pool.get().await.ok()?;
                client.simple_query("SELECT 1").await.ok()
            };
            let answers = matches!(timeout(PROBE_TIMEOUT, asked).await, Ok(Some(_)));
            if self.0.answers.swap(answers, Ordering::Relaxed) != answers {
                if answers {
                    tracing::info!("the database answers again");
                } else {
                    tracing::warn!("the database does not answer");
                }
            }
        }
    }

    /// The id of every schema written is known.
    pub(crate) fn set_schemas(&self) {
        self.0.schemas.store(true, Ordering::Relaxed);
    }

    /// The service stops; it takes no new work.
    pub(crate) fn set_stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// The state now.
    pub(crate) fn report(&self) -> Report {
        let health = self.0.health.report();
        let migrated = self.0.migrated.load(Ordering::Relaxed);
        let answers = self.0.answers.load(Ordering::Relaxed);
        let schemas = self.0.schemas.load(Ordering::Relaxed);
        let stopping = self.0.stopping.load(Ordering::Relaxed);
        Report {
            ready: migrated && answers && schemas && health.is_ready() && !stopping,
            database: match (migrated, answers, health.database) {
                (false, _, _) => "not reached or not migrated yet",
                (true, false, _) => "does not answer",
                (true, true, false) => "answers, but the message loop has not used it yet",
                (true, true, true) => "ok",
            },
            schemas: if schemas {
                "ok"
            } else {
                "schema ids not resolved yet"
            },
            broker: if health.group {
                "ok"
            } else {
                "not yet a member of the consumer group with its share of the partitions"
            },
            partitions: health.partitions,
            stopping,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_ready_only_when_every_part_is() {
        let readiness = Readiness::new(Health::new());
        let report = readiness.report();
        assert!(!report.ready);
        assert_eq!(report.schemas, "schema ids not resolved yet");
        readiness.set_schemas();
        readiness.set_migrated();
        let report = readiness.report();
        assert_eq!(report.schemas, "ok");
        // The runtime has not joined yet.
        assert!(!report.ready);
        assert!(report.broker.contains("group"), "{}", report.broker);
    }
}
