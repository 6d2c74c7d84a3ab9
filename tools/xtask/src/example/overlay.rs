//! An example: `files/`, new files in the places where they go, and `edits.patch`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::tree::read_below;

/// What an example adds and edits, by paths from the root of the workspace.
pub(super) struct Overlay {
    files: BTreeMap<String, Vec<u8>>,
    /// Unified diffs, in the order of the patch.
    edits: Vec<(String, String)>,
}

impl Overlay {
    /// The example of this name.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub(super) fn read(root: &Path, name: &str) -> anyhow::Result<Self> {
        let folder = root.join("examples").join(name);
        let patch = folder.join("edits.patch");
        let patch = fs::read_to_string(&patch)
            .with_context(|| format!("{} is no example: reading {}", name, patch.display()))?;
        Ok(Self {
            files: read_below(&folder.join("files"), &[])?,
            edits: split(&patch),
        })
    }

    /// The new files at a path, or below it.
    pub(super) fn below<'a>(
        &'a self,
        path: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a Vec<u8>)> {
        let is_there = move |file: &str| {
            file.strip_prefix(path.trim_end_matches('/'))
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.files.iter().filter(move |(file, _)| is_there(file))
    }

    /// The edit of a file.
    ///
    /// # Errors
    /// The example does not edit it.
    pub(super) fn edit(&self, path: &str) -> anyhow::Result<&str> {
        self.edits
            .iter()
            .find(|(edited, _)| edited == path)
            .map(|(_, edit)| edit.as_str())
            .with_context(|| format!("edits.patch has no edit of {path}"))
    }

    /// The files that are edited, in the order of the patch.
    #[cfg(test)]
    pub(super) fn edited(&self) -> Vec<&str> {
        self.edits.iter().map(|(path, _)| path.as_str()).collect()
    }

    /// The files that are new.
    #[cfg(test)]
    pub(super) fn added(&self) -> std::collections::BTreeSet<String> {
        self.files.keys().cloned().collect()
    }
}

/// The parts of a patch by the files that they edit.
fn split(patch: &str) -> Vec<(String, String)> {
    let mut edits: Vec<(String, String)> = Vec::new();
    for line in patch.lines() {
        if let Some(path) = line.strip_prefix("--- a/") {
            edits.push((path.to_owned(), String::new()));
        }
        if let Some((_, edit)) = edits.last_mut() {
            edit.push_str(line);
            edit.push('\n');
        }
    }
    edits
}
