//! Avro's binary encoding for our own types, without a detour.
//!
//! A record is the sequence of its fields and nothing else, so a type whose
//! fields stand in the schema's order can write and read itself directly. This
//! is many times faster than walking a schema at run time. It is right only
//! for the schemas this build was made with, which the tests prove against
//! apache-avro; every other writer's schema goes through apache-avro.

mod macros;
mod primitives;
mod reader;

pub(crate) use macros::{addressed, enums, records};
pub(crate) use reader::{DatumError, Reader};

/// A value with an Avro encoding.
pub(crate) trait Datum: Sized {
    /// Appends the encoding of `self`.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads one value. Never allocates more than the input can account for.
    fn read(input: &mut Reader<'_>) -> Result<Self, DatumError>;
}
