//! A cursor over the bytes of a datum that never reads past their end.

use std::fmt;

/// What is wrong with a datum, and in which field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatumError {
    what: String,
    path: Vec<&'static str>,
}

impl DatumError {
    /// An error that says `what` is wrong.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            path: Vec::new(),
        }
    }

    /// The same error, one level further out: inside `field`.
    pub(crate) fn within(mut self, field: &'static str) -> Self {
        self.path.insert(0, field);
        self
    }
}

impl fmt::Display for DatumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            let path: Vec<_> = self.path.iter().map(|field| schema_name(field)).collect();
            write!(f, "field {}: ", path.join("."))?;
        }
        f.write_str(&self.what)
    }
}

/// The schema's name of a field of ours: camelCase for snake_case.
fn schema_name(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.len().min(1));
        name + &initial.to_ascii_uppercase() + rest
    })
}

/// The bytes of a datum that are still to be read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Number of bytes still to be read.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DatumError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(DatumError::new(format!(
                "needs {length} bytes, and {} are left",
                self.rest.len()
            )));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// An Avro long: zigzag, seven bits a byte, lowest first.
    pub(crate) fn long(&mut self) -> Result<i64, DatumError> {
        let mut bits = 0u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            let low = u64::from(byte & 0x7f);
            if index == 9 && low > 1 {
                return Err(DatumError::new("a number has more than 64 bits"));
            }
            bits |= low << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed());
            }
        }
        Err(if self.rest.len() < 10 {
            DatumError::new("a number is cut off")
        } else {
            DatumError::new("a number has more than 64 bits")
        })
    }

    /// A length or count: a long that is not negative and not more than the
    /// bytes that are left, so that nobody allocates on a lie.
    pub(crate) fn length(&mut self) -> Result<usize, DatumError> {
        let value = self.long()?;
        self.bounded(value)
    }

    /// `value` as a length, see [`Reader::length`].
    pub(crate) fn bounded(&self, value: i64) -> Result<usize, DatumError> {
        usize::try_from(value)
            .ok()
            .filter(|length| *length <= self.remaining())
            .ok_or_else(|| {
                DatumError::new(format!(
                    "a length of {value}, and {} bytes are left",
                    self.remaining()
                ))
            })
    }
}
