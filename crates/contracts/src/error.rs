//! Why a record cannot be handled, and why one cannot be written.

use std::fmt;

use crate::{RecordType, registry::RegistryError};

macro_rules! error_codes {
    ($($(#[$doc:meta])* $code:ident => $text:literal,)*) => {
        /// Why a record went to its dead letter queue.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $code,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// The code as it stands in headers, logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$code => $text,)*
                }
            }
        }
    };
}

error_codes! {
    /// The record has no value. Only compacted topics have such records, and
    /// no service consumes one: find the producer.
    NullValue => "NULL_VALUE",
    /// The value does not begin with a zero byte and a schema id. The producer
    /// does not use a Confluent serializer: have it use one.
    NotFramed => "NOT_FRAMED",
    /// The registry knows no schema with the value's id. The producer uses
    /// another registry, or the schema was deleted for good.
    UnknownSchemaId => "UNKNOWN_SCHEMA_ID",
    /// The value is a record that this topic does not carry. Have the producer
    /// send it to the right topic.
    WrongRecordForTopic => "WRONG_RECORD_FOR_TOPIC",
    /// The bytes are not what the writer's schema says. The producer wrote
    /// them with another schema, or they were damaged.
    UndecodableDatum => "UNDECODABLE_DATUM",
    /// The writer's schema cannot be resolved to ours. Its subject lacks a
    /// compatibility rule: run `checkoutctl schemas check`.
    IncompatibleSchema => "INCOMPATIBLE_SCHEMA",
    /// The record decodes, but breaks a rule of its contract that the schema
    /// cannot express; the detail says which.
    ContractViolated => "CONTRACT_VIOLATED",
    /// The database refuses what the record leads to, every time. Report it:
    /// the handler lets something through that the tables do not allow.
    DatabaseRejected => "DATABASE_REJECTED",
    /// The handler broke down on this record, every time. Report it: this is
    /// a defect of the service.
    HandlerPanicked => "HANDLER_PANICKED",
    /// The record, or what follows from it, is larger than the broker or the
    /// service accepts.
    RecordTooLarge => "RECORD_TOO_LARGE",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record that can never be handled: it goes to the dead letter queue, and
/// its partition moves on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Poison {
    /// The kind of reason.
    pub code: ErrorCode,
    /// The reason in words, for whoever looks at the record.
    pub detail: String,
}

impl Poison {
    /// A reason of this kind, with its detail.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }
}

/// Why a record was not decoded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DecodeError {
    /// It never will be.
    #[error(transparent)]
    Poison(#[from] Poison),
    /// The registry did not answer; try again later, for as long as it takes.
    #[error("the schema registry is needed to decode a record: {0}")]
    Unavailable(#[from] RegistryError),
}

/// Why a message was not encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The codec was not told at its start that such records would be written.
    #[error("no schema id for {0}: it is missing from the records this codec was connected for")]
    NotResolved(RecordType),
}
