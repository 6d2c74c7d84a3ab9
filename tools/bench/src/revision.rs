//! Which revision of the repository is measured.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::process::Command;

/// Of a commit's name, as many characters as people need.
const SHORT: usize = 12;

/// The revision of the working tree, with `+dirty` where it has other content; `None`
/// where that is not known, as without git.
pub(crate) async fn here() -> Option<String> {
    let root = stack::workspace();
    let commit = git(&root, &["rev-parse", "HEAD"]).await.ok()?;
    let changes = git(&root, &["status", "--porcelain"]).await.ok()?;
    Some(named(&commit, !changes.is_empty()))
}

fn named(commit: &str, is_dirty: bool) -> String {
    let short = commit.get(..SHORT).unwrap_or(commit);
    format!("{short}{}", if is_dirty { "+dirty" } else { "" })
}

pub(crate) async fn git(root: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let mut git = Command::new("git");
    git.current_dir(root).args(arguments);
    run(git).await
}

/// Runs a command; what it prints is in the error when it fails.
pub(crate) async fn run(mut command: Command) -> anyhow::Result<String> {
    let shown = format!("{:?}", command.as_std());
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{shown} cannot be run"))?;
    if !output.status.success() {
        bail!(
            "{shown} failed ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_says_whether_it_is_all() {
        let commit = "2fe0826b81c04a3e5d6f7a8b9c0d1e2f3a4b5c6d";
        assert_eq!(named(commit, false), "2fe0826b81c0");
        assert_eq!(named(commit, true), "2fe0826b81c0+dirty");
    }
}
