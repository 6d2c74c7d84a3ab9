//! Whether every record that is still on the topics decodes with the contracts of
//! this version, dead letters that may be redriven among them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use audit::{Error, LogReader, Result, Target};
use contracts::{Codec, DLQ_CODE, DecodeError, ErrorCode, Poison, Topic};
use rdkafka::Offset;
use rdkafka::message::{BorrowedMessage, Message};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::log::{Log, Raw};

/// Records that do not decode, of which the place is kept for each topic.
const EXAMPLES: usize = 10;
/// How many records are read between two words about it.
const TELL_EVERY: u64 = 500;
/// What a dead letter is one for because it did not decode.
const UNDECODABLE: [ErrorCode; 6] = [
    ErrorCode::NullValue,
    ErrorCode::NotFramed,
    ErrorCode::UnknownSchemaId,
    ErrorCode::WrongRecordForTopic,
    ErrorCode::UndecodableDatum,
    ErrorCode::IncompatibleSchema,
];

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// Each topic.
    pub topics: Vec<Retained>,
    /// Each topic of dead letters.
    pub dead_letters: Vec<Retained>,
    /// The sum of all `not_understood`.
    pub not_understood: u64,
    /// The sum of all `unknown_schema`.
    pub unknown_schema: u64,
}

/// What a topic holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Retained {
    /// The topic's full name.
    pub topic: String,
    /// Records that were read.
    pub records: u64,
    /// Records that no version could decode, by error code: they are in the dead-letter
    /// topic, or will be. Of dead letters those that are there because they do not decode,
    /// by their own code.
    pub poison: BTreeMap<String, u64>,
    /// Records of a schema that the registry does not have, or not any more: whoever is
    /// deployed cannot decode them.
    pub unknown_schema: u64,
    /// Records that their writer's schema describes, and this version's contracts do
    /// not understand. Of dead letters those that were put aside for another reason and
    /// do not decode now.
    pub not_understood: u64,
    /// Some of the last two kinds: place, and why.
    pub examples: Vec<String>,
}

/// Reads all topics, and those of dead letters, from their beginnings to their ends.
/// `tell` hears how far it is.
///
/// # Errors
/// When Kafka or the registry cannot be asked.
pub async fn check(target: &Target, tell: impl Fn(&str) + Send + Sync + 'static) -> Result<Found> {
    let codec = Codec::connect(&target.registry, target.topics.clone(), &[]).await?;
    let reading = Reading {
        target: target.clone(),
        codec,
        handle: Handle::current(),
    };
    tokio::task::spawn_blocking(move || reading.read(&tell))
        .await
        .map_err(|_| Error::Invalid("the thread that reads Kafka broke down".to_owned()))?
}

struct Reading {
    target: Target,
    codec: Codec,
    handle: Handle,
}

impl Reading {
    fn read(&self, tell: &dyn Fn(&str)) -> Result<Found> {
        let reader = LogReader::new(&self.target.kafka)?;
        let all = |is_dlq: bool| {
            let topics = Topic::ALL.iter().copied();
            topics
                .filter(|topic| !is_dlq || topic.is_consumed())
                .map(|topic| self.read_one(&reader, Log { topic, is_dlq }, tell))
                .collect::<Result<Vec<Retained>>>()
        };
        let (topics, dead_letters) = (all(false)?, all(true)?);
        let both = || topics.iter().chain(&dead_letters);
        Ok(Found {
            not_understood: both().map(|one| one.not_understood).sum(),
            unknown_schema: both().map(|one| one.unknown_schema).sum(),
            topics,
            dead_letters,
        })
    }

    fn read_one(&self, reader: &LogReader, log: Log, tell: &dyn Fn(&str)) -> Result<Retained> {
        let name = match log.is_dlq {
            true => self.target.topics.dlq(log.topic),
            false => self.target.topics.name(log.topic),
        };
        tell(&format!("{name}: asking for its ends"));
        let mut starts = Vec::new();
        for partition in reader.partitions(name)? {
            let (low, high) = reader.watermarks(name, partition)?;
            if low < high {
                starts.push((partition, Offset::Beginning));
            }
        }
        let mut retained = Retained {
            topic: name.to_owned(),
            ..Retained::default()
        };
        reader.read(name, &starts, &mut |record| {
            if retained.records.is_multiple_of(TELL_EVERY) {
                tell(&format!("{name}: {} records read", retained.records));
            }
            retained.records += 1;
            let decoded = self.codec.decode(log.topic, record.payload());
            match self.handle.block_on(decoded) {
                Ok(_) => {}
                // A compacted topic's sign that there is nothing any more.
                Err(_) if record.payload().is_none() && log.topic == Topic::OrderingSagas => {}
                Err(DecodeError::Unavailable(error)) => return Err(Error::Registry(error)),
                Err(DecodeError::Poison(poison)) => {
                    let own = log.is_dlq.then(|| Raw::of(record).header(DLQ_CODE));
                    retained.count(record, &poison, own.map(Option::unwrap_or_default));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(retained)
    }
}

impl Retained {
    /// Counts a record that does not decode. `own`: the code of a dead letter.
    fn count(&mut self, record: &BorrowedMessage<'_>, poison: &Poison, own: Option<String>) {
        match fault(poison.code, own.as_deref()) {
            Fault::Poison => {
                let code = own.unwrap_or_else(|| poison.code.to_string());
                *self.poison.entry(code).or_default() += 1;
                return;
            }
            Fault::UnknownSchema => self.unknown_schema += 1,
            Fault::NotUnderstood => self.not_understood += 1,
        }
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!(
                "partition {}, offset {}: {poison}",
                record.partition(),
                record.offset()
            ));
        }
    }
}

/// What it means that a record does not decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No version could have decoded it.
    Poison,
    /// Nobody can decode it any more.
    UnknownSchema,
    /// This version cannot decode it.
    NotUnderstood,
}

/// What it means that decoding ends with this code. `own`: the code of a dead letter.
fn fault(code: ErrorCode, own: Option<&str>) -> Fault {
    let is_own = |code: &ErrorCode| own == Some(code.as_str());
    if is_own(&code) || UNDECODABLE.iter().any(is_own) {
        return Fault::Poison;
    }
    match code {
        ErrorCode::UnknownSchemaId => Fault::UnknownSchema,
        ErrorCode::IncompatibleSchema | ErrorCode::UndecodableDatum => Fault::NotUnderstood,
        // It was put aside for something else, and decoded then.
        _ if own.is_some() => Fault::NotUnderstood,
        _ => Fault::Poison,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_poison_or_lacks_its_schema_or_is_not_understood() {
        for (code, expected) in [
            (ErrorCode::NullValue, Fault::Poison),
            (ErrorCode::NotFramed, Fault::Poison),
            (ErrorCode::WrongRecordForTopic, Fault::Poison),
            (ErrorCode::UnknownSchemaId, Fault::UnknownSchema),
            (ErrorCode::UndecodableDatum, Fault::NotUnderstood),
            (ErrorCode::IncompatibleSchema, Fault::NotUnderstood),
        ] {
            assert_eq!(fault(code, None), expected, "{code}");
        }
    }

    #[test]
    fn a_letter_that_does_not_decode_is_a_fault_only_if_it_decoded_when_it_was_put_aside() {
        for code in UNDECODABLE {
            for own in UNDECODABLE {
                let found = fault(code, Some(own.as_str()));
                assert_eq!(found, Fault::Poison, "{code}, put aside as {own}");
            }
            for own in ["HANDLER_PANICKED", "DATABASE_REJECTED", "NEWER_CODE", ""] {
                let expected = match code {
                    ErrorCode::UnknownSchemaId => Fault::UnknownSchema,
                    _ => Fault::NotUnderstood,
                };
                assert_eq!(
                    fault(code, Some(own)),
                    expected,
                    "{code}, put aside as {own}"
                );
            }
        }
        let violated = ErrorCode::ContractViolated;
        assert_eq!(fault(violated, Some(violated.as_str())), Fault::Poison);
    }
}
