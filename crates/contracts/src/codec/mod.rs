//! Messages to bytes and back.
//!
//! A record of this build's own schema is written and read directly. What
//! another schema wrote is decoded by that schema and resolved to ours. The
//! writer's schema is found by the id in the record and nothing else, so it
//! does not matter under which subject a producer registered it.

mod unknown;
mod writer;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use self::{unknown::UnknownIds, writer::Writer};
use crate::{
    DecodeError, EncodeError, ErrorCode, Message, Poison, RecordType, Registry, RegistryConfig,
    RegistryError, Topic, TopicNames, framing,
};

/// Room for most messages of ours, so that writing one allocates once.
const USUAL_VALUE_BYTES: usize = 256;

/// Writes and reads the values of Kafka records. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Codec(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    topics: TopicNames,
    /// Id of each record's schema, in the order of `RecordType::ALL`, for the
    /// records that are written.
    write_ids: Vec<Option<u32>>,
    writers: RwLock<HashMap<u32, Arc<Writer>>>,
    writers_max: usize,
    unknown: UnknownIds,
    registry: Option<Registry>,
    /// Held while a schema is fetched, so that each is fetched once. Where the codec
    /// gives up, it has the error after which the registry is not asked any more.
    fetching: tokio::sync::Mutex<Option<RegistryError>>,
}

impl Codec {
    /// Connects to the registry and resolves the schema id of every record
    /// that is to be written.
    ///
    /// # Errors
    /// [`RegistryError::MissingSubjects`] with all subjects that lack this
    /// build's schema; else when the registry does not answer in the time and
    /// attempts that the configuration allows.
    pub async fn connect(
        config: &RegistryConfig,
        topics: TopicNames,
        writes: &[RecordType],
    ) -> Result<Self, RegistryError> {
        let registry = Registry::new(config)?;
        let mut ids = Vec::with_capacity(writes.len());
        let mut missing = Vec::new();
        for record in writes.iter().copied() {
            let subject = topics.subject(record);
            match registry.find(&subject, record.schema_json()).await? {
                Some(id) => ids.push((record, id)),
                None => missing.push(subject),
            }
        }
        if !missing.is_empty() {
            return Err(RegistryError::MissingSubjects(missing));
        }
        Ok(Self::build(topics, &ids, Some(registry)))
    }

    /// Looks up the schema ids of records that others write, so that the
    /// registry may be away when the first of them comes. Records of a schema
    /// that the registry does not have are left until it has.
    ///
    /// # Errors
    /// When the registry does not answer in the time and attempts that the
    /// configuration allows, or not as a registry.
    pub async fn get_to_know(
        &self,
        reads: impl IntoIterator<Item = RecordType>,
    ) -> Result<(), RegistryError> {
        let Some(registry) = &self.0.registry else {
            return Ok(());
        };
        for record in reads {
            let subject = self.0.topics.subject(record);
            if let Some(id) = registry.find(&subject, record.schema_json()).await?
                && self.known(id).is_none()
            {
                self.remember(id, Arc::new(Writer::Ours(record)));
            }
        }
        Ok(())
    }

    /// A codec without a registry that writes with the given schema ids and
    /// reads only what they wrote. For tests, and for tools that work on
    /// stored records.
    pub fn with_ids(topics: TopicNames, ids: &[(RecordType, u32)]) -> Self {
        Self::build(topics, ids, None)
    }

    fn build(topics: TopicNames, ids: &[(RecordType, u32)], registry: Option<Registry>) -> Self {
        writer::limit_allocations();
        let limits = registry
            .as_ref()
            .map_or_else(RegistryConfig::default, |r| r.config().clone());
        let mut write_ids = vec![None; RecordType::ALL.len()];
        for (record, id) in ids {
            write_ids[*record as usize] = Some(*id);
        }
        let writers = ids
            .iter()
            .map(|(record, id)| (*id, Arc::new(Writer::Ours(*record))))
            .collect();
        Self(Arc::new(Inner {
            topics,
            write_ids,
            writers: RwLock::new(writers),
            writers_max: limits.remembered_ids_max.max(ids.len()),
            unknown: UnknownIds::new(limits.unknown_id_memory, limits.remembered_ids_max),
            registry,
            fetching: tokio::sync::Mutex::default(),
        }))
    }

    /// Teaches the codec that `id` stands for the Avro schema `text`, as if
    /// the registry had said so. For tests and tools.
    pub fn learn(&self, id: u32, text: &str) {
        self.remember(id, Arc::new(Writer::from_schema(text)));
    }

    /// The names of the topics this codec reads and writes.
    pub fn topics(&self) -> &TopicNames {
        &self.0.topics
    }

    /// The value of a Kafka record that carries `message`.
    ///
    /// # Errors
    /// When the message is of a type that this codec was not told it would
    /// write.
    pub fn encode(&self, message: &Message) -> Result<Vec<u8>, EncodeError> {
        let mut value = Vec::with_capacity(USUAL_VALUE_BYTES);
        self.encode_into(message, &mut value)?;
        Ok(value)
    }

    /// Like [`Codec::encode`], appended to a buffer of the caller's.
    ///
    /// # Errors
    /// As [`Codec::encode`]; nothing is appended then.
    pub fn encode_into(&self, message: &Message, value: &mut Vec<u8>) -> Result<(), EncodeError> {
        let record = message.record_type();
        let id = self.0.write_ids[record as usize].ok_or(EncodeError::NotResolved(record))?;
        framing::begin(id, value);
        message.write(value);
        Ok(())
    }

    /// The message in the value of a record from `topic`.
    ///
    /// Waits for the registry only when the writer's schema is not known yet.
    ///
    /// # Errors
    /// [`DecodeError::Poison`] if the value can never be decoded, and
    /// [`DecodeError::Unavailable`] if the registry is needed and cannot be
    /// reached: then try again later, with another codec if this one gives up.
    pub async fn decode(
        &self,
        topic: Topic,
        payload: Option<&[u8]>,
    ) -> Result<Message, DecodeError> {
        let (id, datum) = split(payload)?;
        let writer = match self.known(id) {
            Some(writer) => writer,
            None => Box::pin(self.fetch(id)).await?,
        };
        Ok(writer.decode(topic, datum)?)
    }

    /// Like [`Codec::decode`], but never waits: none if the writer's schema
    /// has to be fetched first.
    pub fn decode_now(
        &self,
        topic: Topic,
        payload: Option<&[u8]>,
    ) -> Option<Result<Message, Poison>> {
        let (id, datum) = match split(payload) {
            Ok(parts) => parts,
            Err(poison) => return Some(Err(poison)),
        };
        Some(self.known(id)?.decode(topic, datum))
    }

    fn known(&self, id: u32) -> Option<Arc<Writer>> {
        let writers = self
            .0
            .writers
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        writers.get(&id).cloned()
    }

    fn remember(&self, id: u32, writer: Arc<Writer>) {
        let mut writers = self
            .0
            .writers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Beyond the limit schemas are fetched each time: slow, and visible in
        // the registry's load, but never more memory.
        if writers.len() < self.0.writers_max {
            writers.insert(id, writer);
        }
    }

    async fn fetch(&self, id: u32) -> Result<Arc<Writer>, DecodeError> {
        let unknown = || {
            let detail = format!("the schema registry knows no schema with id {id}");
            Poison::new(ErrorCode::UnknownSchemaId, detail)
        };
        let Some(registry) = &self.0.registry else {
            return Err(unknown().into());
        };
        if id > framing::MAX_SCHEMA_ID {
            return Err(unknown().into());
        }
        let mut given_up = self.0.fetching.lock().await;
        if let Some(writer) = self.known(id) {
            return Ok(writer);
        }
        if self.0.unknown.contains(id) {
            return Err(unknown().into());
        }
        if let Some(error) = &*given_up {
            return Err(error.clone().into());
        }
        let schema = registry.schema(id).await.inspect_err(|error| {
            // One that refuses this schema may give the next one.
            if registry.config().gives_up && error.is_transient() {
                *given_up = Some(error.clone());
            }
        })?;
        let Some(schema) = schema else {
            self.0.unknown.insert(id);
            return Err(unknown().into());
        };
        let writer = Arc::new(if schema.is_plain_avro {
            Writer::from_schema(&schema.text)
        } else {
            Writer::unusable("is not an Avro schema, or refers to other subjects")
        });
        self.remember(id, Arc::clone(&writer));
        Ok(writer)
    }
}

/// The parts of a framed value.
fn split(payload: Option<&[u8]>) -> Result<(u32, &[u8]), Poison> {
    let value =
        payload.ok_or_else(|| Poison::new(ErrorCode::NullValue, "the record has no value"))?;
    framing::split(value).ok_or_else(|| {
        let begin = &value[..value.len().min(framing::HEADER_BYTES)];
        let detail = format!(
            "the value has {} bytes and begins with {begin:02x?}, not with a zero byte and a schema id",
            value.len()
        );
        Poison::new(ErrorCode::NotFramed, detail)
    })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, time::Duration};

    use super::*;

    /// How many connections a registry gets that never answers, when records of two
    /// schemas that are not known are decoded, the first one twice.
    async fn asked(gives_up: bool) -> usize {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let config = RegistryConfig {
            timeout: Duration::from_secs(1),
            attempts: 1,
            gives_up,
            ..RegistryConfig::at(&url)
        };
        let codec = Codec::connect(&config, TopicNames::default(), &[])
            .await
            .unwrap();
        for id in [7, 8, 7] {
            let mut value = Vec::new();
            framing::begin(id, &mut value);
            let decoded = codec.decode(Topic::ShoppingCheckouts, Some(&value)).await;
            match decoded {
                Err(DecodeError::Unavailable(error)) => {
                    assert!(error.to_string().contains(&url), "{error}");
                }
                other => panic!("{other:?}"),
            }
        }
        // Those that it got wait to be let in.
        silent.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| silent.accept().ok()).count()
    }

    #[tokio::test]
    async fn a_command_asks_a_silent_registry_once_and_a_service_again_and_again() {
        assert_eq!(asked(true).await, 1);
        assert_eq!(asked(false).await, 3);
    }
}
