//! The contracts of the checkout: its messages, its topics and its wire format.
//!
//! `schemas/` and `topics.yaml` are the source of truth. This crate compiles
//! them in, has a Rust type for each record, and is the only one that knows
//! Avro and the schema registry.

mod catalogue;
mod codec;
mod datum;
mod error;
pub mod framing;
mod headers;
pub mod ids;
mod json;
mod message;
pub mod messages;
mod registry;
mod topic;
pub mod topology;
mod trace;

pub use catalogue::{Message, Record, RecordType};
pub use codec::Codec;
pub use error::{DecodeError, EncodeError, ErrorCode, Poison};
pub use headers::{
    CE_ID, CE_SOURCE, CE_SPECVERSION, CE_SUBJECT, CE_TIME, CE_TYPE, CONTENT_TYPE, DLQ_CODE,
    DLQ_DETAIL, DLQ_HEADERS, DLQ_OFFSET, DLQ_PARTITION, DLQ_SERVICE, DLQ_TOPIC, TRACEPARENT,
    headers,
};
pub use registry::{Registry, RegistryConfig, RegistryError};
pub use topic::{Topic, TopicNames};
pub use trace::TraceContext;
