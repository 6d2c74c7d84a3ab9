//! Messages as a progress row holds them until Kafka has acknowledged them.

use serde::{Deserialize, Serialize};

/// A record ready to be published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredRecord {
    /// The topic's full name.
    pub(crate) topic: String,
    #[serde(with = "serde_bytes")]
    pub(crate) key: Option<Vec<u8>>,
    #[serde(with = "serde_bytes")]
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) headers: Vec<StoredHeader>,
    /// The place in its home's sequence of public outputs; `None` for what is
    /// not published in a transaction.
    pub(crate) sequence: Option<i64>,
}

/// A header; its value may be null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredHeader {
    pub(crate) name: String,
    #[serde(with = "serde_bytes")]
    pub(crate) value: Option<Vec<u8>>,
}

/// The bytes of some records; the bytes of two groups, one behind the other,
/// are the bytes of both together.
pub(crate) fn to_bytes(records: &[StoredRecord]) -> Result<Vec<u8>, postcard::Error> {
    records.iter().try_fold(Vec::new(), |bytes, record| {
        postcard::to_extend(record, bytes)
    })
}

/// The records of [`to_bytes`].
pub(crate) fn from_bytes(mut bytes: &[u8]) -> Result<Vec<StoredRecord>, postcard::Error> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (record, rest) = postcard::take_from_bytes(bytes)?;
        records.push(record);
        bytes = rest;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(topic: &str) -> StoredRecord {
        StoredRecord {
            topic: topic.into(),
            key: Some(b"key".to_vec()),
            payload: Some(vec![0, 1, 2, 255]),
            headers: vec![
                StoredHeader {
                    name: "ce_id".into(),
                    value: Some(b"1".to_vec()),
                },
                StoredHeader {
                    name: "null".into(),
                    value: None,
                },
            ],
            sequence: Some(7),
        }
    }

    #[test]
    fn groups_can_be_joined() {
        let (a, b) = (record("a"), record("b"));
        let mut bytes = to_bytes(std::slice::from_ref(&a)).expect("encodes");
        bytes.extend(to_bytes(std::slice::from_ref(&b)).expect("encodes"));
        assert_eq!(from_bytes(&bytes).expect("decodes"), vec![a, b]);
    }

    #[test]
    fn nothing_is_no_bytes() {
        assert!(to_bytes(&[]).expect("encodes").is_empty());
        assert!(from_bytes(&[]).expect("decodes").is_empty());
    }

    #[test]
    fn null_key_and_value_survive() {
        let null = StoredRecord {
            key: None,
            payload: None,
            ..record("a")
        };
        let bytes = to_bytes(std::slice::from_ref(&null)).expect("encodes");
        assert_eq!(from_bytes(&bytes).expect("decodes"), vec![null]);
    }
}
