//! What messages say about themselves, and the headers made of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Optional, message};
use contracts::{
    Message, RecordType, TraceContext, headers,
    ids::{self, GenericUuid},
};
use jiff::Timestamp;
use uuid::Uuid;

fn field(message: &Message, name: &str) -> Option<String> {
    let json = serde_json::to_value(message).unwrap();
    Some(json.get(name)?.as_str()?.to_owned())
}

fn all() -> impl Iterator<Item = Message> {
    RecordType::ALL
        .iter()
        .map(|record| message(*record, Optional::Present))
}

#[test]
fn every_record_is_keyed_by_its_cart_or_its_product() {
    for message in all() {
        let cart = field(&message, "cartId");
        assert_eq!(message.cart_id().map(|id| id.to_string()), cart);
        let expected = cart.or_else(|| field(&message, "productId")).unwrap();
        assert_eq!(message.key(), expected, "{}", message.record_type());
    }
}

#[test]
fn checkouts_and_commands_are_those_of_the_fields() {
    for message in all() {
        let checkout = match &message {
            Message::CartCheckedOut(cart) => Some(cart.event_id.to_string()),
            message => field(message, "checkoutId"),
        };
        assert_eq!(message.checkout_id().map(|id| id.to_string()), checkout);
        let command = field(&message, "commandId");
        assert_eq!(message.command_id().map(|id| id.to_string()), command);
    }
}

#[test]
fn the_identity_on_the_wire_is_the_message_s_own_or_derived_from_its_command() {
    for message in all() {
        let record = message.record_type();
        let is_command = record.topic().name().ends_with(".commands");
        let own = ["eventId", "operationId"]
            .iter()
            .find_map(|name| field(&message, name));
        let expected = match (own, message.command_id()) {
            (Some(own), None) => own.parse().unwrap(),
            (None, Some(command)) if is_command => command.into_untyped_uuid(),
            (None, Some(command)) => {
                Uuid::new_v5(&command.into_untyped_uuid(), record.full_name().as_bytes())
            }
            other => panic!("{record}: {other:?}"),
        };
        assert_eq!(message.ce_id(), expected, "{record}");
    }
}

/// A command has as many possible answers as it likes, and no two share an id.
#[test]
fn answers_to_one_command_have_different_identities() {
    let answers = [
        message(RecordType::OrderRecorded, Optional::Present),
        message(RecordType::OrderRejected, Optional::Present),
        message(RecordType::OrderCancelled, Optional::Present),
    ];
    let commands: BTreeSet<_> = answers.iter().map(Message::command_id).collect();
    assert_eq!(commands.len(), 1, "the samples answer the same command");
    let ids: BTreeSet<_> = answers.iter().map(Message::ce_id).collect();
    assert_eq!(ids.len(), answers.len());
}

#[test]
fn facts_have_a_time_and_commands_have_none() {
    for message in all() {
        let is_command = message.record_type().topic().name().ends_with(".commands");
        assert_eq!(message.occurred_at().is_none(), is_command);
    }
}

#[test]
fn a_record_carries_the_headers_of_a_cloud_event() {
    let trace = TraceContext::new_root();
    let now = Timestamp::from_millisecond(1_750_000_000_123).unwrap();
    for message in all() {
        let headers: BTreeMap<_, _> = headers(&message, "/checkout/test", now, &trace)
            .into_iter()
            .map(|(name, value)| (name, String::from_utf8(value).unwrap()))
            .collect();
        let time = format!("{:.3}", message.occurred_at().unwrap_or(now));
        let expected = [
            ("ce_id", message.ce_id().to_string()),
            ("ce_source", "/checkout/test".to_owned()),
            ("ce_specversion", "1.0".to_owned()),
            ("ce_subject", message.key()),
            ("ce_time", time),
            ("ce_type", message.record_type().full_name().to_owned()),
            ("content-type", "application/avro".to_owned()),
            ("traceparent", trace.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value));
        assert_eq!(headers, BTreeMap::from(expected));
    }
}

#[test]
fn a_codec_writes_only_what_it_was_connected_for() {
    let codec = contracts::Codec::with_ids(
        contracts::TopicNames::default(),
        &[(RecordType::OrderCreated, 7)],
    );
    codec
        .encode(&message(RecordType::OrderCreated, Optional::Present))
        .unwrap();
    let error = codec
        .encode(&message(RecordType::CheckoutFailed, Optional::Present))
        .unwrap_err();
    assert!(
        error.to_string().contains("ordering.CheckoutFailed"),
        "{error}"
    );
}

#[test]
fn the_checkout_of_a_cart_is_known_before_it_is_published() {
    let cart = message(RecordType::CartCheckedOut, Optional::Present);
    let Message::CartCheckedOut(fields) = &cart else {
        panic!("{cart:?}");
    };
    assert_eq!(cart.checkout_id(), Some(ids::checkout_id(fields.event_id)));
    assert_eq!(cart.ce_id(), fields.event_id.into_untyped_uuid());
}
