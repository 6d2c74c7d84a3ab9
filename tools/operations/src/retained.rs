//! Whether every record that is still on the topics decodes with the contracts of
//! this version.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use audit::{Error, LogReader, Result, Target};
use contracts::{Codec, DecodeError, ErrorCode, Topic};
use rdkafka::Offset;
use rdkafka::message::Message;
use serde::Serialize;
use tokio::runtime::Handle;

/// Records that do not decode, of which the place is kept for each topic.
const EXAMPLES: usize = 10;
/// How many records are read between two words about it.
const TELL_EVERY: u64 = 10_000;

/// What a topic holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retained {
    /// The topic's full name.
    pub topic: String,
    /// Records that were read.
    pub records: u64,
    /// Records that no version could decode: they are in the dead-letter topic, or
    /// will be. By error code.
    pub poison: BTreeMap<String, u64>,
    /// Records that their writer's schema describes, and this version's contracts do
    /// not understand.
    pub not_understood: u64,
    /// Some of them: place, and why.
    pub examples: Vec<String>,
}

/// Reads all topics from their beginnings to their ends. `tell` hears how far it is.
///
/// # Errors
/// When Kafka or the registry cannot be asked.
pub async fn check(
    target: &Target,
    tell: impl Fn(&str) + Send + Sync + 'static,
) -> Result<Vec<Retained>> {
    let codec = Codec::connect(&target.registry, target.topics.clone(), &[]).await?;
    let target = target.clone();
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let log = LogReader::new(&target.kafka)?;
        let each = |topic: &Topic| of_topic(&target, &log, &codec, &handle, *topic, &tell);
        Topic::ALL.iter().map(each).collect()
    })
    .await
    .map_err(|_| Error::Invalid("the thread that reads Kafka broke down".to_owned()))?
}

fn of_topic(
    target: &Target,
    log: &LogReader,
    codec: &Codec,
    handle: &Handle,
    topic: Topic,
    tell: &dyn Fn(&str),
) -> Result<Retained> {
    let name = target.topics.name(topic);
    let mut starts = Vec::new();
    for partition in log.partitions(name)? {
        let (low, high) = log.watermarks(name, partition)?;
        if low < high {
            starts.push((partition, Offset::Beginning));
        }
    }
    let mut retained = Retained {
        topic: name.to_owned(),
        ..Retained::default()
    };
    log.read(name, &starts, &mut |record| {
        retained.records += 1;
        if retained.records.is_multiple_of(TELL_EVERY) {
            tell(&format!("{name}: {} records read", retained.records));
        }
        match handle.block_on(codec.decode(topic, record.payload())) {
            Ok(_) => {}
            // A compacted topic's sign that there is nothing any more.
            Err(_) if record.payload().is_none() && topic == Topic::OrderingSagas => {}
            Err(DecodeError::Unavailable(error)) => return Err(Error::Registry(error)),
            Err(DecodeError::Poison(poison)) => match poison.code {
                ErrorCode::IncompatibleSchema | ErrorCode::UndecodableDatum => {
                    retained.not_understood += 1;
                    if retained.examples.len() < EXAMPLES {
                        retained.examples.push(format!(
                            "partition {}, offset {}: {poison}",
                            record.partition(),
                            record.offset()
                        ));
                    }
                }
                code => *retained.poison.entry(code.to_string()).or_default() += 1,
            },
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(retained)
}
