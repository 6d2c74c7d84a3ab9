//! The list of all records, made from `topics.yaml`: each one's owner, name and topic.

use std::{fmt, sync::LazyLock};

use apache_avro::Schema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Topic,
    datum::{Datum, DatumError, Reader},
    message::{Addressed, Envelope},
    messages,
};

/// A record of the contracts: a struct of [`messages`] with a schema and a
/// topic of its own.
pub trait Record: Into<Message> + Serialize + DeserializeOwned {
    /// Its type.
    const TYPE: RecordType;
}

macro_rules! catalogue {
    ($($topic:ident { $($owner:ident.$record:ident)* })*) => {
        /// The type of a record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RecordType {
            $($(
                #[doc = concat!("`", stringify!($owner), ".", stringify!($record), "`")]
                $record,
            )*)*
        }

        impl RecordType {
            /// Every type of record.
            pub const ALL: &'static [Self] = &[$($(Self::$record),*),*];

            /// Full name of the record in its schema: owner, dot, name.
            pub const fn full_name(self) -> &'static str {
                match self {
                    $($(Self::$record => concat!(stringify!($owner), ".", stringify!($record)),)*)*
                }
            }

            /// Name of the record without its owner.
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$record => stringify!($record),)*)*
                }
            }

            /// The topic that carries records of this type.
            pub const fn topic(self) -> Topic {
                match self {
                    $($(Self::$record => Topic::$topic,)*)*
                }
            }

            /// Text of the schema, as it stands in `schemas/` and in the registry.
            pub const fn schema_json(self) -> &'static str {
                match self {
                    $($(Self::$record => include_str!(concat!(
                        env!("CARGO_MANIFEST_DIR"), "/../../schemas/",
                        stringify!($owner), "/", stringify!($record), ".avsc",
                    )),)*)*
                }
            }

            /// Reads a datum that was written with this type's own schema.
            pub(crate) fn read(self, input: &mut Reader<'_>) -> Result<Message, DatumError> {
                Ok(match self {
                    $($(Self::$record => Message::$record(Datum::read(input)?),)*)*
                })
            }
        }

        /// A record of any type.
        ///
        /// Serializes as the record itself, see also [`Message::to_json`].
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        #[allow(missing_docs, reason = "each variant holds the record of its name")]
        pub enum Message {
            $($($record(messages::$record),)*)*
        }

        impl Message {
            /// The type of the record.
            pub const fn record_type(&self) -> RecordType {
                match self {
                    $($(Self::$record(_) => RecordType::$record,)*)*
                }
            }

            /// What the record says about itself.
            #[inline]
            pub(crate) fn envelope(&self) -> Envelope<'_> {
                match self {
                    $($(Self::$record(record) => record.envelope(),)*)*
                }
            }

            /// Appends the datum, written with the type's own schema.
            pub(crate) fn write(&self, out: &mut Vec<u8>) {
                match self {
                    $($(Self::$record(record) => record.write(out),)*)*
                }
            }
        }

        $($(
            impl From<messages::$record> for Message {
                fn from(record: messages::$record) -> Self {
                    Self::$record(record)
                }
            }

            impl Record for messages::$record {
                const TYPE: RecordType = RecordType::$record;
            }
        )*)*
    };
}

// Written by `build.rs`: what `topics.yaml` says that the topics carry.
include!(concat!(env!("OUT_DIR"), "/records.rs"));

static SCHEMAS: LazyLock<Vec<Schema>> = LazyLock::new(|| {
    // The texts are part of the program and parsed by this crate's tests.
    RecordType::ALL
        .iter()
        .map(|record| {
            Schema::parse_str(record.schema_json())
                .unwrap_or_else(|error| panic!("schema of {record}: {error}"))
        })
        .collect()
});

impl RecordType {
    /// The schema, parsed once.
    pub fn schema(self) -> &'static Schema {
        &SCHEMAS[self as usize]
    }

    /// The type with this full name.
    pub fn from_full_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.full_name() == name)
    }
}

/// Shows the full name.
impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.full_name())
    }
}
