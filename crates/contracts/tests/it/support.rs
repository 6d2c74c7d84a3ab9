//! Records made from their schemas, so that every test covers every type.
use apache_avro::{
    Schema, reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
};
use contracts::{Codec, Message, RecordType, TopicNames, framing};
use uuid::Uuid;

/// Schema id of a type in these tests.
pub(crate) fn id(record: RecordType) -> u32 {
    record as u32 + 1
}

/// A codec that writes and reads every record.
pub(crate) fn codec() -> Codec {
    let ids: Vec<_> = RecordType::ALL.iter().map(|r| (*r, id(*r))).collect();
    Codec::with_ids(TopicNames::default(), &ids)
}

/// Which of the two branches an optional field takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Optional {
    Present,
    Absent,
}

/// A value for a schema: every field filled with something of its own.
pub(crate) fn sample(schema: &Schema, optional: Optional) -> Value {
    fill(schema, optional, &mut 0)
}

fn fill(schema: &Schema, optional: Optional, counter: &mut u32) -> Value {
    *counter += 1;
    let n = *counter;
    match schema {
        Schema::Null => Value::Null,
        Schema::Int => Value::Int(n as i32),
        Schema::Long => Value::Long(1_000 + i64::from(n)),
        Schema::String => Value::String(format!("text {n}")),
        Schema::TimestampMillis => Value::TimestampMillis(1_750_000_000_000 + i64::from(n)),
        Schema::Uuid(_) => Value::Uuid(Uuid::from_u128(0x00c0_ffee << 96 | u128::from(n))),
        Schema::Enum(schema) => {
            let index = n as usize % schema.symbols.len();
            Value::Enum(index as u32, schema.symbols[index].clone())
        }
        Schema::Array(schema) if optional == Optional::Present => Value::Array(
            (0..2)
                .map(|_| fill(&schema.items, optional, counter))
                .collect(),
        ),
        Schema::Array(_) => Value::Array(Vec::new()),
        Schema::Union(union) => {
            let branch = usize::from(optional == Optional::Present);
            let value = fill(&union.variants()[branch], optional, counter);
            Value::Union(branch as u32, Box::new(value))
        }
        Schema::Record(schema) => Value::Record(
            schema
                .fields
                .iter()
                .map(|field| (field.name.clone(), fill(&field.schema, optional, counter)))
                .collect(),
        ),
        other => panic!("no record uses {other:?}"),
    }
}

/// A value as another Avro implementation frames it.
pub(crate) fn framed(id: u32, schema: &Schema, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    framing::begin(id, &mut bytes);
    let writer = GenericDatumWriter::builder(schema).build().unwrap();
    writer.write_value_ref(&mut bytes, value).unwrap();
    bytes
}

/// A framed value as another Avro implementation reads it.
pub(crate) fn unframed(schema: &Schema, bytes: &[u8]) -> Value {
    let (_, mut datum) = framing::split(bytes).unwrap();
    let value = GenericDatumReader::builder(schema)
        .build()
        .unwrap()
        .read_value(&mut datum)
        .unwrap();
    assert!(datum.is_empty(), "{} bytes too many", datum.len());
    value
}

/// The sample of a type, decoded.
pub(crate) fn message(record: RecordType, optional: Optional) -> Message {
    let value = sample(record.schema(), optional);
    let bytes = framed(id(record), record.schema(), &value);
    codec()
        .decode_now(record.topic(), Some(&bytes))
        .unwrap()
        .unwrap()
}
