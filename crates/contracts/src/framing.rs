//! Confluent's wire format: a zero byte, the id of the writer's schema as four
//! bytes, highest first, and the datum.

/// First byte of every framed value.
pub const MAGIC: u8 = 0;

/// Number of bytes before the datum.
pub const HEADER_BYTES: usize = 5;

/// The largest id that a registry gives: the format's integer has a sign. Asked for
/// a larger one, registries answer as if the path were wrong.
pub const MAX_SCHEMA_ID: u32 = i32::MAX.unsigned_abs();

/// Splits a value into the id of its writer's schema and its datum; none if it
/// is not framed.
pub fn split(value: &[u8]) -> Option<(u32, &[u8])> {
    match value {
        [MAGIC, a, b, c, d, datum @ ..] => Some((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        _ => None,
    }
}

/// Appends the frame of a datum written with the schema `id`.
pub fn begin(id: u32, out: &mut Vec<u8>) {
    out.push(MAGIC);
    out.extend_from_slice(&id.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_where_it_was_begun() {
        let mut value = Vec::new();
        begin(0x0102_0304, &mut value);
        assert_eq!(value.len(), HEADER_BYTES);
        value.push(9);
        assert_eq!(split(&value), Some((0x0102_0304, &[9][..])));
    }

    #[test]
    fn what_is_too_short_or_begins_otherwise_is_not_framed() {
        for bad in [
            &[][..],
            &[0],
            &[0, 0, 0, 1],
            &[1, 0, 0, 0, 1, 2],
            b"{\"a\":1}",
        ] {
            assert_eq!(split(bad), None, "{bad:?}");
        }
    }
}
