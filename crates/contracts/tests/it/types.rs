//! The Rust types against the schemas, with apache-avro as the judge.

use crate::support::{Optional, codec, framed, id, message, sample, unframed};
use apache_avro::{
    Schema, reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
};
use contracts::{Message, Record, RecordType, framing, messages::*};

const BOTH: [Optional; 2] = [Optional::Present, Optional::Absent];

#[test]
fn our_types_read_and_write_what_the_schema_says() {
    let codec = codec();
    for record in RecordType::ALL.iter().copied() {
        for optional in BOTH {
            let value = sample(record.schema(), optional);
            let theirs = framed(id(record), record.schema(), &value);
            let message = codec
                .decode_now(record.topic(), Some(&theirs))
                .unwrap()
                .unwrap();
            assert_eq!(message.record_type(), record);
            let ours = codec.encode(&message).unwrap();
            assert_eq!(ours, theirs, "{record}: other bytes than apache-avro's");
            assert_eq!(unframed(record.schema(), &ours), value, "{record}");
        }
    }
}

/// Field names and values as serde sees them, against the schema's.
#[test]
fn our_field_names_and_symbols_are_the_schema_s() {
    for record in RecordType::ALL.iter().copied() {
        for optional in BOTH {
            let message = message(record, optional);
            let expected = plain_json(&sample(record.schema(), optional));
            let shown = serde_json::to_string(&message).unwrap();
            assert_eq!(shown, expected.to_string(), "{record}");
        }
    }
}

/// What a value is in plain JSON, with numbers for times.
fn plain_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Int(n) => (*n).into(),
        Value::Long(n) | Value::TimestampMillis(n) => (*n).into(),
        Value::String(s) | Value::Enum(_, s) => s.clone().into(),
        Value::Uuid(id) => id.to_string().into(),
        Value::Union(_, value) => plain_json(value),
        Value::Array(items) => items.iter().map(plain_json).collect(),
        Value::Record(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), plain_json(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        other => panic!("{other:?}"),
    }
}

/// apache-avro's own serde, which knows nothing of our encoding, agrees with it.
fn agrees_with_serde<R: Record + PartialEq + std::fmt::Debug + Clone>() {
    let schema = R::TYPE.schema();
    for optional in BOTH {
        let message = message(R::TYPE, optional);
        let bytes = codec().encode(&message).unwrap();
        let (_, mut datum) = framing::split(&bytes).unwrap();
        let written = datum.to_vec();
        let read: R = GenericDatumReader::builder(schema)
            .human_readable(true)
            .build()
            .unwrap()
            .read_deser(&mut datum)
            .unwrap();
        let again: Message = read.clone().into();
        assert_eq!(again, message);
        let mut again = Vec::new();
        GenericDatumWriter::builder(schema)
            .human_readable(true)
            .build()
            .unwrap()
            .write_ser(&mut again, &read)
            .unwrap();
        assert_eq!(again, written, "{}", R::TYPE);
    }
}

macro_rules! catalogue {
    ($($topic:ident { $($owner:ident.$record:ident)* })*) => {
        #[test]
        fn serde_and_our_encoding_agree() {
            let checked = [$($({ agrees_with_serde::<$record>(); $record::TYPE }),*),*];
            assert_eq!(checked, RecordType::ALL);
        }
    };
}

// The list that the library is made from.
include!(concat!(env!("OUT_DIR"), "/records.rs"));

#[test]
fn every_symbol_of_a_record_s_enums_is_read_as_itself() {
    for record in RecordType::ALL.iter().copied() {
        let Schema::Record(schema) = record.schema() else {
            panic!("{record} is no record");
        };
        for (at, field) in schema.fields.iter().enumerate() {
            let Schema::Enum(of) = &field.schema else {
                continue;
            };
            for (index, symbol) in of.symbols.iter().enumerate() {
                let Value::Record(mut fields) = sample(record.schema(), Optional::Present) else {
                    panic!("{record} is no record");
                };
                fields[at].1 = Value::Enum(index as u32, symbol.clone());
                let value = Value::Record(fields);
                let bytes = framed(id(record), record.schema(), &value);
                let decoded = codec().decode_now(record.topic(), Some(&bytes));
                let shown = decoded.unwrap().unwrap().to_json();
                assert_eq!(shown[&field.name], **symbol, "{record}");
            }
        }
    }
}

/// The symbols of the enum with this name, wherever a schema defines it.
fn symbols(name: &str) -> Vec<Vec<String>> {
    fn visit(schema: &Schema, name: &str, found: &mut Vec<Vec<String>>) {
        match schema {
            Schema::Enum(schema) if schema.name.name() == name => {
                found.push(schema.symbols.clone());
            }
            Schema::Record(schema) => {
                for field in &schema.fields {
                    visit(&field.schema, name, found);
                }
            }
            Schema::Array(schema) => visit(&schema.items, name, found),
            Schema::Union(schema) => {
                for branch in schema.variants() {
                    visit(branch, name, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    for record in RecordType::ALL {
        visit(record.schema(), name, &mut found);
    }
    found
}

#[test]
fn enums_have_the_symbols_of_the_schema_in_its_order() {
    macro_rules! check {
        ($($name:ident)*) => {$(
            let ours: Vec<_> = $name::ALL.iter().map(|v| v.as_str().to_owned()).collect();
            let theirs = symbols(stringify!($name));
            assert!(!theirs.is_empty(), "no schema defines {}", stringify!($name));
            for theirs in theirs {
                assert_eq!(ours, theirs, "{}", stringify!($name));
            }
            for variant in $name::ALL.iter().copied() {
                assert_eq!($name::from_symbol(variant.as_str()), Some(variant));
                assert_eq!(serde_json::to_value(variant).unwrap(), variant.as_str());
            }
        )*};
    }
    check! {
        ReleaseReason UnavailableReason VoidReason DeclineReason CancelReason
        OrderRejectReason OrderStatus FailureReason RejectionReason SagaState OperationAction
    }
}

#[test]
fn a_message_is_shown_to_people_with_readable_times() {
    let shown = message(RecordType::InventoryReserved, Optional::Present).to_json();
    assert_eq!(shown["reservedAt"], "2025-06-15T15:06:40.013Z");
    assert_eq!(shown["expiresAt"], "2025-06-15T15:06:40.015Z");
    assert_eq!(shown["items"][0]["productId"], "text 8");
    assert_eq!(shown["items"][0]["quantity"], 9);
    let shown = message(RecordType::InventoryReserved, Optional::Absent).to_json();
    assert!(shown["expiresAt"].is_null());
}
