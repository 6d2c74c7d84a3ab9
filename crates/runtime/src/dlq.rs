//! What a dead-letter record looks like: bytes, key and headers of the record
//! unchanged, plus headers that say what was wrong.

use contracts::{
    DLQ_CODE, DLQ_DETAIL, DLQ_OFFSET, DLQ_PARTITION, DLQ_SERVICE, DLQ_TOPIC, Poison, TopicNames,
};

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
        (DLQ_TOPIC, topics.name(record.home.topic).to_owned()),
        (DLQ_PARTITION, record.home.partition.to_string()),
        (DLQ_OFFSET, record.offset.to_string()),
        (DLQ_SERVICE, service.to_owned()),
        (DLQ_CODE, poison.code.as_str().to_owned()),
        (DLQ_DETAIL, detail),
    ] {
        headers.push(StoredHeader {
            name: name.to_owned(),
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
