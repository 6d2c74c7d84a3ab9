//! What goes to standard output.

use std::io::{IsTerminal, Write};

use serde::Serialize;

/// Text, with its colours only where a terminal shows them and NO_COLOR is not set.
pub(crate) fn text(text: &str) {
    // A reader such as `head` that has enough is none of our trouble.
    let _ = write!(anstream::stdout(), "{text}");
}

/// A line of text.
pub(crate) fn line(line: &str) {
    text(&format!("{line}\n"));
}

/// One JSON value on a line of its own.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string(value)?);
    Ok(())
}

/// Text in place of what was printed before, on a terminal; else below it.
pub(crate) fn page(page: &str) {
    if std::io::stdout().is_terminal() {
        text("\x1b[H\x1b[2J");
    }
    text(page);
}
