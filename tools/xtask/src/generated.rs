//! All files that are generated.

use std::path::Path;

use crate::files::Files;
use crate::{asyncapi, catalog};

/// The files as they should be.
///
/// # Errors
/// Something that they are made of is missing, or is not described in `system.rs`.
pub(crate) fn all(root: &Path) -> anyhow::Result<Files> {
    let mut files = Files::new(catalog::FOLDERS);
    files.add("docs/flow.md", flow::docs::flow_page()?);
    files.add("docs/asyncapi.yaml", asyncapi::document()?);
    catalog::add_to(&mut files, root)?;
    Ok(files)
}
