//! `topics.yaml`, `schemas/` and the Rust lists say the same.

use std::{collections::BTreeSet, fs, path::Path};

use apache_avro::{
    Schema,
    schema::{RecordField, UuidSchema},
};
use contracts::{
    RecordType, Topic, TopicNames,
    topology::{CONSUMER_LABEL, PRODUCER_LABEL, RECORDS_ANNOTATION, TopicSpec, topology},
};

fn declared(name: &str) -> &'static TopicSpec {
    topology()
        .iter()
        .find(|topic| topic.name == name)
        .unwrap_or_else(|| panic!("{name} is not in topics.yaml"))
}

fn config<'a>(topic: &'a TopicSpec, key: &str) -> Option<&'a str> {
    topic.configs.get(key).map(String::as_str)
}

#[test]
fn topics_yaml_declares_exactly_the_topics_and_their_dead_letter_queues() {
    let names = TopicNames::default();
    let mut expected = BTreeSet::new();
    for topic in Topic::ALL.iter().copied() {
        expected.insert(names.name(topic).to_owned());
        if topic.is_consumed() {
            expected.insert(names.dlq(topic).to_owned());
        }
    }
    let declared: Vec<_> = topology().iter().map(|topic| topic.name.clone()).collect();
    assert_eq!(declared.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(declared.len(), expected.len(), "a topic is declared twice");
}

#[test]
fn every_topic_says_how_it_keeps_its_records() {
    for topic in topology() {
        let name = &topic.name;
        assert!(topic.partitions >= 1 && topic.replicas >= 1, "{name}");
        assert!(config(topic, "max.message.bytes").is_some(), "{name}");
        match config(topic, "cleanup.policy") {
            Some("compact") => assert_eq!(name, Topic::OrderingSagas.name()),
            Some("delete") => {
                let retention_ms: i64 = config(topic, "retention.ms").unwrap().parse().unwrap();
                assert!(
                    retention_ms >= 7 * 24 * 3_600_000,
                    "{name} forgets within a week"
                );
            }
            other => panic!("{name}: cleanup.policy {other:?}"),
        }
    }
}

#[test]
fn a_dead_letter_queue_takes_any_record_of_its_topic_with_error_headers() {
    let bytes = |topic| -> i64 { config(topic, "max.message.bytes").unwrap().parse().unwrap() };
    let names = TopicNames::default();
    for topic in Topic::ALL
        .iter()
        .copied()
        .filter(|topic| topic.is_consumed())
    {
        let source = bytes(declared(names.name(topic)));
        let dlq = bytes(declared(names.dlq(topic)));
        assert_eq!(dlq, source + 2 * 1024 * 1024, "{topic}");
    }
}

#[test]
fn the_annotations_name_the_records_of_each_topic() {
    for topic in Topic::ALL.iter().copied() {
        let annotated = &declared(topic.name()).annotations[RECORDS_ANNOTATION];
        let annotated: BTreeSet<_> = annotated.split(',').map(str::trim).collect();
        let listed: BTreeSet<_> = topic.records().map(RecordType::full_name).collect();
        assert_eq!(annotated, listed, "{topic}");
    }
}

#[test]
fn the_labels_say_who_publishes_and_who_reads_each_topic() {
    for topic in Topic::ALL.iter().copied() {
        let labels = &declared(topic.name()).labels;
        for label in [PRODUCER_LABEL, CONSUMER_LABEL] {
            assert!(labels.contains_key(label), "{topic} has no {label}");
        }
    }
}

#[test]
fn every_schema_file_is_a_record_of_the_catalogue() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas");
    let mut found = BTreeSet::new();
    for owner in fs::read_dir(&root).unwrap() {
        let owner = owner.unwrap().path();
        for file in fs::read_dir(&owner).unwrap() {
            let file = file.unwrap().path();
            assert_eq!(file.extension().unwrap(), "avsc", "{}", file.display());
            found.insert(format!(
                "{}.{}",
                owner.file_name().unwrap().to_str().unwrap(),
                file.file_stem().unwrap().to_str().unwrap()
            ));
        }
    }
    let listed: BTreeSet<_> = RecordType::ALL
        .iter()
        .map(|r| r.full_name().to_owned())
        .collect();
    assert_eq!(found, listed);
}

#[test]
fn a_schema_has_the_name_of_its_file_and_its_owner_as_namespace() {
    for record in RecordType::ALL.iter().copied() {
        let Schema::Record(schema) = record.schema() else {
            panic!("{record} is not a record");
        };
        assert_eq!(schema.name.to_string(), record.full_name());
        assert_eq!(schema.name.name(), record.name());
        assert_eq!(RecordType::from_full_name(record.full_name()), Some(record));
    }
    assert_eq!(RecordType::from_full_name("OrderCreated"), None);
}

#[test]
fn everything_in_a_schema_is_documented_and_can_grow() {
    for record in RecordType::ALL.iter().copied() {
        check(record.schema(), record.full_name());
    }
}

fn check(schema: &Schema, at: &str) {
    match schema {
        Schema::Record(schema) => {
            assert_doc(schema.doc.as_deref(), at);
            for field in &schema.fields {
                check_field(field, &format!("{at}.{}", field.name));
            }
        }
        Schema::Enum(schema) => {
            assert_doc(schema.doc.as_deref(), at);
            assert_eq!(schema.default.as_deref(), Some("UNKNOWN"), "{at}");
            assert_eq!(schema.symbols.last().unwrap(), "UNKNOWN", "{at}");
        }
        Schema::Array(schema) => check(&schema.items, at),
        Schema::Union(union) => {
            let [Schema::Null, inner] = union.variants() else {
                panic!("{at}: a union other than of null and one type");
            };
            check(inner, at);
        }
        Schema::Int
        | Schema::Long
        | Schema::String
        | Schema::TimestampMillis
        | Schema::Uuid(UuidSchema::String) => {}
        other => panic!("{at}: {other:?} is none of the types that the contracts use"),
    }
}

fn check_field(field: &RecordField, at: &str) {
    assert_doc(field.doc.as_deref(), at);
    let is_optional = matches!(field.schema, Schema::Union(_));
    assert_eq!(
        field.default,
        is_optional.then_some(serde_json::Value::Null),
        "{at}: null is the default of an optional field, and no other field has one"
    );
    let is_id = field.name.ends_with("Id") && field.name != "productId";
    let inner = match &field.schema {
        Schema::Union(union) => &union.variants()[1],
        schema => schema,
    };
    assert_eq!(
        is_id,
        matches!(inner, Schema::Uuid(_)),
        "{at}: ids are uuids"
    );
    let is_time = field.name == "at" || field.name.ends_with("At");
    assert_eq!(
        is_time,
        matches!(inner, Schema::TimestampMillis),
        "{at}: times are timestamps"
    );
    check(&field.schema, at);
}

fn assert_doc(doc: Option<&str>, at: &str) {
    let words = doc.unwrap_or_default().split_whitespace().count();
    assert!(words >= 2, "{at} has no doc");
}
