//! The checks that need Node: each format is judged by its own tools, whose versions are
//! pinned in `npm/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// What is checked.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also builds the catalog's site, in target/npm/site. Needs Node 22.12 or newer;
    /// takes minutes, and more than a gigabyte.
    #[arg(long)]
    build: bool,
}

/// Runs the checks, one after the other.
///
/// # Errors
/// Node or npm is missing, a package cannot be installed, or a check fails.
pub(crate) fn check(root: &Path, options: &Options) -> anyhow::Result<()> {
    let root = &fs::canonicalize(root)?;
    let tools = install(root, "checks")?;
    println!("docs/asyncapi.yaml, by @asyncapi/parser");
    run(Command::new("node")
        .arg(tools.join("asyncapi.mjs"))
        .arg(root.join("docs/asyncapi.yaml")))?;
    println!("docs/catalog, by @eventcatalog/linter");
    run(Command::new("node")
        .arg(tools.join("node_modules/@eventcatalog/linter/dist/cli/index.js"))
        .arg("--fail-on-warning")
        .arg(root.join("docs/catalog")))?;
    if options.build {
        println!("docs/catalog, built by @eventcatalog/core");
        build(root)?;
    }
    Ok(())
}

/// The site is built from a copy: the builder writes into the folder that it reads.
fn build(root: &Path) -> anyhow::Result<()> {
    let site = install(root, "site")?;
    copy(&root.join("docs/catalog"), &site)?;
    run(Command::new("npx")
        .current_dir(&site)
        .env("ASTRO_TELEMETRY_DISABLED", "1")
        .args(["--no-install", "eventcatalog", "build"]))
}

/// Installs the packages of `npm/<name>` below target/, just those that its lock file
/// names, and gives the folder.
fn install(root: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let source = root.join("tools/xtask/npm").join(name);
    let folder = root.join("target/npm").join(name);
    copy(&source, &folder)?;
    run(Command::new("npm").current_dir(&folder).args([
        "ci",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--loglevel=error",
    ]))?;
    Ok(folder)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .status()
        .with_context(|| format!("{program} cannot be run; install Node 20 or newer, with npm"))?;
    if !status.success() {
        bail!("{program} failed ({status}); what it says is above");
    }
    Ok(())
}

/// Copies a folder, and everything below it, over another.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("writing {}", target.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_locked_by_its_content_wherever_it_comes_from() {
        let npm = crate::root().join("tools/xtask/npm");
        let mut folders = 0;
        for entry in fs::read_dir(npm).unwrap() {
            let path = entry.unwrap().path().join("package-lock.json");
            let lock = fs::read_to_string(&path).unwrap();
            let lock: serde_json::Value = serde_json::from_str(&lock).unwrap();
            for (name, package) in lock["packages"].as_object().unwrap() {
                let own = name.is_empty() || package["inBundle"] == true;
                assert!(own || package["integrity"].is_string(), "{name}");
                assert!(package.get("resolved").is_none(), "{name} names a host");
            }
            folders += 1;
        }
        assert_eq!(folders, 2);
    }
}
