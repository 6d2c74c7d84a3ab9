//! Which topics a service needs, and which of them are missing.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::{Topic, TopicNames};

use crate::fault::Fault;
use crate::publisher::{Partitions, Publisher};
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
    match publisher.partitions(METADATA_TIMEOUT).await {
        Ok(found) => Ok(missing::<H>(topics, &found)),
        Err(Fault::Transient(reason)) => Err(reason),
        Err(other) => Err(format!("{other:?}")),
    }
}

/// The topics that a service reads or writes and that are not among those found.
pub(crate) fn missing<H: Handler>(topics: &TopicNames, found: &Partitions) -> Vec<String> {
    let mut wanted = wanted::<H>(topics);
    wanted.retain(|name| !found.contains_key(name));
    wanted
}

/// The topics between services, with their partitions.
pub(crate) fn inner(topics: &TopicNames, found: &Partitions) -> Vec<(String, i32)> {
    let inner = Topic::ALL.iter().filter(|topic| topic.is_inner());
    inner
        .filter_map(|topic| found.get_key_value(topics.name(*topic)))
        .map(|(name, partitions)| (name.clone(), *partitions))
        .collect()
}

/// The topics of which the last record of a key is what holds.
pub(crate) fn compacted(topics: &TopicNames) -> BTreeSet<String> {
    let compacted = Topic::ALL.iter().filter(|topic| topic.is_compacted());
    compacted
        .map(|topic| topics.name(*topic).to_owned())
        .collect()
}

/// Every topic that a service reads or writes, dead letters included.
fn wanted<H: Handler>(topics: &TopicNames) -> Vec<String> {
    H::CONSUMES
        .iter()
        .flat_map(|topic| [topics.name(*topic), topics.dlq(*topic)])
        .chain(H::PRODUCES.iter().map(|record| topics.name(record.topic())))
        .map(str::to_owned)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}
