//! Creates the topics that `topics.yaml` declares.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use anyhow::{Context, bail};
use contracts::{
    TopicNames,
    topology::{TopicSpec, topology},
};
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    types::RDKafkaErrorCode,
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::Cluster;

/// First pause between two looks at the cluster's metadata; the next is twice as long. A
/// look is work for a broker that has many topics, and is busy making ours.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Longest pause.
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(500);

/// What may differ from `topics.yaml` in one installation.
#[derive(Clone, Debug)]
pub struct Options {
    /// Partitions of every topic, instead of the file's.
    pub partitions: Option<i32>,
    /// Replicas of every partition, instead of the file's.
    pub replication_factor: Option<i32>,
    /// Time limit of the whole work.
    pub timeout: Duration,
}

impl Default for Options {
    /// As the file says, within one minute.
    fn default() -> Self {
        Self {
            partitions: None,
            replication_factor: None,
            timeout: Duration::from_secs(60),
        }
    }
}

/// What was done, and what is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Topics that were missing and now exist.
    pub created: Vec<String>,
    /// Topics that existed before.
    pub existing: Vec<String>,
    /// Differences between existing topics and `topics.yaml`. They are never
    /// changed without being asked: more partitions move keys, and shorter
    /// retention deletes records.
    pub drift: Vec<Drift>,
}

/// One property of a topic that differs from what is declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The topic's full name.
    pub topic: String,
    /// `partitions`, `replicas`, or the name of a topic configuration.
    pub property: String,
    /// What is declared.
    pub declared: String,
    /// What the cluster has.
    pub found: String,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            property,
            declared,
            found,
        } = self;
        write!(f, "{topic}: {property} is {found}, declared is {declared}")
    }
}

/// Creates the topics that are missing under these names, dead letter queues
/// included, and returns when every partition of every topic has a leader.
///
/// # Errors
/// When no broker answers, one refuses a topic, or the time limit passes. What
/// was created until then stays, and the call can be repeated.
pub async fn apply(
    cluster: impl Into<Cluster>,
    names: &TopicNames,
    options: &Options,
) -> anyhow::Result<Report> {
    let cluster = cluster.into();
    let deadline = Instant::now() + options.timeout;
    let wanted = wanted(names, options);
    let found = found(&cluster, options.timeout).await?;

    let (existing, missing): (Vec<_>, Vec<_>) = wanted
        .iter()
        .partition(|topic| found.contains_key(&topic.name));
    let admin: AdminClient<DefaultClientContext> = cluster
        .client_config()
        .create()
        .context("Kafka client configuration")?;
    let created = create(&admin, &missing, options.timeout).await?;
    let drift = drift(&admin, &existing, &found, options.timeout).await?;
    wait_until_visible(&cluster, &wanted, deadline).await?;

    Ok(Report {
        created,
        existing: existing.iter().map(|topic| topic.name.clone()).collect(),
        drift,
    })
}

/// What [`apply`] would create, and what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Topics that are missing.
    pub missing: Vec<String>,
    /// Differences between existing topics and `topics.yaml`.
    pub drift: Vec<Drift>,
}

/// Compares the cluster with what is declared; changes nothing.
///
/// # Errors
/// When no broker answers within the time limit.
pub async fn plan(
    cluster: impl Into<Cluster>,
    names: &TopicNames,
    options: &Options,
) -> anyhow::Result<Plan> {
    let cluster = cluster.into();
    let wanted = wanted(names, options);
    let found = found(&cluster, options.timeout).await?;
    let (existing, missing): (Vec<_>, Vec<_>) = wanted
        .iter()
        .partition(|topic| found.contains_key(&topic.name));
    let admin: AdminClient<DefaultClientContext> = cluster
        .client_config()
        .create()
        .context("Kafka client configuration")?;
    Ok(Plan {
        missing: missing.iter().map(|topic| topic.name.clone()).collect(),
        drift: drift(&admin, &existing, &found, options.timeout).await?,
    })
}

/// The declared topics under the names and numbers of this installation.
fn wanted(names: &TopicNames, options: &Options) -> Vec<TopicSpec> {
    topology()
        .iter()
        .map(|topic| TopicSpec {
            name: format!("{}{}", names.prefix(), topic.name),
            partitions: options.partitions.unwrap_or(topic.partitions),
            replicas: options.replication_factor.unwrap_or(topic.replicas),
            ..topic.clone()
        })
        .collect()
}

/// Partitions and replicas of a topic.
#[derive(Clone, Copy)]
struct Shape {
    partitions: usize,
    replicas: usize,
    has_leaders: bool,
}

/// The shape of every topic in the cluster.
async fn found(cluster: &Cluster, timeout: Duration) -> anyhow::Result<BTreeMap<String, Shape>> {
    let metadata = cluster.metadata(timeout).await?;
    Ok(metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none())
        .map(|topic| {
            let partitions = topic.partitions();
            let shape = Shape {
                partitions: partitions.len(),
                replicas: partitions
                    .iter()
                    .map(|p| p.replicas().len())
                    .min()
                    .unwrap_or(0),
                has_leaders: partitions
                    .iter()
                    .all(|p| p.leader() >= 0 && p.error().is_none()),
            };
            (topic.name().to_owned(), shape)
        })
        .collect())
}

async fn create(
    admin: &AdminClient<DefaultClientContext>,
    missing: &[&TopicSpec],
    timeout: Duration,
) -> anyhow::Result<Vec<String>> {
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let topics: Vec<_> = missing
        .iter()
        .map(|topic| {
            let replication = TopicReplication::Fixed(topic.replicas);
            topic.configs.iter().fold(
                NewTopic::new(&topic.name, topic.partitions, replication),
                |new, (key, value)| new.set(key, value),
            )
        })
        .collect();
    let outcomes = admin
        .create_topics(&topics, &admin_options(timeout))
        .await
        .context("Kafka did not answer the request to create topics")?;

    let mut created = Vec::new();
    let mut refused = Vec::new();
    for outcome in outcomes {
        match outcome {
            Ok(name) => created.push(name),
            // Someone else was as quick: then it is there.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => refused.push(format!("{name} ({code})")),
        }
    }
    if !refused.is_empty() {
        bail!(
            "Kafka refused to create {}; with fewer brokers than replicas, lower --replication-factor",
            refused.join(", ")
        );
    }
    Ok(created)
}

async fn drift(
    admin: &AdminClient<DefaultClientContext>,
    existing: &[&TopicSpec],
    found: &BTreeMap<String, Shape>,
    timeout: Duration,
) -> anyhow::Result<Vec<Drift>> {
    let mut drift = Vec::new();
    for topic in existing {
        let Some(shape) = found.get(&topic.name) else {
            continue;
        };
        for (property, declared, found) in [
            ("partitions", topic.partitions, shape.partitions),
            ("replicas", topic.replicas, shape.replicas),
        ] {
            compare(
                &mut drift,
                topic,
                property,
                declared.to_string(),
                found.to_string(),
            );
        }
    }
    if existing.is_empty() {
        return Ok(drift);
    }

    let resources: Vec<_> = existing
        .iter()
        .map(|topic| ResourceSpecifier::Topic(&topic.name))
        .collect();
    let described = admin
        .describe_configs(&resources, &admin_options(timeout))
        .await
        .context("Kafka did not answer the request for the topics' configuration")?;
    // Answers come in the order of the questions.
    for (topic, described) in existing.iter().zip(described) {
        let described =
            described.with_context(|| format!("configuration of topic {}", topic.name))?;
        for (key, declared) in &topic.configs {
            let found = described
                .get(key)
                .and_then(|entry| entry.value.clone())
                .unwrap_or_default();
            compare(&mut drift, topic, key, declared.clone(), found);
        }
    }
    Ok(drift)
}

fn compare(
    drift: &mut Vec<Drift>,
    topic: &TopicSpec,
    property: &str,
    declared: String,
    found: String,
) {
    if declared != found {
        drift.push(Drift {
            topic: topic.name.clone(),
            property: property.to_owned(),
            declared,
            found,
        });
    }
}

/// Brokers learn of a new topic one after the other, and a client that asks
/// too early is told that there is no such topic.
async fn wait_until_visible(
    cluster: &Cluster,
    wanted: &[TopicSpec],
    deadline: Instant,
) -> anyhow::Result<()> {
    let mut absent = None;
    let mut pause = LOOK_AGAIN;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match found(cluster, left.max(LOOK_AGAIN)).await {
            Ok(found) => {
                let has_leaders =
                    |name: &str| found.get(name).is_some_and(|shape| shape.has_leaders);
                let names = wanted.iter().map(|topic| topic.name.as_str());
                absent = Some(
                    names
                        .filter(|name| !has_leaders(name))
                        .collect::<BTreeSet<_>>(),
                );
            }
            // The last look has little time: what was seen before it says more.
            Err(error) if absent.is_none() => return Err(error),
            Err(_) => {}
        }
        let names: Vec<_> = absent.iter().flatten().copied().collect();
        if names.is_empty() {
            return Ok(());
        }
        if left.is_zero() {
            bail!(
                "topics without a leader for every partition: {}; check that all brokers run",
                names.join(", ")
            );
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_AGAIN_MAX);
    }
}

fn admin_options(timeout: Duration) -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(timeout))
        .operation_timeout(Some(timeout))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_topic_is_wanted_under_the_prefix_and_with_the_overrides() {
        let options = Options {
            partitions: Some(2),
            ..Options::default()
        };
        let wanted = wanted(&TopicNames::new("eu."), &options);
        assert_eq!(wanted.len(), topology().len());
        for (wanted, declared) in wanted.iter().zip(topology()) {
            assert_eq!(wanted.name, format!("eu.{}", declared.name));
            assert_eq!(wanted.partitions, 2);
            assert_eq!(wanted.replicas, declared.replicas);
            assert_eq!(wanted.configs, declared.configs);
        }
    }

    #[tokio::test]
    async fn a_cluster_that_is_not_there_is_named() {
        let options = Options {
            timeout: Duration::from_millis(200),
            ..Options::default()
        };
        let error = apply("127.0.0.1:1", &TopicNames::default(), &options)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("127.0.0.1:1"), "{error:#}");
    }
}
