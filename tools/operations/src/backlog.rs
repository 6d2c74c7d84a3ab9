//! How far services are behind with the topics that they read: their own positions,
//! from their databases, against the ends of the logs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use audit::{Error, LogReader, Result, Target, consumer};
use contracts::Topic;
use serde::Serialize;

use crate::databases::Db;
use crate::row::column;

/// A row for each partition; the table does not grow.
const POSITIONS: &str = "SELECT topic, partition, next_offset FROM progress";

/// What a service has still to read of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Backlog {
    /// The service.
    pub service: String,
    /// The topic, without prefix.
    pub topic: String,
    /// Offsets in between, transaction markers included; absent where it is not known.
    pub unread: Option<i64>,
    /// Why it is not known.
    pub why: Option<String>,
}

/// The next offsets of a service, by topic and partition.
type Positions = BTreeMap<(String, i32), i64>;

/// The backlog of every service, topic by topic. A database that is away makes its
/// service's backlog unknown.
///
/// # Errors
/// When Kafka cannot be asked.
pub async fn backlog(target: &Target, timeout: Duration) -> Result<Vec<Backlog>> {
    let services: BTreeSet<&'static str> =
        Topic::ALL.iter().copied().filter_map(consumer).collect();
    let asked = services
        .into_iter()
        .map(async |service| (service, positions(target, service, timeout).await));
    let positions: BTreeMap<_, _> = futures::future::join_all(asked).await.into_iter().collect();
    let target = target.clone();
    tokio::task::spawn_blocking(move || {
        let log = LogReader::new(&target.kafka)?;
        let topics = Topic::ALL.iter().copied();
        let consumed = topics.filter_map(|topic| Some((topic, consumer(topic)?)));
        consumed
            .map(|(topic, service)| {
                let of_service = positions.get(service);
                let unread = match of_service {
                    Some(Ok(positions)) => Ok(unread(&log, &target, topic, positions)?),
                    Some(Err(why)) => Err(why.clone()),
                    None => Err("its database was not asked".to_owned()),
                };
                Ok(Backlog {
                    service: service.to_owned(),
                    topic: topic.name().to_owned(),
                    unread: unread.as_ref().ok().copied(),
                    why: unread.err(),
                })
            })
            .collect()
    })
    .await
    .map_err(|_| Error::Invalid("the thread that reads Kafka broke down".to_owned()))?
}

async fn positions(
    target: &Target,
    service: &'static str,
    timeout: Duration,
) -> std::result::Result<Positions, String> {
    let read = async {
        let Some(db) = Db::open(target, service, timeout).await? else {
            return Err(Error::Invalid(format!(
                "the address of its database was not given: set {}_DATABASE_URL",
                service.to_uppercase()
            )));
        };
        let rows = db.query(POSITIONS, &[]).await?;
        rows.iter()
            .map(|row| {
                let next: Option<i64> = column(row, "next_offset")?;
                let place = (column(row, "topic")?, column(row, "partition")?);
                Ok((place, next.unwrap_or(0)))
            })
            .collect()
    };
    read.await.map_err(|error: Error| error.to_string())
}

fn unread(log: &LogReader, target: &Target, topic: Topic, positions: &Positions) -> Result<i64> {
    let name = target.topics.name(topic);
    let mut unread = 0;
    for partition in log.partitions(name)? {
        let (low, high) = log.watermarks(name, partition)?;
        let next = positions.get(&(topic.name().to_owned(), partition));
        unread += (high - next.copied().unwrap_or(low).max(low)).max(0);
    }
    Ok(unread)
}
