//! What docs/adding-a-step.md says to do.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

const GUIDE: &str = "docs/adding-a-step.md";

/// One thing to do, or to see.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// Add a file, or a folder of files: a line `- **New:** `path``.
    New(String),
    /// Edit a file that is there: a line `- **Edit:** `path``.
    Edit(String),
    /// What the compiler then says: a quotation.
    Says(String),
}

/// All of it, in order.
///
/// # Errors
/// The guide cannot be read, or says nothing.
pub(super) fn read(root: &Path) -> anyhow::Result<Vec<Item>> {
    let text = fs::read_to_string(root.join(GUIDE)).with_context(|| format!("reading {GUIDE}"))?;
    let items = items(&text);
    ensure!(!items.is_empty(), "{GUIDE} names no file");
    Ok(items)
}

fn items(text: &str) -> Vec<Item> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            let path = |start| Some(line.strip_prefix(start)?.split_once('`')?.0.to_owned());
            path("- **New:** `")
                .map(Item::New)
                .or_else(|| path("- **Edit:** `").map(Item::Edit))
                .or_else(|| Some(Item::Says(line.strip_prefix("> ")?.to_owned())))
        })
        .collect()
}

/// Whether a quotation is in a text: its parts between dots (`…`), one after the other,
/// whatever the white space.
pub(super) fn is_said(quotation: &str, text: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = plain(text);
    let mut rest = text.as_str();
    quotation.split('…').map(plain).all(|part| {
        let Some((_, behind)) = rest.split_once(part.as_str()) else {
            return false;
        };
        rest = behind;
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_in_their_order() {
        let text = "# Guide\n\n1. First:\n   - **New:** `a/b` with words\n   > error: …no `c`\n\n\
                    - **Edit:** `d.rs`: a line\n- `e.rs` is only mentioned\n";
        let expected = [
            Item::New("a/b".to_owned()),
            Item::Says("error: …no `c`".to_owned()),
            Item::Edit("d.rs".to_owned()),
        ];
        assert_eq!(items(text), expected);
    }

    #[test]
    fn a_quotation_may_leave_parts_out_but_not_change_their_order() {
        let said = "error[E0583]: file not found\n  for module `loyalty`";
        assert!(is_said("file not found for module", said));
        assert!(is_said("error… module `loyalty`", said));
        assert!(!is_said("module … error", said));
        assert!(!is_said("file not found for crate", said));
    }
}
