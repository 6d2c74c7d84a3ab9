//! Bounded retries with back-off.

use super::{RegistryConfig, RegistryError};

/// Calls until it succeeds, fails for good, or the attempts are used up.
pub(super) async fn with_retries<T>(
    config: &RegistryConfig,
    what: &str,
    call: impl AsyncFn() -> Result<T, RegistryError>,
) -> Result<T, RegistryError> {
    let mut pause = config.backoff;
    let mut attempt = 1;
    loop {
        match call().await {
            Err(error) if error.is_transient() && attempt < config.attempts => {
                tracing::warn!(
                    what,
                    attempt,
                    attempts = config.attempts,
                    %error,
                    "schema registry did not answer, trying again"
                );
            }
            outcome => return outcome,
        }
        tokio::time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(config.backoff_max);
        attempt += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use super::*;

    fn config() -> RegistryConfig {
        RegistryConfig {
            attempts: 4,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_millis(150),
            ..RegistryConfig::at("http://localhost")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_repeated_with_growing_pauses_and_then_given_up() {
        let calls = Cell::new(0);
        let begun = tokio::time::Instant::now();
        let outcome: Result<(), _> = with_retries(&config(), "test", async || {
            calls.set(calls.get() + 1);
            Err(config().unreachable("away".to_owned()))
        })
        .await;
        assert!(outcome.unwrap_err().is_transient());
        assert_eq!(calls.get(), 4);
        assert_eq!(begun.elapsed().as_millis(), 100 + 150 + 150);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_will_not_change_is_not_asked_for_again() {
        let calls = Cell::new(0);
        let outcome: Result<(), _> = with_retries(&config(), "test", async || {
            calls.set(calls.get() + 1);
            Err(RegistryError::NotFound("schema 7".to_owned()))
        })
        .await;
        assert!(matches!(outcome, Err(RegistryError::NotFound(_))));
        assert_eq!(calls.get(), 1);
    }
}
