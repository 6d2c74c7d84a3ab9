//! The contracts against the real registry, and writers that are not ours.

use contracts::{RecordType, Registry, Topic};

use integration_tests::carts::cart;
use integration_tests::{Options, Outcome, System, product};

#[tokio::test(flavor = "multi_thread")]
async fn every_subject_is_fully_compatible_for_ever() {
    let system = System::shared().await;
    let registry = Registry::new(&system.registry).expect("a client");
    for record in RecordType::ALL {
        let subject = system.names.subject(*record);
        assert!(
            registry
                .find(&subject, record.schema_json())
                .await
                .expect("an answer")
                .is_some(),
            "{subject} is not registered"
        );
        assert_eq!(
            registry
                .compatibility(&subject)
                .await
                .expect("an answer")
                .as_deref(),
            Some("FULL_TRANSITIVE"),
            "{subject}"
        );
    }
    // A schema that drops a field without a default is refused.
    let mut schema: serde_json::Value =
        serde_json::from_str(RecordType::CartCheckedOut.schema_json()).expect("JSON");
    let fields = schema["fields"].as_array_mut().expect("fields");
    fields.retain(|field| field["name"] != "currency");
    let subject = system.names.subject(RecordType::CartCheckedOut);
    let refused = registry.register(&subject, &schema.to_string()).await;
    assert!(
        refused.is_err(),
        "an incompatible schema was registered: {refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enum_may_grow() {
    let system = System::start(
        "growing_enum",
        Options {
            services: &[],
            ..Options::default()
        },
    )
    .await;
    let registry = Registry::new(&system.registry).expect("a client");
    let mut schema: serde_json::Value =
        serde_json::from_str(RecordType::CheckoutFailed.schema_json()).expect("JSON");
    let fields = schema["fields"].as_array_mut().expect("fields");
    let reason = fields
        .iter_mut()
        .find(|field| field["name"] == "reason")
        .expect("a reason");
    let symbols = reason["type"]["symbols"].as_array_mut().expect("symbols");
    symbols.insert(0, "LOYALTY_REFUSED".into());
    let subject = system.names.subject(RecordType::CheckoutFailed);
    registry
        .register(&subject, &schema.to_string())
        .await
        .expect("the default makes it compatible");
}

/// What a plain Confluent serializer of the `TopicNameStrategy` does: it
/// registers the schema, as its language writes it, under `<topic>-value`.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_with_topic_name_strategy_and_a_schema_of_its_own_is_understood() {
    let system = System::shared().await;
    let registry = Registry::new(&system.registry).expect("a client");
    let mut schema: serde_json::Value =
        serde_json::from_str(RecordType::CartCheckedOut.schema_json()).expect("JSON");
    // No documentation, and optional fields that this writer does not know: it
    // is a schema of its own, with an id of its own.
    schema.as_object_mut().expect("an object").remove("doc");
    let fields = schema["fields"].as_array_mut().expect("fields");
    fields.retain(|field| field["name"] != "subtotal" && field["name"] != "discount");
    for field in fields.iter_mut() {
        field.as_object_mut().expect("an object").remove("doc");
    }
    let subject = format!("{}-value", system.names.name(Topic::ShoppingCheckouts));
    let id = registry
        .register(&subject, &schema.to_string())
        .await
        .expect("registered");

    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 1, 700);
    // Without subtotal and discount, both null, the datum is shorter by the two
    // union branches between items and total.
    let ours = system.encode(&cart.clone().into());
    let own_id = u32::from_be_bytes(ours[1..5].try_into().expect("four bytes"));
    assert_ne!(id, own_id, "the registry took the schema for ours");
    let mut value = vec![0];
    value.extend(id.to_be_bytes());
    let tail = avro_long(cart.total).len() + avro_string(&cart.currency).len();
    let at = ours.len() - tail - 2;
    assert_eq!(ours[at..at + 2], [0, 0], "two null branches");
    value.extend(&ours[5..at]);
    value.extend(&ours[at + 2..]);
    system
        .publish_raw(
            Topic::ShoppingCheckouts,
            Some(b"any key"),
            Some(&value),
            &[],
        )
        .await;
    let Outcome::Created(order) = system.outcome(&cart).await else {
        panic!("it was not ordered");
    };
    assert_eq!(order.total, 700);
}

fn avro_long(value: i64) -> Vec<u8> {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while zigzag >= 0x80 {
        bytes.push(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    bytes.push(zigzag as u8);
    bytes
}

fn avro_string(text: &str) -> Vec<u8> {
    let mut bytes = avro_long(text.len() as i64);
    bytes.extend(text.as_bytes());
    bytes
}
