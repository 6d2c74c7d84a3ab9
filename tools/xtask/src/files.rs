//! Generated files: written, or compared with those that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;

/// Files by their paths from the root of the workspace, and the folders that hold nothing
/// else.
pub(crate) struct Files {
    folders: &'static [&'static str],
    texts: BTreeMap<String, String>,
}

impl Files {
    /// No files yet. Whatever lies in `folders` and is not added is taken for a file of
    /// the past.
    pub(crate) fn new(folders: &'static [&'static str]) -> Self {
        Self {
            folders,
            texts: BTreeMap::new(),
        }
    }

    /// Adds a file.
    pub(crate) fn add(&mut self, path: impl Into<String>, text: String) {
        let path = path.into();
        assert!(
            self.texts.insert(path.clone(), text).is_none(),
            "{path} is generated twice"
        );
    }

    /// Says what differs from the files below `root`, a line for each.
    ///
    /// # Errors
    /// A folder or file cannot be read.
    pub(crate) fn stale(&self, root: &Path) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        for (path, text) in &self.texts {
            match read(&root.join(path))? {
                None => lines.push(format!("{path} is missing")),
                Some(found) if found != *text => lines.push(format!("{path} is out of date")),
                Some(_) => {}
            }
        }
        for path in self.left_over(root)? {
            lines.push(format!("{path} is not generated any more"));
        }
        Ok(lines)
    }

    /// Writes what differs, removes what is left over, and says so, a line for each.
    ///
    /// # Errors
    /// A folder or file cannot be read or written.
    pub(crate) fn write(&self, root: &Path) -> anyhow::Result<Vec<String>> {
        let mut lines = Vec::new();
        for (path, text) in &self.texts {
            let target = root.join(path);
            if read(&target)?.as_ref() == Some(text) {
                continue;
            }
            if let Some(folder) = target.parent() {
                fs::create_dir_all(folder)
                    .with_context(|| format!("making a folder for {path}"))?;
            }
            fs::write(&target, text).with_context(|| format!("writing {path}"))?;
            lines.push(format!("wrote {path}"));
        }
        for path in self.left_over(root)? {
            fs::remove_file(root.join(&path)).with_context(|| format!("removing {path}"))?;
            lines.push(format!("removed {path}"));
        }
        Ok(lines)
    }

    fn left_over(&self, root: &Path) -> anyhow::Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for folder in self.folders {
            list(root, folder, &mut found).with_context(|| format!("reading {folder}"))?;
        }
        found.retain(|path| !self.texts.contains_key(path));
        Ok(found)
    }
}

fn read(path: &Path) -> anyhow::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// The files below a folder; none where there is no folder.
fn list(root: &Path, folder: &str, found: &mut BTreeSet<String>) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(root, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_and_written_and_nothing_else_is_touched() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("own/old")).unwrap();
        for (path, text) in [
            ("own/same", "1"),
            ("own/changed", "1"),
            ("own/old/page", "1"),
            ("other", "1"),
        ] {
            fs::write(root.join(path), text).unwrap();
        }
        let mut files = Files::new(&["own", "none"]);
        files.add("own/same", "1".to_owned());
        files.add("own/changed", "2".to_owned());
        files.add("own/new/page", "2".to_owned());

        assert_eq!(
            files.stale(root).unwrap(),
            [
                "own/changed is out of date",
                "own/new/page is missing",
                "own/old/page is not generated any more",
            ]
        );
        let written = files.write(root).unwrap();
        assert_eq!(
            written,
            [
                "wrote own/changed",
                "wrote own/new/page",
                "removed own/old/page"
            ]
        );
        assert!(files.stale(root).unwrap().is_empty());
        assert!(files.write(root).unwrap().is_empty());
        assert!(root.join("other").exists());
    }
}
