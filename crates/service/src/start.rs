//! What has to be there before messages are handled: an up-to-date database and
//! the ids of all schemas written. What is away is waited for; what is wrong
//! ends the service.

use std::time::{Duration, Instant};

use anyhow::Context;
use contracts::{Codec, RecordType, RegistryConfig, RegistryError, Topic, TopicNames};

use crate::database::Database;
use crate::readiness::Readiness;

/// Pauses between tries: doubled each time, between half and the whole of it.
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self { next: first, max }
    }

    fn pause(&mut self) -> Duration {
        let whole = self.next.min(self.max);
        self.next = whole.saturating_mul(2).min(self.max);
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// Runs the migrations as soon as the database is there.
///
/// # Errors
/// The database is there, but refuses: credentials, name, rights, or a migration.
pub(crate) async fn migrate(
    database: &Database,
    migrations: &refinery::Runner,
    mut backoff: Backoff,
    readiness: &Readiness,
) -> anyhow::Result<()> {
    loop {
        match database.migrate(migrations).await {
            Ok(()) => {
                readiness.set_migrated();
                tracing::info!(database = database.describe(), "the database is up to date");
                return Ok(());
            }
            Err(error) if error.is_permanent() => {
                return Err(error)
                    .with_context(|| format!("the database {} refuses", database.describe()));
            }
            Err(error) => {
                let pause = backoff.pause();
                tracing::warn!(
                    database = database.describe(),
                    %error,
                    ?pause,
                    "the database is away; trying again after a pause"
                );
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Resolves the schema ids as soon as the registry is there and knows them: of what is
/// written, and of what is read as far as it is there. From then on the registry is only
/// needed for schemas of others' making.
///
/// # Errors
/// The registry is there, but refuses, or lacks schemas for longer than `patience`.
pub(crate) async fn codec(
    registry: &RegistryConfig,
    topics: &TopicNames,
    writes: &[RecordType],
    reads: &[Topic],
    patience: Duration,
    mut backoff: Backoff,
    readiness: &Readiness,
) -> anyhow::Result<Codec> {
    let started = Instant::now();
    loop {
        let connected = async {
            let codec = Codec::connect(registry, topics.clone(), writes).await?;
            let records = RecordType::ALL.iter().copied();
            let read = records.filter(|record| reads.contains(&record.topic()));
            codec.get_to_know(read).await?;
            Ok(codec)
        };
        let error = match connected.await {
            Ok(codec) => {
                readiness.set_schemas();
                tracing::info!(schemas = writes.len(), "schema ids are resolved");
                return Ok(codec);
            }
            Err(error) => error,
        };
        let limit = patience_with(&error, patience);
        if limit.is_some_and(|limit| started.elapsed() >= limit) {
            return Err(error).context("schema ids cannot be resolved");
        }
        let pause = backoff.pause();
        tracing::warn!(%error, ?pause, "schema ids are not resolved; trying again after a pause");
        tokio::time::sleep(pause).await;
    }
}

/// How long an error is borne; `None`: for ever.
fn patience_with(error: &RegistryError, patience: Duration) -> Option<Duration> {
    match error {
        RegistryError::Misconfigured(_) => Some(Duration::ZERO),
        error if error.is_transient() => None,
        // Schemas are applied by a deployment step that may run at the same time, and
        // a registry that starts may answer strangely.
        _ => Some(patience),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        for whole in [100, 200, 300, 300] {
            let pause = backoff.pause();
            assert!(pause >= Duration::from_millis(whole / 2), "{pause:?}");
            assert!(pause <= Duration::from_millis(whole), "{pause:?}");
        }
    }

    #[test]
    fn an_absent_registry_is_waited_for_and_a_wrong_one_is_not() {
        let patience = Duration::from_secs(60);
        let absent = RegistryError::Unreachable {
            urls: "http://registry".into(),
            detail: "connection refused".into(),
        };
        assert_eq!(patience_with(&absent, patience), None);
        let missing = RegistryError::MissingSubjects(vec!["one".into()]);
        assert_eq!(patience_with(&missing, patience), Some(patience));
        let wrong = RegistryError::Misconfigured("no URL".into());
        assert_eq!(patience_with(&wrong, patience), Some(Duration::ZERO));
    }

    #[tokio::test]
    async fn an_unusable_address_ends_the_wait_at_once() {
        let registry = RegistryConfig::at("registry:8081");
        let error = codec(
            &registry,
            &TopicNames::new(""),
            &[],
            &[],
            Duration::from_secs(60),
            Backoff::new(Duration::from_millis(1), Duration::from_millis(1)),
            &Readiness::default(),
        )
        .await
        .unwrap_err();
        assert!(format!("{error:#}").contains("registry:8081"), "{error:#}");
    }
}
