//! Avro's encoding of the plain types that our records are made of.

use jiff::Timestamp;
use newtype_uuid::{GenericUuid, TypedUuid, TypedUuidKind};
use uuid::Uuid;

use super::{Datum, DatumError, Reader};

/// Room reserved at most for a list before its items are read.
const RESERVED_ITEMS: usize = 256;

fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut bits = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while bits > 0x7f {
        out.push((bits & 0x7f) as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    // A slice is never longer than i64::MAX bytes.
    write_long(bytes.len() as i64, out);
    out.extend_from_slice(bytes);
}

impl Datum for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        write_long(*self, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DatumError> {
        input.long()
    }
}

impl Datum for i32 {
    fn write(&self, out: &mut Vec<u8>) {
        write_long(i64::from(*self), out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DatumError> {
        let value = input.long()?;
        Self::try_from(value).map_err(|_| DatumError::new(format!("{value} is no 32-bit number")))
    }
}

impl Datum for String {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self.as_bytes(), out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DatumError> {
        let length = input.length()?;
        let text = str::from_utf8(input.take(length)?)
            .map_err(|error| DatumError::new(format!("not UTF-8: {error}")))?;
        Ok(text.to_owned())
    }
}

impl Datum for Timestamp {
    fn write(&self, out: &mut Vec<u8>) {
        write_long(self.as_millisecond(), out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DatumError> {
        let millis = input.long()?;
        Self::from_millisecond(millis)
            .map_err(|_| DatumError::new(format!("{millis} ms is outside the calendar")))
    }
}

impl<K: TypedUuidKind> Datum for TypedUuid<K> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut text = Uuid::encode_buffer();
        write_bytes(
            self.as_untyped_uuid()
                .hyphenated()
                .encode_lower(&mut text)
                .as_bytes(),
            out,
        );
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DatumError> {
        let length = input.length()?;
        Uuid::try_parse_ascii(input.take(length)?)
            .map(Self::from_untyped_uuid)
            .map_err(|error| DatumError::new(format!("not a uuid: {error}")))
    }
}

/// The union of null and `T`, null first.
impl<T: Datum> Datum for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            None => write_long(0, out),
            Some(value) => {
                write_long(1, out);
                value.write(out);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DatumError> {
        match input.long()? {
            0 => Ok(None),
            1 => T::read(input).map(Some),
            branch => Err(DatumError::new(format!("no branch {branch} in this union"))),
        }
    }
}

/// An array: one block, as every writer of small arrays makes it; any number
/// of blocks is read.
impl<T: Datum> Datum for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        if !self.is_empty() {
            write_long(self.len() as i64, out);
            for item in self {
                item.write(out);
            }
        }
        write_long(0, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DatumError> {
        let mut items = Vec::new();
        loop {
            let count = input.long()?;
            if count == 0 {
                return Ok(items);
            }
            if count < 0 {
                // A negative count is followed by the block's size in bytes.
                input.length()?;
            }
            // No item is shorter than one byte, so a count is a length too.
            let count = input.bounded(count.saturating_abs())?;
            items.reserve(count.min(RESERVED_ITEMS));
            for _ in 0..count {
                items.push(T::read(input)?);
            }
        }
    }
}
