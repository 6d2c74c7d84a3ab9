//! Records written by other versions of a schema, and by other producers.

use crate::support::{Optional, codec, framed, sample, unframed};
use apache_avro::{Schema, types::Value};
use contracts::{Codec, Message, Poison, RecordType, Topic, messages::*};

/// The first `CartCheckedOut`: no subtotal and no discount.
const FIRST_CART_CHECKED_OUT: &str = r#"{
  "type": "record", "name": "CartCheckedOut", "namespace": "shopping",
  "fields": [
    {"name": "eventId", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "occurredAt", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "cartId", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "customerId", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "items", "type": {"type": "array", "items": {
      "type": "record", "name": "CartItem", "fields": [
        {"name": "productId", "type": "string"},
        {"name": "quantity", "type": "int"},
        {"name": "unitPrice", "type": "long"}
      ]}}},
    {"name": "total", "type": "long"},
    {"name": "currency", "type": "string"}
  ]
}"#;

/// Decodes what another schema wrote.
fn decode(codec: &Codec, topic: Topic, text: &str, value: &Value) -> Result<Message, Poison> {
    const ID: u32 = 900;
    codec.learn(ID, text);
    let schema = Schema::parse_str(text).unwrap();
    let bytes = framed(ID, &schema, value);
    codec.decode_now(topic, Some(&bytes)).unwrap()
}

/// Decodes the sample of another schema; returns it with what it should say.
fn decode_sample(topic: Topic, text: &str) -> (Message, serde_json::Value) {
    let value = sample(&Schema::parse_str(text).unwrap(), Optional::Present);
    let message = decode(&codec(), topic, text, &value).unwrap();
    let json = serde_json::to_value(&message).unwrap();
    (message, json)
}

fn schema_with(record: RecordType, change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut schema = serde_json::from_str(record.schema_json()).unwrap();
    change(&mut schema);
    schema.to_string()
}

fn fields(schema: &mut serde_json::Value) -> &mut Vec<serde_json::Value> {
    schema["fields"].as_array_mut().unwrap()
}

#[test]
fn a_record_of_an_older_schema_gets_the_defaults_of_what_it_lacks() {
    let (message, _) = decode_sample(Topic::ShoppingCheckouts, FIRST_CART_CHECKED_OUT);
    let Message::CartCheckedOut(cart) = message else {
        panic!("{message:?}");
    };
    assert_eq!((cart.subtotal, cart.discount), (None, None));
    assert_eq!(cart.items.len(), 2);
    assert_eq!(cart.items[1].product_id, "text 12");
    assert_eq!((cart.total, cart.currency.as_str()), (1_015, "text 16"));
}

#[test]
fn a_newer_schema_s_further_fields_are_passed_over() {
    let newer = schema_with(RecordType::CartCheckedOut, |schema| {
        let gift = serde_json::json!({
            "name": "gift", "default": null,
            "type": ["null", {"type": "record", "name": "Gift", "fields": [
                {"name": "wrapping", "type": "string"},
                {"name": "weights", "type": {"type": "map", "values": "double"}, "default": {}},
            ]}],
        });
        let channel = serde_json::json!({"name": "channel", "type": "string", "default": "web"});
        fields(&mut schema["fields"][4]["type"]["items"]).insert(1, channel);
        fields(schema).insert(2, gift);
    });
    let value = {
        let schema = Schema::parse_str(&newer).unwrap();
        let mut value = sample(
            &Schema::parse_str(FIRST_CART_CHECKED_OUT).unwrap(),
            Optional::Present,
        );
        let Value::Record(fields) = &mut value else {
            panic!("a record is a record");
        };
        let weights = [("box".to_owned(), Value::Double(1.5))];
        let gift = Value::Record(vec![
            ("wrapping".to_owned(), Value::String("red".to_owned())),
            ("weights".to_owned(), Value::Map(weights.into())),
        ]);
        fields.push(("gift".to_owned(), Value::Union(1, Box::new(gift))));
        value.resolve(&schema).unwrap()
    };
    let message = decode(&codec(), Topic::ShoppingCheckouts, &newer, &value).unwrap();
    let (older, _) = decode_sample(Topic::ShoppingCheckouts, FIRST_CART_CHECKED_OUT);
    assert_eq!(message, older, "all that both schemas know is the same");
}

#[test]
fn a_symbol_that_is_newer_than_the_reader_becomes_unknown() {
    let newer = schema_with(RecordType::PaymentDeclined, |schema| {
        let symbols = &mut schema["fields"][3]["type"]["symbols"];
        symbols
            .as_array_mut()
            .unwrap()
            .insert(0, "STOLEN_CARD".into());
    });
    for (symbol, expected) in [
        ("STOLEN_CARD", DeclineReason::Unknown),
        ("EXPIRED_CARD", DeclineReason::ExpiredCard),
        ("UNKNOWN", DeclineReason::Unknown),
    ] {
        let schema = Schema::parse_str(&newer).unwrap();
        let mut value = sample(&schema, Optional::Present);
        let Value::Record(fields) = &mut value else {
            panic!("a record is a record");
        };
        fields[3].1 = Value::String(symbol.to_owned())
            .resolve(&{
                let Schema::Record(record) = &schema else {
                    panic!("a record is a record");
                };
                record.fields[3].schema.clone()
            })
            .unwrap();
        let message = decode(&codec(), Topic::PaymentsOutcomes, &newer, &value).unwrap();
        let Message::PaymentDeclined(declined) = message else {
            panic!("{message:?}");
        };
        assert_eq!(declined.reason, expected);
    }
}

#[test]
fn fields_are_matched_by_name_and_not_by_place() {
    let shuffled = schema_with(RecordType::CreateOrder, |schema| fields(schema).reverse());
    let (_, json) = decode_sample(Topic::OrderingCommands, &shuffled);
    assert_eq!(json["currency"], "text 3");
    assert_eq!(json["total"], 1_004);
    assert_eq!(json["commandId"], "00c0ffee-0000-0000-0000-000000000011");
}

#[test]
fn null_may_stand_second_in_a_producer_s_union() {
    let swapped = schema_with(RecordType::AuthorizePayment, |schema| {
        let field = schema["fields"][3].as_object_mut().unwrap();
        field["type"].as_array_mut().unwrap().reverse();
        field.remove("default");
    });
    let schema = Schema::parse_str(&swapped).unwrap();
    // Absent takes the first branch, which holds the id here.
    let value = sample(&schema, Optional::Absent);
    let message = decode(&codec(), Topic::PaymentsCommands, &swapped, &value).unwrap();
    let Message::AuthorizePayment(command) = message else {
        panic!("{message:?}");
    };
    assert!(command.customer_id.is_some());
}

/// Java's serializer adds a property to each string; others drop logical types.
#[test]
fn other_producers_schemas_of_the_same_content_are_read_like_ours() {
    let java = RecordType::CartCheckedOut.schema_json().replace(
        r#""type": "string""#,
        r#""type": "string", "avro.java.string": "String""#,
    );
    let plain = RecordType::CartCheckedOut
        .schema_json()
        .replace(r#", "logicalType": "uuid""#, "")
        .replace(r#", "logicalType": "timestamp-millis""#, "");
    let ours = sample(RecordType::CartCheckedOut.schema(), Optional::Present);
    for text in [&java, &plain] {
        assert_ne!(text, RecordType::CartCheckedOut.schema_json());
        let bytes = framed(1, RecordType::CartCheckedOut.schema(), &ours);
        let codec = codec();
        codec.learn(900, text);
        let mut theirs = bytes.clone();
        theirs[1..5].copy_from_slice(&900u32.to_be_bytes());
        assert_eq!(
            codec
                .decode_now(Topic::ShoppingCheckouts, Some(&theirs))
                .unwrap()
                .unwrap(),
            codec
                .decode_now(Topic::ShoppingCheckouts, Some(&bytes))
                .unwrap()
                .unwrap(),
        );
    }
}

/// With `TopicNameStrategy` the same schema has another subject, and in some
/// registries another id. The record's full name is what counts.
#[test]
fn the_writer_s_subject_does_not_matter() {
    let codec = codec();
    let record = RecordType::CartCheckedOut;
    let value = sample(record.schema(), Optional::Present);
    let bytes = framed(777, record.schema(), &value);
    assert!(codec.decode_now(record.topic(), Some(&bytes)).is_none());
    codec.learn(777, record.schema_json());
    let message = codec
        .decode_now(record.topic(), Some(&bytes))
        .unwrap()
        .unwrap();
    let again = codec.encode(&message).unwrap();
    assert_eq!(unframed(record.schema(), &again), value);
}

#[test]
fn a_schema_that_cannot_be_resolved_is_named() {
    let text = schema_with(RecordType::SetStock, |schema| {
        fields(schema).remove(2);
    });
    let value = sample(&Schema::parse_str(&text).unwrap(), Optional::Present);
    let poison = decode(&codec(), Topic::InventoryCommands, &text, &value).unwrap_err();
    assert_eq!(poison.code, contracts::ErrorCode::IncompatibleSchema);
    assert!(poison.detail.contains("onHand"), "{poison}");
}
