//! Waiting for a condition, never longer than a limit.

use std::time::{Duration, Instant};

use crate::error::{Error, LogTail, Result};
use crate::guard::{Process, ProcessState};

/// Time between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(50);

/// Waits until `probe` is satisfied. A probe that is not tells why, and the
/// last reason goes into the error when `limit` is over. With a `process` the
/// wait ends at once when that has ended, and its log is shown.
///
/// A probe may take long itself: it is cut off when `limit` is over.
///
/// # Errors
/// [`Error::NotReady`] or [`Error::Ended`].
pub async fn until<T>(
    what: &str,
    limit: Duration,
    process: Option<&Process>,
    mut probe: impl AsyncFnMut() -> std::result::Result<T, String>,
) -> Result<T> {
    let begin = Instant::now();
    let mut reason = "it was not asked yet".to_owned();
    let probing = async {
        loop {
            match probe().await {
                Ok(value) => return Ok(value),
                Err(why) => reason = why,
            }
            if let Some(process) = process
                && let ProcessState::Ended(status) = process.state()
            {
                return Err(process.ended(status));
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    };
    match tokio::time::timeout(limit, probing).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Error::NotReady {
            what: what.to_owned(),
            waited: begin.elapsed(),
            reason,
            tail: process.map_or_else(LogTail::default, |process| LogTail::of(process.log())),
        }),
    }
}

/// Whether something accepts connections at `address` ("host:port").
pub(crate) async fn accepts(address: &str) -> std::result::Result<(), String> {
    let limit = Duration::from_secs(2);
    match tokio::time::timeout(limit, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!("{address} does not answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_reason_is_told() {
        let mut tries = 0;
        let limit = Duration::from_millis(200);
        let outcome = until(
            "the thing",
            limit,
            None,
            async || -> std::result::Result<(), _> {
                tries += 1;
                Err(format!("try {tries}"))
            },
        )
        .await;
        let error = outcome.unwrap_err().to_string();
        assert!(error.starts_with("the thing was not ready"), "{error}");
        assert!(error.contains(&format!("try {tries}")), "{error}");
        assert!(tries > 1);
    }

    #[tokio::test]
    async fn a_probe_that_hangs_is_cut_off() {
        let limit = Duration::from_millis(50);
        let outcome = until("it", limit, None, async || std::future::pending().await).await;
        let outcome: Result<()> = outcome;
        assert!(matches!(outcome, Err(Error::NotReady { .. })));
    }
}
