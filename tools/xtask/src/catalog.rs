//! `docs/catalog`: the same system as an EventCatalog, a page for each part.
//!
//! - `messages`: commands and events.
//! - `places`: domains, services, databases, channels, teams.
//! - `things`: entities.
//! - `flow`: the flow of a checkout.
//!
//! Pages refer to each other by id and version. All have one version: the contracts grow
//! compatibly in both directions, so there is never a second.

mod flow;
mod messages;
mod places;
mod things;

use std::path::Path;

use serde_json::{Value, json};

use crate::files::Files;

/// The folders that hold generated files alone.
pub(crate) const FOLDERS: &[&str] = &[
    "docs/catalog/channels",
    "docs/catalog/containers",
    "docs/catalog/domains",
    "docs/catalog/flows",
    "docs/catalog/teams",
];

const VERSION: &str = "1.0.0";
/// The id of the one flow.
const FLOW: &str = "checkout";

/// Adds every page.
///
/// # Errors
/// A topic, service or schema is not described as it has to be, or a migration cannot be
/// read.
pub(crate) fn add_to(files: &mut Files, root: &Path) -> anyhow::Result<()> {
    messages::add_to(files)?;
    places::add_to(files, root)?;
    things::add_to(files)?;
    flow::add_to(files)
}

/// A page below `docs/catalog`.
fn add_page(
    files: &mut Files,
    folder: &str,
    frontmatter: &Value,
    body: &str,
) -> anyhow::Result<()> {
    let frontmatter = serde_saphyr::to_string(frontmatter)?;
    files.add(
        format!("docs/catalog/{folder}/index.mdx"),
        format!("---\n{frontmatter}---\n\n{body}\n"),
    );
    Ok(())
}

/// A reference to another page.
fn pointer(id: &str) -> Value {
    json!({ "id": id, "version": VERSION })
}

/// Text as it has to stand in a page, where `{` and `<` begin code.
fn escaped(text: &str) -> String {
    text.replace('{', "\\{").replace('<', "\\<")
}

/// The id of a service's database.
fn database_of(service: &str) -> String {
    format!("{service}-database")
}
