//! What cannot be decoded, and the reason each gets.

use crate::support::{Optional, codec, framed, id, sample};
use apache_avro::Schema;
use contracts::{DecodeError, ErrorCode, Poison, RecordType, Topic};

fn poison(topic: Topic, payload: Option<&[u8]>) -> Poison {
    codec().decode_now(topic, payload).unwrap().unwrap_err()
}

/// A valid `CartCheckedOut`.
fn valid() -> Vec<u8> {
    let record = RecordType::CartCheckedOut;
    framed(
        id(record),
        record.schema(),
        &sample(record.schema(), Optional::Present),
    )
}

#[test]
fn no_value() {
    let poison = poison(Topic::ShoppingCheckouts, None);
    assert_eq!(poison.code, ErrorCode::NullValue);
}

#[test]
fn no_frame() {
    let mut bad_magic = valid();
    bad_magic[0] = 1;
    for bytes in [&[][..], &[0], &[0, 0, 0, 1], b"{\"cartId\": 1}", &bad_magic] {
        let poison = poison(Topic::ShoppingCheckouts, Some(bytes));
        assert_eq!(poison.code, ErrorCode::NotFramed, "{bytes:?}");
    }
}

#[tokio::test]
async fn an_id_that_no_registry_knows() {
    let bytes = [0, 0, 0, 99, 99, 1, 2, 3];
    assert!(
        codec()
            .decode_now(Topic::ShoppingCheckouts, Some(&bytes))
            .is_none()
    );
    let error = codec()
        .decode(Topic::ShoppingCheckouts, Some(&bytes))
        .await
        .unwrap_err();
    let DecodeError::Poison(poison) = error else {
        panic!("{error}");
    };
    assert_eq!(poison.code, ErrorCode::UnknownSchemaId);
    assert!(poison.detail.contains("25443"), "{poison}");
}

#[test]
fn a_record_of_another_topic() {
    for topic in Topic::ALL.iter().copied() {
        let found = codec().decode_now(topic, Some(&valid())).unwrap();
        match topic {
            Topic::ShoppingCheckouts => drop(found.unwrap()),
            _ => {
                let poison = found.unwrap_err();
                assert_eq!(poison.code, ErrorCode::WrongRecordForTopic, "{topic}");
                assert!(
                    poison.detail.contains("shopping.CartCheckedOut"),
                    "{poison}"
                );
                assert!(poison.detail.contains(topic.name()), "{poison}");
            }
        }
    }
}

#[test]
fn a_record_of_another_system() {
    let codec = codec();
    codec.learn(
        900,
        r#"{"type": "record", "name": "Visit", "namespace": "web", "fields": []}"#,
    );
    let poison = codec
        .decode_now(Topic::ShoppingCheckouts, Some(&[0, 0, 0, 3, 132]))
        .unwrap()
        .unwrap_err();
    assert_eq!(poison.code, ErrorCode::WrongRecordForTopic);
    assert!(poison.detail.contains("web.Visit"), "{poison}");
}

#[test]
fn schemas_that_are_of_no_use() {
    let recursive = r#"{"type": "record", "name": "CartCheckedOut", "namespace": "shopping",
        "fields": [{"name": "next", "type": ["null", "CartCheckedOut"]}]}"#;
    for (text, says) in [
        ("syntax = \"proto3\";", "parsed"),
        ("\"string\"", "not a record"),
        (recursive, "recursive"),
    ] {
        let codec = codec();
        codec.learn(900, text);
        let poison = codec
            .decode_now(Topic::ShoppingCheckouts, Some(&[0, 0, 0, 3, 132, 2, 2, 0]))
            .unwrap()
            .unwrap_err();
        assert_eq!(poison.code, ErrorCode::IncompatibleSchema, "{text}");
        assert!(poison.detail.contains(says), "{poison}");
    }
}

/// Cut anywhere, a datum is refused; also one whose writer's schema is not
/// ours, where apache-avro would take the missing end for null.
#[test]
fn a_datum_that_is_cut_off_or_too_long() {
    let record = RecordType::CartCheckedOut;
    let other = record.schema_json().replace("\"discount\"", "\"rebate\"");
    let other_schema = Schema::parse_str(&other).unwrap();
    let codec = codec();
    codec.learn(900, &other);
    for optional in [Optional::Present, Optional::Absent] {
        let ours = framed(
            id(record),
            record.schema(),
            &sample(record.schema(), optional),
        );
        let theirs = framed(900, &other_schema, &sample(&other_schema, optional));
        for whole in [ours, theirs] {
            let decode = |bytes: &[u8]| codec.decode_now(record.topic(), Some(bytes)).unwrap();
            decode(&whole).unwrap();
            for end in 5..whole.len() {
                let poison = decode(&whole[..end]).unwrap_err();
                assert_eq!(
                    poison.code,
                    ErrorCode::UndecodableDatum,
                    "cut at {end}: {poison}"
                );
            }
            let mut longer = whole.clone();
            longer.push(0);
            let poison = decode(&longer).unwrap_err();
            assert_eq!(poison.code, ErrorCode::UndecodableDatum);
            assert!(poison.detail.contains("1 bytes too many"), "{poison}");
        }
    }
}

#[test]
fn the_field_that_is_wrong_is_named() {
    // The bytes after the frame and eventId's length: no hexadecimal digits.
    let mut bytes = valid();
    bytes[6..10].copy_from_slice(b"oops");
    let poison = poison(Topic::ShoppingCheckouts, Some(&bytes));
    assert_eq!(poison.code, ErrorCode::UndecodableDatum);
    assert!(
        poison.detail.contains("field eventId: not a uuid"),
        "{poison}"
    );
}

/// Lengths and counts that promise more than there is: refused at once, and
/// nothing is allocated for them.
#[test]
fn a_length_that_lies() {
    let huge = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]; // i64::MAX
    let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]; // i64::MIN
    let endless = [0xff; 11];
    let record = RecordType::CartCheckedOut;
    let other = record.schema_json().replace("\"discount\"", "\"rebate\"");
    let codec = codec();
    codec.learn(900, &other);
    // Before eventId's text, and before the items.
    let items = 5 + 37 + 6 + 37 + 37;
    for writer in [id(record), 900] {
        for at in [5, items] {
            for lie in [&huge[..], &least, &endless, &[1]] {
                let mut bytes = valid()[..at].to_vec();
                bytes[1..5].copy_from_slice(&writer.to_be_bytes());
                bytes.extend_from_slice(lie);
                let poison = codec
                    .decode_now(record.topic(), Some(&bytes))
                    .unwrap()
                    .unwrap_err();
                assert_eq!(poison.code, ErrorCode::UndecodableDatum, "{poison}");
            }
        }
    }
}
