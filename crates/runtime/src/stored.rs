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

/// Fewer bytes than these are not worth compressing.
const COMPRESS_FROM_BYTES: usize = 512;
/// What a compressed block begins with: no record begins so, for its topic has a name.
const BLOCK: u8 = 0;
/// No block of LZ4 grows by more when it is decompressed.
const LZ4_MAX_RATIO: usize = 255;

/// Why stored bytes cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("a record: {0}")]
    Record(#[from] postcard::Error),
    #[error("a compressed block: {0}")]
    Block(String),
}

/// The bytes of some records; the bytes of two groups, one behind the other,
/// are the bytes of both together.
///
/// Records of one batch are much alike, and each of their bytes would be written to the
/// write-ahead log, to the table and to the disk: they are compressed, fast rather than
/// well.
pub(crate) fn to_bytes(records: &[StoredRecord]) -> Result<Vec<u8>, postcard::Error> {
    let plain = records.iter().try_fold(Vec::new(), |bytes, record| {
        postcard::to_extend(record, bytes)
    })?;
    if plain.len() < COMPRESS_FROM_BYTES {
        return Ok(plain);
    }
    let compressed = lz4_flex::block::compress_prepend_size(&plain);
    match u32::try_from(compressed.len()) {
        Ok(length) if compressed.len() < plain.len() => {
            let mut block = Vec::with_capacity(compressed.len() + 5);
            block.push(BLOCK);
            block.extend_from_slice(&length.to_le_bytes());
            block.extend_from_slice(&compressed);
            Ok(block)
        }
        _ => Ok(plain),
    }
}

/// The records of [`to_bytes`], and of former versions, which did not compress.
pub(crate) fn from_bytes(mut bytes: &[u8]) -> Result<Vec<StoredRecord>, Unreadable> {
    let mut records = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        if *first == BLOCK {
            let (plain, rest) = decompress(rest)?;
            read_all(&plain, &mut records)?;
            bytes = rest;
        } else {
            let (record, rest) = postcard::take_from_bytes(bytes)?;
            records.push(record);
            bytes = rest;
        }
    }
    Ok(records)
}

fn read_all(mut plain: &[u8], records: &mut Vec<StoredRecord>) -> Result<(), Unreadable> {
    while !plain.is_empty() {
        let (record, rest) = postcard::take_from_bytes(plain)?;
        records.push(record);
        plain = rest;
    }
    Ok(())
}

/// The content of the block that begins here, and what comes after it.
fn decompress(bytes: &[u8]) -> Result<(Vec<u8>, &[u8]), Unreadable> {
    let short = || Unreadable::Block("it ends before its end".into());
    let (length, rest) = bytes.split_first_chunk().ok_or_else(short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| short())?;
    let (block, rest) = rest.split_at_checked(length).ok_or_else(short)?;
    let (size, data) = lz4_flex::block::uncompressed_size(block)
        .map_err(|error| Unreadable::Block(error.to_string()))?;
    if size > data.len().saturating_mul(LZ4_MAX_RATIO) {
        return Err(Unreadable::Block(format!(
            "{length} bytes cannot be {size}"
        )));
    }
    let plain = lz4_flex::block::decompress(data, size)
        .map_err(|error| Unreadable::Block(error.to_string()))?;
    Ok((plain, rest))
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

    /// As many records as a batch has, with what differs between them.
    fn batch() -> Vec<StoredRecord> {
        let number = |number: usize| StoredRecord {
            key: Some(uuid::Uuid::from_u128(number as u128 * 0x1357_9bdf_0246_8ace).into()),
            ..record("inventory.commands")
        };
        (0..100).map(number).collect()
    }

    #[test]
    fn a_batch_is_compressed_and_can_be_joined_with_what_is_not() {
        let (batch, one) = (batch(), record("a"));
        let plain: usize = batch
            .iter()
            .map(|record| postcard::to_stdvec(record).expect("encodes").len())
            .sum();
        let mut bytes = to_bytes(&batch).expect("encodes");
        assert!(bytes.len() * 2 < plain, "{} of {plain} bytes", bytes.len());
        bytes.extend(to_bytes(std::slice::from_ref(&one)).expect("encodes"));
        bytes.extend(to_bytes(&batch).expect("encodes"));
        let expected = [&batch[..], &[one], &batch[..]].concat();
        assert_eq!(from_bytes(&bytes).expect("decodes"), expected);
    }

    #[test]
    fn what_is_cut_off_or_spoiled_is_an_error() {
        let bytes = to_bytes(&batch()).expect("encodes");
        for length in 1..bytes.len() {
            assert!(from_bytes(&bytes[..length]).is_err(), "{length} bytes");
        }
        // A size that would fill the memory.
        let mut spoiled = bytes;
        spoiled[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
        let error = from_bytes(&spoiled).expect_err("is refused").to_string();
        assert!(error.contains("cannot be 4294967295"), "{error}");
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
