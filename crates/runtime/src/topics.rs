//! Which topics a service needs, and which of them are missing.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::TopicNames;

use crate::fault::Fault;
use crate::publisher::Publisher;
use crate::settings::Settings;
use crate::{Handler, RunError};

/// Limit of asking the brokers which topics there are.
pub(crate) const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Names the topics that a service reads or writes, dead letters included, and that
/// the cluster does not have.
///
/// # Errors
/// What is wrong, in words: no broker answers, or a property of the client is wrong.
pub async fn missing_topics<H: Handler>(
    settings: &Settings,
    topics: &TopicNames,
) -> Result<Vec<String>, String> {
    let publisher = Publisher::new(settings).map_err(|error: RunError| error.to_string())?;
    let wanted = wanted::<H>(topics);
    tokio::task::spawn_blocking(move || publisher.missing_topics(&wanted, METADATA_TIMEOUT))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|fault| match fault {
            Fault::Transient(reason) => reason,
            other => format!("{other:?}"),
        })
}

/// Every topic that a service reads or writes, dead letters included.
pub(crate) fn wanted<H: Handler>(topics: &TopicNames) -> Vec<String> {
    H::CONSUMES
        .iter()
        .flat_map(|topic| [topics.name(*topic), topics.dlq(*topic)])
        .chain(H::PRODUCES.iter().map(|record| topics.name(record.topic())))
        .map(str::to_owned)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
