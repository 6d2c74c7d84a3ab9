//! Headers of a record: CloudEvents in binary mode, and the trace; those of a dead letter
//! are named as Kafka Connect names them.

use jiff::Timestamp;

use crate::{Message, TraceContext};

/// Version of CloudEvents.
pub const CE_SPECVERSION: &str = "ce_specversion";
/// Identity of the record; a repeated delivery carries the same one.
pub const CE_ID: &str = "ce_id";
/// Who published it, for example `/checkout/inventory`.
pub const CE_SOURCE: &str = "ce_source";
/// Full name of the record's type.
pub const CE_TYPE: &str = "ce_type";
/// When it was published or happened, RFC 3339 with milliseconds.
pub const CE_TIME: &str = "ce_time";
/// What it is about: the record's key.
pub const CE_SUBJECT: &str = "ce_subject";
/// Media type of the value.
pub const CONTENT_TYPE: &str = "content-type";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";

/// What all headers begin with that a record got when it was put aside.
pub const DLQ_HEADERS: &str = "__connect.errors.";
/// The service that could not handle it.
pub const DLQ_SERVICE: &str = "__connect.errors.connector.name";
/// Why: an [`ErrorCode`](crate::ErrorCode).
pub const DLQ_CODE: &str = "__connect.errors.exception.class.name";
/// The same in words.
pub const DLQ_DETAIL: &str = "__connect.errors.exception.message";
/// The topic that it was read from.
pub const DLQ_TOPIC: &str = "__connect.errors.topic";
/// The partition of that topic.
pub const DLQ_PARTITION: &str = "__connect.errors.partition";
/// Its offset there.
pub const DLQ_OFFSET: &str = "__connect.errors.offset";

/// The headers that go with `message`, published by `source` (a URI reference
/// such as `/checkout/inventory`) at `time` as part of `trace`.
///
/// The time of the message itself, where it has one, goes before `time`, so a
/// message that is made again has the same headers but for the trace.
pub fn headers(
    message: &Message,
    source: &str,
    time: Timestamp,
    trace: &TraceContext,
) -> Vec<(String, Vec<u8>)> {
    let time = message.occurred_at().unwrap_or(time);
    [
        (CE_SPECVERSION, "1.0".to_owned()),
        (CE_ID, message.ce_id().to_string()),
        (CE_SOURCE, source.to_owned()),
        (CE_TYPE, message.record_type().full_name().to_owned()),
        (CE_TIME, format!("{time:.3}")),
        (CE_SUBJECT, message.key()),
        (CONTENT_TYPE, "application/avro".to_owned()),
        (TRACEPARENT, trace.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.into_bytes()))
    .collect()
}
