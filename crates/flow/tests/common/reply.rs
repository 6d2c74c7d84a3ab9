//! Replies of any participant, made from their schemas: a new step needs none written
//! for it.

use contracts::{
    Codec, Message, RecordType, TopicNames, framing,
    ids::{self, CartId, CheckoutId, CommandId, EventKind, GenericUuid},
};
use flow::Step;
use serde_json::Value;

/// The command that a reply answers.
pub(crate) fn answered_by(reply: RecordType) -> RecordType {
    let of_step = |step: &Step| {
        let definition = step.definition();
        let says = |record| record == reply;
        if says(definition.compensation.acknowledged_by) {
            Some(definition.compensation.record)
        } else if says(definition.success.record)
            || definition.failures.iter().any(|f| says(f.record))
        {
            Some(definition.command.record)
        } else {
            None
        }
    };
    Step::ALL
        .iter()
        .find_map(of_step)
        .unwrap_or_else(|| panic!("{reply} answers no command of the flow"))
}

/// The record with the ids given, those of the checkout that are derived, and the least
/// that its schema allows in all other fields.
pub(crate) fn by_schema(
    record: RecordType,
    command_id: CommandId,
    checkout_id: CheckoutId,
    cart_id: CartId,
) -> Message {
    let schema: Value = serde_json::from_str(record.schema_json()).unwrap();
    let mut datum = Vec::new();
    framing::begin(1, &mut datum);
    for field in schema["fields"].as_array().unwrap() {
        let id = match field["name"].as_str().unwrap() {
            "commandId" => command_id.to_string(),
            "checkoutId" => checkout_id.to_string(),
            "cartId" => cart_id.to_string(),
            "eventId" => ids::event_id(checkout_id, record).to_string(),
            name => {
                let what = name.strip_suffix("Id").unwrap_or(name);
                ids::derive::<EventKind>(checkout_id.into_untyped_uuid(), what).to_string()
            }
        };
        write(&field["type"], &id, &mut datum);
    }
    let codec = Codec::with_ids(TopicNames::default(), &[(record, 1)]);
    let decoded = codec.decode_now(record.topic(), Some(&datum));
    decoded.unwrap().expect("it is no tombstone")
}

/// Avro: a text is its length and its bytes; the least number, the empty array, the first
/// symbol and the branch of null are all the same byte.
fn write(schema: &Value, id: &str, out: &mut Vec<u8>) {
    let is_text = schema == "string" || schema["type"] == "string";
    if is_text {
        let length = u8::try_from(id.len() * 2).unwrap();
        assert!(length < 0x80, "one byte says the length of an id");
        out.push(length);
        out.extend_from_slice(id.as_bytes());
    } else {
        assert_ne!(
            schema["type"], "record",
            "no reply holds a record by itself"
        );
        out.push(0);
    }
}
