//! `cargo xtask`: what is generated from the flow and its contracts.
//!
//! `generate` writes `docs/flow.md`, `docs/asyncapi.yaml` and the catalog in
//! `docs/catalog`; `check` compares, and so does a test. `npm-checks` has the tools of
//! those formats judge them. `example` follows docs/adding-a-step.md.
//!
//! - `generated`: all files that are generated.
//! - `files`: how they are written, and compared with those that are there.
//! - `system`: who is who: domains, teams, services, and what flows between them.
//! - `schema`: what is read from the text of a schema.
//! - `asyncapi`, `catalog`: the documents.
//! - `example`: the guide to a new step, followed on a copy of the workspace.
//! - `npm`, `promtool`: checks by the tools of each format.

#![allow(
    clippy::print_stdout,
    reason = "what was written or found is this command's output"
)]

mod asyncapi;
mod catalog;
mod example;
mod files;
mod generated;
mod npm;
mod promtool;
mod schema;
mod system;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use clap::{Parser, Subcommand};

/// Generates and checks the pages and documents about the flow and its contracts.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Writes every generated file, and removes those that are generated no more.
    Generate,
    /// Says which generated files are not what would be generated. Writes nothing.
    Check,
    /// Has the AsyncAPI parser and the EventCatalog linter judge what is generated.
    ///
    /// Needs Node 20 or newer and npm; the packages are installed below target/.
    NpmChecks(npm::Options),
    /// Follows docs/adding-a-step.md with an example of examples/, on a copy of the
    /// workspace below target/, and runs its lints and tests, on the real parts too, and
    /// where promtool is there those of its alerts.
    Example {
        /// The folder of the example.
        #[arg(default_value = "loyalty")]
        name: String,
    },
    /// Has promtool check the alerts of observability/ and run their tests.
    ///
    /// Needs promtool, which comes with Prometheus.
    PromtoolChecks,
}

fn main() -> ExitCode {
    match run(&Args::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> anyhow::Result<()> {
    let root = root();
    match task {
        Task::Generate => {
            for line in generated::all(&root)?.write(&root)? {
                println!("{line}");
            }
        }
        Task::Check => {
            let stale = generated::all(&root)?.stale(&root)?;
            if !stale.is_empty() {
                bail!("{}\nrun: cargo xtask generate", stale.join("\n"));
            }
        }
        Task::NpmChecks(options) => npm::check(&root, options)?,
        Task::Example { name } => example::run(&root, name)?,
        Task::PromtoolChecks => promtool::check(&root)?,
    }
    Ok(())
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_generated_is_up_to_date() {
        let root = root();
        let stale = generated::all(&root).unwrap().stale(&root).unwrap();
        assert!(
            stale.is_empty(),
            "{}\nrun: cargo xtask generate",
            stale.join("\n")
        );
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Args::command().debug_assert();
    }
}
