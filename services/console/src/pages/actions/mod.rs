//! What operators do: a page that shows what would be done and asks why, then the doing,
//! then a page that says what came of it, for each.

pub(super) mod letters;
pub(super) mod sagas;

use maud::{Markup, html};
use operations::parse;

use crate::fields::Fields;
use crate::problem::Problem;
use crate::security::Session;

/// The reason that a form gives.
fn reason(fields: &Fields) -> Result<String, Problem> {
    said(fields, "reason", "Say why")
}

fn said(fields: &Fields, name: &str, ask: &str) -> Result<String, Problem> {
    parse::words(fields.get(name).unwrap_or_default()).map_err(|why| {
        Problem::bad(format!(
            "Nothing was done. {ask}: {why}. Go back and try again."
        ))
    })
}

/// The field that asks why, and the secret of the session's pages.
fn why(operator: &Session) -> Markup {
    html! {
        input type="hidden" name="csrf" value=(operator.csrf);
        (words("reason", "Reason", &format!("kept in the history, beside your name, {}", operator.name)))
    }
}

/// A field for some words that have to be said.
fn words(name: &str, label: &str, help: &str) -> Markup {
    html! {
        p.field {
            label for=(name) { (label) }
            input id=(name) name=(name) required autocomplete="off"
                maxlength=(parse::TEXT_MAX_CHARS) aria-describedby={ (name) "-help" };
            span.quiet id={ (name) "-help" } { (help) }
        }
    }
}
