//! What a dead-letter record looks like: bytes, key and headers of the record
//! unchanged, plus headers that say what was wrong, named as Kafka Connect names
//! them.

use contracts::{Poison, TopicNames};

use crate::intake::RawRecord;
use crate::stored::{StoredHeader, StoredRecord};

/// The longest error message in a header, in bytes; a message can quote input.
const MAX_DETAIL_BYTES: usize = 4 * 1024;

/// The record for `<topic>.dlq`.
pub(crate) fn dead_letter(
    service: &str,
    topics: &TopicNames,
    record: &RawRecord,
    poison: &Poison,
) -> StoredRecord {
    let mut detail = poison.detail.clone();
    detail.truncate(detail.floor_char_boundary(MAX_DETAIL_BYTES));
    let mut headers = record.headers.clone();
    for (name, value) in [
        ("topic", topics.name(record.home.topic).to_owned()),
        ("partition", record.home.partition.to_string()),
        ("offset", record.offset.to_string()),
        ("connector.name", service.to_owned()),
        ("exception.class.name", poison.code.as_str().to_owned()),
        ("exception.message", detail),
    ] {
        headers.push(StoredHeader {
            name: format!("__connect.errors.{name}"),
            value: Some(value.into_bytes()),
        });
    }
    StoredRecord {
        topic: topics.dlq(record.home.topic).to_owned(),
        key: record.key.clone(),
        payload: record.payload.clone(),
        headers,
        sequence: None,
    }
}
