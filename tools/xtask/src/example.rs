//! The guide to a new step, followed to the letter: an example is new files in the places
//! where they go, and a patch of the files that are there. The guide names both, in order,
//! and quotes what the compiler says on the way.

mod guide;
mod overlay;
mod tree;

use std::env::consts::EXE_SUFFIX;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use guide::Item;
use overlay::Overlay;
use tree::Tree;

use crate::promtool;

/// The packages that the guide's quotes come from.
const QUOTED: [&str; 4] = ["-p", "contracts", "-p", "flow"];

/// What cargo runs in the copy when the guide was followed, one after the other.
const CHECKS: &[&str] = &[
    "clippy --workspace --all-targets -- -D warnings",
    "run --quiet --bin xtask -- generate",
    // What does not compile is tried in the workspace itself; so is the example, which the
    // copy does not have.
    "test --quiet -p contracts -p flow -p orchestrator -p loyalty -p audit -p operations \
     -p stack -p checkoutctl -p xtask --lib --bins --test it --test model \
     -- --skip a_step_that_lacks --skip example::tests",
    "build --quiet --workspace --bins --test loyalty --test it",
    // What holds files against the list of services, and needs no real parts.
    "test --quiet --workspace --test it -- compose:: errors:: observability:: \
     --skip observability::live",
    "test --quiet --workspace --test loyalty",
];

/// The review of the steps, by the program that was built for it.
const REVIEW: &str = "checkoutctl flow check --docs docs";

/// Follows the guide on a copy of the workspace, holds what the compiler says against the
/// quotes, and runs lints and tests.
///
/// # Errors
/// The guide and the example differ, an edit does not apply, or a check fails.
pub(crate) fn run(root: &Path, name: &str) -> anyhow::Result<()> {
    let root = &root.canonicalize()?;
    let overlay = Overlay::read(root, name)?;
    let items = guide::read(root)?;
    let place = Place::new(root, name);
    let mut tree = Tree::read(root, name)?;
    tree.rename_versions(name)?;
    place.clear()?;
    for item in &items {
        match item {
            Item::New(path) => tree.add(overlay.below(path)),
            Item::Edit(path) => tree.edit(path, overlay.edit(path)?)?,
            Item::Says(text) => {
                tree.write(&place.workspace)?;
                place.says(text)?;
            }
        }
    }
    tree.write(&place.workspace)?;
    if promtool::is_there() {
        promtool::check(&place.workspace)?;
    } else {
        println!("no promtool here: the alerts of the further service are not tested");
    }
    for arguments in CHECKS {
        let mut cargo = place.cargo();
        cargo.args(arguments.split_whitespace());
        place.run(&mut cargo, &format!("cargo {arguments}"))?;
    }
    place.run(&mut place.program(REVIEW), REVIEW)?;
    println!("the guide leads to a step that works");
    Ok(())
}

/// Where an example is put together and built.
struct Place {
    workspace: PathBuf,
    /// Its programs: apart from those of the real workspace.
    programs: PathBuf,
    /// What is compiled on the way: shared, so that dependencies are compiled once.
    build: PathBuf,
}

impl Place {
    fn new(root: &Path, name: &str) -> Self {
        let build = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |folder| root.join(folder));
        let own = build.join("examples").join(name);
        Self {
            workspace: own.join("workspace"),
            programs: own.join("target"),
            build,
        }
    }

    /// Removes what a former run left: cargo was seen to take files that are put back to
    /// what they were before it for compiled.
    fn clear(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.workspace) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.workspace.display()))
            }
            _ => Ok(()),
        }
    }

    fn cargo(&self) -> Command {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut cargo = Command::new(program);
        cargo
            .current_dir(&self.workspace)
            .env("CARGO_TARGET_DIR", &self.programs)
            .env("CARGO_BUILD_BUILD_DIR", &self.build)
            .env("STACK_BIN_DIR", self.programs.join("debug"));
        // Set by `cargo run` for this program alone.
        for (name, _) in std::env::vars_os() {
            let of_this_program = name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
            });
            if of_this_program {
                cargo.env_remove(name);
            }
        }
        cargo
    }

    /// A program of the copy, with its arguments.
    fn program(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let folder = self.programs.join("debug");
        let mut program = Command::new(folder.join(format!("{name}{EXE_SUFFIX}")));
        program.args(words);
        program
    }

    /// Runs a command in the copy.
    fn run(&self, command: &mut Command, line: &str) -> anyhow::Result<()> {
        println!("{line}");
        let status = command
            .current_dir(&self.workspace)
            .status()
            .with_context(|| format!("{line} cannot be run"))?;
        ensure!(
            status.success(),
            "in {}, {line} failed ({status})",
            self.workspace.display()
        );
        Ok(())
    }

    /// Whether the compiler says this now.
    fn says(&self, text: &str) -> anyhow::Result<()> {
        println!("cargo check says: {text}");
        let mut cargo = self.cargo();
        let output = cargo
            .args(["check", "--quiet"])
            .args(QUOTED)
            .output()
            .context("cargo cannot be run")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && guide::is_said(text, &said) {
            return Ok(());
        }
        bail!(
            "docs/adding-a-step.md quotes {text:?}; in {}, cargo check ends with {} and says:\n{said}",
            self.workspace.display(),
            output.status
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const EXAMPLE: &str = "loyalty";

    fn root() -> PathBuf {
        crate::root().canonicalize().unwrap()
    }

    #[test]
    fn the_guide_names_just_the_files_that_the_example_edits_in_its_order() {
        let overlay = Overlay::read(&root(), EXAMPLE).unwrap();
        let items = guide::read(&root()).unwrap();
        let named: Vec<_> = items
            .iter()
            .filter_map(|item| match item {
                Item::Edit(path) => Some(path.as_str()),
                Item::New(_) | Item::Says(_) => None,
            })
            .collect();
        assert_eq!(named, overlay.edited());
    }

    #[test]
    fn the_guide_names_just_the_files_that_the_example_adds() {
        let overlay = Overlay::read(&root(), EXAMPLE).unwrap();
        let mut added = BTreeSet::new();
        for item in guide::read(&root()).unwrap() {
            let Item::New(path) = item else {
                continue;
            };
            let here: Vec<_> = overlay.below(&path).map(|(path, _)| path.clone()).collect();
            assert!(!here.is_empty(), "the example adds nothing at {path}");
            for path in here {
                assert!(added.insert(path.clone()), "{path} is added twice");
                assert!(!root().join(&path).exists(), "{path} is there already");
            }
        }
        assert_eq!(added, overlay.added());
    }

    #[test]
    fn the_edits_of_the_example_apply_to_the_files_as_they_are() {
        let overlay = Overlay::read(&root(), EXAMPLE).unwrap();
        let mut tree = Tree::read(&root(), EXAMPLE).unwrap();
        for path in overlay.edited() {
            tree.edit(path, overlay.edit(path).unwrap()).unwrap();
        }
        tree.rename_versions(EXAMPLE).unwrap();
    }

    /// Of what the guide says to run, all but what needs the real parts.
    #[test]
    fn what_the_guide_says_to_run_is_run() {
        let guide = fs::read_to_string(root().join("docs/adding-a-step.md")).unwrap();
        let lines: Vec<_> = guide
            .lines()
            .filter(|line| line.starts_with("cargo test -p contracts "))
            .collect();
        let [line] = lines[..] else {
            panic!("one such line: {lines:?}");
        };
        let packages = line.split(" -p ").skip(1);
        let test = CHECKS.iter().find(|check| check.contains(" -p contracts "));
        let test = test.unwrap();
        for package in packages {
            assert!(test.contains(&format!(" -p {package} ")), "{package}");
        }
        assert!(guide.contains(REVIEW));
    }

    #[test]
    fn the_gate_follows_the_guide() {
        let gate = fs::read_to_string(root().join(".ci/run")).unwrap();
        assert!(
            gate.lines()
                .any(|line| line.starts_with("cargo xtask example loyalty"))
        );
    }
}
