//! W3C trace context, as it travels in the `traceparent` header.

use std::fmt;

use uuid::Uuid;

/// One span of a distributed trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Identity of the whole trace; never all zero.
    pub trace_id: [u8; 16],
    /// Identity of the span; never all zero.
    pub span_id: [u8; 8],
    /// Trace flags; bit 0 means sampled.
    pub flags: u8,
}

impl TraceContext {
    /// Bit of [`TraceContext::flags`] that says the trace is recorded.
    pub const SAMPLED: u8 = 1;

    /// Reads a `traceparent` header; none if it is not a valid one.
    ///
    /// Versions newer than 00 are read as far as 00 goes, as the
    /// recommendation asks.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let [version] = hex::<1>(parts.next()?)?;
        let trace_id = hex::<16>(parts.next()?)?;
        let span_id = hex::<8>(parts.next()?)?;
        let [flags] = hex::<1>(parts.next()?)?;
        let valid = version != 0xff
            && (version != 0 || parts.next().is_none())
            && trace_id != [0; 16]
            && span_id != [0; 8];
        valid.then_some(Self {
            trace_id,
            span_id,
            flags,
        })
    }

    /// A new trace with a random identity, sampled.
    pub fn new_root() -> Self {
        Self {
            trace_id: random(),
            span_id: random_span(),
            flags: Self::SAMPLED,
        }
    }

    /// A new span with a random identity in the same trace.
    pub fn child(&self) -> Self {
        Self {
            span_id: random_span(),
            ..*self
        }
    }

    /// Whether the trace is recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & Self::SAMPLED != 0
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            u128::from_be_bytes(self.trace_id),
            u64::from_be_bytes(self.span_id),
            self.flags
        )
    }
}

/// 16 random bytes; a version 4 UUID has six bits that are fixed and not zero.
fn random() -> [u8; 16] {
    Uuid::new_v4().into_bytes()
}

fn random_span() -> [u8; 8] {
    // The last eight bytes hold the UUID's variant bits, so they are not zero.
    let [.., a, b, c, d, e, f, g, h] = random();
    [a, b, c, d, e, f, g, h]
}

/// Lower-case hexadecimal digits for exactly `N` bytes.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_survives_parsing_and_printing() {
        let trace = TraceContext::parse(EXAMPLE).unwrap();
        assert_eq!(trace.to_string(), EXAMPLE);
        assert!(trace.is_sampled());
        let root = TraceContext::new_root();
        assert_eq!(TraceContext::parse(&root.to_string()), Some(root));
    }

    #[test]
    fn a_child_stays_in_its_trace() {
        let root = TraceContext::parse(EXAMPLE).unwrap();
        let child = root.child();
        assert_eq!(child.trace_id, root.trace_id);
        assert_ne!(child.span_id, root.span_id);
        assert_eq!(child.flags, root.flags);
    }

    #[test]
    fn what_is_no_trace_context_is_refused() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473ö-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_newer_version_is_read_as_far_as_it_is_known() {
        let newer = EXAMPLE.replacen("00", "cc", 1) + "-more";
        assert_eq!(TraceContext::parse(&newer), TraceContext::parse(EXAMPLE));
    }
}
