//! Reading a datum by the schema that it was written with.

use std::io::{self, Read};

use apache_avro::{
    Schema,
    reader::datum::GenericDatumReader,
    schema::{Name, UuidSchema},
    writer::datum::GenericDatumWriter,
};

use crate::{ErrorCode, Message, Poison, RecordType, Topic, datum::Reader};

/// Most that apache-avro may allocate at once for one length it reads, in
/// bytes. A value is at most a few megabytes, and takes some times that room
/// when it is decoded.
const ALLOCATION_MAX_BYTES: usize = 32 * 1024 * 1024;

/// Sets apache-avro's limit, which holds for the whole process.
pub(super) fn limit_allocations() {
    apache_avro::util::max_allocation_bytes(ALLOCATION_MAX_BYTES);
}

/// How to read what one schema wrote.
#[derive(Debug)]
pub(super) enum Writer {
    /// On the wire the schema is this build's own.
    Ours(RecordType),
    /// The schema is another version of a record of ours, or another producer's.
    Other(RecordType, Box<Schema>),
    /// Nothing that the schema writes is a record of ours.
    Never(Poison),
}

impl Writer {
    pub(super) fn from_schema(text: &str) -> Self {
        let schema = match Schema::parse_str(text) {
            Ok(schema) => schema,
            Err(error) => return Self::unusable(&format!("cannot be parsed: {error}")),
        };
        let Schema::Record(record) = &schema else {
            return Self::unusable("is not a record");
        };
        let full_name = record.name.to_string();
        let Some(ours) = RecordType::from_full_name(&full_name) else {
            return Self::Never(Poison::new(
                ErrorCode::WrongRecordForTopic,
                format!("{full_name} is not a record of the checkout"),
            ));
        };
        if is_recursive(&schema, &mut Vec::new()) {
            // A datum could nest as deep as it is long, beyond any stack.
            return Self::unusable("is recursive");
        }
        if is_same_on_the_wire(&schema, ours.schema()) {
            Self::Ours(ours)
        } else {
            Self::Other(ours, Box::new(schema))
        }
    }

    pub(super) fn unusable(why: &str) -> Self {
        let detail = format!("the writer's schema {why}");
        Self::Never(Poison::new(ErrorCode::IncompatibleSchema, detail))
    }

    /// The message that `datum`, from `topic`, holds.
    pub(super) fn decode(&self, topic: Topic, datum: &[u8]) -> Result<Message, Poison> {
        match self {
            Self::Ours(record) => {
                check_topic(*record, topic)?;
                read_ours(*record, datum)
            }
            Self::Other(record, schema) => {
                check_topic(*record, topic)?;
                let resolved = resolve(*record, schema, datum)?;
                read_ours(*record, &resolved)
            }
            Self::Never(poison) => Err(poison.clone()),
        }
    }
}

fn check_topic(record: RecordType, topic: Topic) -> Result<(), Poison> {
    if record.topic() == topic {
        return Ok(());
    }
    Err(Poison::new(
        ErrorCode::WrongRecordForTopic,
        format!("{record} belongs on {}, not on {topic}", record.topic()),
    ))
}

fn undecodable(record: RecordType, what: impl std::fmt::Display) -> Poison {
    Poison::new(ErrorCode::UndecodableDatum, format!("{record}: {what}"))
}

fn read_ours(record: RecordType, datum: &[u8]) -> Result<Message, Poison> {
    let mut input = Reader::new(datum);
    let message = record
        .read(&mut input)
        .map_err(|error| undecodable(record, error))?;
    match input.remaining() {
        0 => Ok(message),
        more => Err(undecodable(record, format!("{more} bytes too many"))),
    }
}

/// The datum, rewritten as this build's own schema would have it.
fn resolve(record: RecordType, writer: &Schema, datum: &[u8]) -> Result<Vec<u8>, Poison> {
    let incompatible = |error: apache_avro::Error| {
        let detail =
            format!("{record}: what was written does not fit the reader's schema: {error}");
        Poison::new(ErrorCode::IncompatibleSchema, detail)
    };
    let mut input = Strict {
        rest: datum,
        overrun: false,
    };
    let value = GenericDatumReader::builder(writer)
        .build()
        .map_err(incompatible)?
        .read_value(&mut input)
        .map_err(|error| undecodable(record, error))?;
    if input.overrun {
        return Err(undecodable(record, "the datum is cut off"));
    }
    if !input.rest.is_empty() {
        let more = input.rest.len();
        return Err(undecodable(record, format!("{more} bytes too many")));
    }
    let ours = record.schema();
    let value = value.resolve(ours).map_err(incompatible)?;
    GenericDatumWriter::builder(ours)
        .build()
        .and_then(|writer| writer.write_value_to_vec(value))
        .map_err(incompatible)
}

/// Bytes that remember whether someone wanted more than there are: apache-avro
/// takes the end of the input for null where a union or a string should be.
struct Strict<'a> {
    rest: &'a [u8],
    overrun: bool,
}

impl Read for Strict<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.overrun |= buffer.len() > self.rest.len();
        self.rest.read(buffer)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.overrun |= buffer.len() > self.rest.len();
        self.rest.read_exact(buffer)
    }
}

/// Whether both schemas write the same bytes for the same content, field by
/// field under the same names. Documentation, defaults, properties and logical
/// types that do not change what is written make no difference.
fn is_same_on_the_wire(theirs: &Schema, ours: &Schema) -> bool {
    match (theirs, ours) {
        (Schema::Null, Schema::Null)
        | (Schema::Int, Schema::Int)
        | (Schema::Long, Schema::Long | Schema::TimestampMillis)
        | (Schema::TimestampMillis, Schema::TimestampMillis)
        | (Schema::String, Schema::String | Schema::Uuid(UuidSchema::String))
        | (Schema::Uuid(UuidSchema::String), Schema::Uuid(UuidSchema::String)) => true,
        (Schema::Array(theirs), Schema::Array(ours)) => {
            is_same_on_the_wire(&theirs.items, &ours.items)
        }
        (Schema::Enum(theirs), Schema::Enum(ours)) => theirs.symbols == ours.symbols,
        (Schema::Union(theirs), Schema::Union(ours)) => {
            let (theirs, ours) = (theirs.variants(), ours.variants());
            theirs.len() == ours.len()
                && theirs
                    .iter()
                    .zip(ours)
                    .all(|(t, o)| is_same_on_the_wire(t, o))
        }
        (Schema::Record(theirs), Schema::Record(ours)) => {
            theirs.fields.len() == ours.fields.len()
                && theirs
                    .fields
                    .iter()
                    .zip(&ours.fields)
                    .all(|(t, o)| t.name == o.name && is_same_on_the_wire(&t.schema, &o.schema))
        }
        _ => false,
    }
}

/// Whether a record can hold itself.
fn is_recursive<'a>(schema: &'a Schema, outer: &mut Vec<&'a Name>) -> bool {
    match schema {
        Schema::Ref { name } => outer.contains(&name),
        Schema::Array(array) => is_recursive(&array.items, outer),
        Schema::Map(map) => is_recursive(&map.types, outer),
        Schema::Union(union) => union.variants().iter().any(|v| is_recursive(v, outer)),
        Schema::Record(record) => {
            outer.push(&record.name);
            let found = record.fields.iter().any(|f| is_recursive(&f.schema, outer));
            outer.pop();
            found
        }
        _ => false,
    }
}
