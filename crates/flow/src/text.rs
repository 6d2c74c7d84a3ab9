//! Text that came from outside, made fit to be stored and published.

/// The longest text of foreign origin that is kept, in characters.
const MAX_CHARS: usize = 500;

/// The text with control characters replaced and its length bounded.
/// PostgreSQL's text cannot hold U+0000, and logs should not hold line breaks.
pub(crate) fn clean(text: &str) -> String {
    clean_to(text, MAX_CHARS)
}

/// As [`clean`], but of at most `max_chars` characters.
pub(crate) fn clean_to(text: &str, max_chars: usize) -> String {
    text.chars()
        .take(max_chars)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_bounded_and_without_control_characters() {
        assert_eq!(clean("a\0b\nc"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(clean(&"é".repeat(600)).chars().count(), MAX_CHARS);
    }
}
