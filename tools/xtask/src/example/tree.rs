//! A copy of the workspace, in memory and on disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, bail, ensure};

/// What is no part of a copy.
const LEFT_OUT: &[&str] = &[".git", "target", "node_modules"];

/// Files by their paths from the root of the workspace.
pub(super) struct Tree(BTreeMap<String, Vec<u8>>);

impl Tree {
    /// The workspace as it is, without the example that is to be added.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn read(root: &Path, example: &str) -> anyhow::Result<Self> {
        let mut files = read_below(root, LEFT_OUT)?;
        let own = format!("examples/{example}/");
        files.retain(|path, _| !path.starts_with(&own));
        Ok(Self(files))
    }

    /// Gives the packages another version, or cargo would take a copy for the workspace
    /// itself and compile each anew whenever the other was compiled.
    ///
    /// # Errors
    /// The manifest is not as expected.
    pub(super) fn rename_versions(&mut self, name: &str) -> anyhow::Result<()> {
        let manifest = self.text("Cargo.toml")?;
        let (before, behind) = manifest
            .split_once("\n[workspace.package]\nversion = \"")
            .context("Cargo.toml has no [workspace.package] that begins with a version")?;
        let (version, rest) = behind.split_once('"').context("a version has an end")?;
        let renamed =
            format!("{before}\n[workspace.package]\nversion = \"{version}-{name}\"{rest}");
        self.0.insert("Cargo.toml".to_owned(), renamed.into_bytes());
        Ok(())
    }

    /// Adds files.
    pub(super) fn add<'a>(&mut self, files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>) {
        self.0
            .extend(files.map(|(path, bytes)| (path.clone(), bytes.clone())));
    }

    /// Applies an edit, a unified diff. Its place may have moved; what is around it may not
    /// have changed.
    ///
    /// # Errors
    /// It does not apply.
    pub(super) fn edit(&mut self, path: &str, edit: &str) -> anyhow::Result<()> {
        let patch = diffy::Patch::from_str(edit)
            .with_context(|| format!("the edit of {path} is no unified diff"))?;
        let text = self.text(path)?;
        let edited = diffy::apply(text, &patch)
            .with_context(|| format!("the edit of {path} does not apply to it any more"))?;
        ensure!(edited != text, "the edit of {path} changes nothing");
        self.0.insert(path.to_owned(), edited.into_bytes());
        Ok(())
    }

    fn text(&self, path: &str) -> anyhow::Result<&str> {
        let bytes = self
            .0
            .get(path)
            .with_context(|| format!("no file {path}"))?;
        std::str::from_utf8(bytes).with_context(|| format!("{path} is no text"))
    }

    /// Writes the files to a folder. What is the same already stays untouched, or cargo would
    /// compile it anew.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        for (path, bytes) in &self.0 {
            let file = folder.join(path);
            match fs::read(&file) {
                Ok(found) if found == *bytes => continue,
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    bail!("reading {}: {error}", file.display())
                }
                Ok(_) | Err(_) => {}
            }
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent)
                    .with_context(|| format!("making {}", parent.display()))?;
            }
            fs::write(&file, bytes).with_context(|| format!("writing {}", file.display()))?;
        }
        Ok(())
    }
}

/// The files below a folder, by their paths from it; but for entries of these names.
///
/// # Errors
/// A file cannot be read.
pub(super) fn read_below(
    folder: &Path,
    left_out: &[&str],
) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![String::new()];
    while let Some(inner) = folders.pop() {
        let path = folder.join(&inner);
        let entries = fs::read_dir(&path).with_context(|| format!("reading {}", path.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| !left_out.contains(name)) else {
                continue;
            };
            let at = format!("{inner}{name}");
            if entry.file_type()?.is_dir() {
                folders.push(format!("{at}/"));
            } else {
                let bytes = fs::read(entry.path()).with_context(|| format!("reading {at}"))?;
                files.insert(at, bytes);
            }
        }
    }
    Ok(files)
}
