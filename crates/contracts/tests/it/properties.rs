//! Properties of the codec over arbitrary bytes and arbitrary records.

use crate::support::{codec, framed, id, unframed};
use apache_avro::{Schema, types::Value};
use contracts::{RecordType, Topic};
use proptest::{collection::vec, prelude::*, sample::select};
use uuid::Uuid;

/// Any value that a schema allows.
fn any_value(schema: &Schema) -> BoxedStrategy<Value> {
    match schema {
        Schema::Null => Just(Value::Null).boxed(),
        Schema::Int => any::<i32>().prop_map(Value::Int).boxed(),
        Schema::Long => any::<i64>().prop_map(Value::Long).boxed(),
        Schema::String => any::<String>().prop_map(Value::String).boxed(),
        // All that the calendar holds, from the year -9999 to the year 9999.
        Schema::TimestampMillis => (-377_705_023_201_000i64..=253_402_207_200_999)
            .prop_map(Value::TimestampMillis)
            .boxed(),
        Schema::Uuid(_) => any::<u128>()
            .prop_map(|id| Value::Uuid(Uuid::from_u128(id)))
            .boxed(),
        Schema::Enum(schema) => {
            let symbols: Vec<_> = schema.symbols.iter().cloned().enumerate().collect();
            select(symbols)
                .prop_map(|(index, symbol)| Value::Enum(index as u32, symbol))
                .boxed()
        }
        Schema::Array(schema) => vec(any_value(&schema.items), 0..4)
            .prop_map(Value::Array)
            .boxed(),
        Schema::Union(union) => {
            let branches: Vec<_> = union
                .variants()
                .iter()
                .enumerate()
                .map(|(index, branch)| {
                    any_value(branch)
                        .prop_map(move |value| Value::Union(index as u32, Box::new(value)))
                })
                .collect();
            proptest::strategy::Union::new(branches).boxed()
        }
        Schema::Record(schema) => schema
            .fields
            .iter()
            .map(|field| {
                let name = field.name.clone();
                any_value(&field.schema).prop_map(move |value| (name.clone(), value))
            })
            .collect::<Vec<_>>()
            .prop_map(Value::Record)
            .boxed(),
        other => panic!("no record uses {other:?}"),
    }
}

fn any_record() -> impl Strategy<Value = (RecordType, Value)> {
    select(RecordType::ALL)
        .prop_flat_map(|record| any_value(record.schema()).prop_map(move |value| (record, value)))
}

/// The same record with one more field, so that it is read by resolving.
fn newer(record: RecordType) -> String {
    let mut schema: serde_json::Value = serde_json::from_str(record.schema_json()).unwrap();
    let extra = serde_json::json!({"name": "extra", "type": ["null", "string"], "default": null});
    schema["fields"].as_array_mut().unwrap().insert(0, extra);
    schema.to_string()
}

proptest! {
    #[test]
    fn what_is_written_is_read_and_written_again((record, value) in any_record()) {
        let codec = codec();
        let bytes = framed(id(record), record.schema(), &value);
        let message = codec.decode_now(record.topic(), Some(&bytes)).unwrap().unwrap();
        prop_assert_eq!(message.record_type(), record);
        let again = codec.encode(&message).unwrap();
        prop_assert_eq!(unframed(record.schema(), &again), value);
        prop_assert_eq!(again, bytes);
        // None of these may panic, whatever the content.
        let json = message.to_json();
        prop_assert!(json.is_object());
        drop((message.key(), message.ce_id(), message.cart_id(), message.occurred_at()));
    }

    #[test]
    fn both_ways_of_reading_agree((record, value) in any_record()) {
        let codec = codec();
        let text = newer(record);
        codec.learn(900, &text);
        let theirs = Schema::parse_str(&text).unwrap();
        let foreign = value.clone().resolve(&theirs).unwrap();
        let direct = framed(id(record), record.schema(), &value);
        let resolved = framed(900, &theirs, &foreign);
        let decode = |bytes: &[u8]| codec.decode_now(record.topic(), Some(bytes)).unwrap();
        prop_assert_eq!(decode(&direct), decode(&resolved));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        record in select(RecordType::ALL),
        resolving in any::<bool>(),
        topic in select(Topic::ALL),
        own_topic in any::<bool>(),
        datum in vec(any::<u8>(), 0..200),
    ) {
        let codec = codec();
        let id = if resolving {
            codec.learn(900, &newer(record));
            900u32
        } else {
            id(record)
        };
        let mut bytes = vec![0];
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&datum);
        let topic = if own_topic { record.topic() } else { topic };
        drop(codec.decode_now(topic, Some(&bytes)));
        drop(codec.decode_now(topic, Some(&datum)));
    }

    /// Damage in one place of a valid record: refused, or another valid record.
    #[test]
    fn damaged_records_are_refused_or_still_records(
        (record, value) in any_record(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        resolving in any::<bool>(),
    ) {
        let codec = codec();
        let mut bytes = if resolving {
            let text = newer(record);
            codec.learn(900, &text);
            let theirs = Schema::parse_str(&text).unwrap();
            framed(900, &theirs, &value.resolve(&theirs).unwrap())
        } else {
            framed(id(record), record.schema(), &value)
        };
        let at = 5 + at.index(bytes.len() - 5);
        bytes[at] = byte;
        if let Ok(message) = codec.decode_now(record.topic(), Some(&bytes)).unwrap() {
            let again = codec.encode(&message).unwrap();
            prop_assert_eq!(
                codec.decode_now(record.topic(), Some(&again)).unwrap().unwrap(),
                message
            );
        }
    }
}
