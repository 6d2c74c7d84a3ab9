//! The programs of this workspace: builds them once and finds them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::command;
use crate::error::{Error, Result};
use crate::progress::{Progress, Task};
use crate::services::Service;

/// Compiling everything from nothing on a slow machine.
const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Binaries {
    folder: PathBuf,
}

impl Binaries {
    /// Those in `folder`, whatever is in there.
    pub(crate) fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The stack tool itself.
    pub fn stack(&self) -> PathBuf {
        self.folder.join(program("stack"))
    }

    /// A service.
    pub fn service(&self, service: Service) -> PathBuf {
        self.folder.join(program(service.name()))
    }

    /// Any other program of the workspace.
    pub fn named(&self, name: &str) -> PathBuf {
        self.folder.join(program(name))
    }
}

fn program(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// The programs, built now, once in the life of this process, in the profile
/// and target folder that the running program was built in. With
/// `STACK_BIN_DIR` set nothing is built and they are taken from there.
///
/// # Errors
/// When the build fails, or the program runs from outside a target folder.
pub async fn binaries(progress: &Progress) -> Result<Binaries> {
    static BUILT: OnceCell<Binaries> = OnceCell::const_new();
    BUILT.get_or_try_init(|| build(progress)).await.cloned()
}

async fn build(progress: &Progress) -> Result<Binaries> {
    if let Some(folder) = std::env::var_os("STACK_BIN_DIR").filter(|dir| !dir.is_empty()) {
        return existing(PathBuf::from(folder));
    }
    let target = Target::of_this_program()?;
    let task = progress.task("build");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .args(["build", "--workspace", "--bins"])
        .args(target.arguments())
        .env("CARGO_TERM_PROGRESS_WHEN", "always")
        .env("CARGO_TERM_PROGRESS_WIDTH", "100");
    // What cargo sets for the program it runs would reach build scripts, which
    // would take it for a change and compile again.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_set_by_cargo_run) {
            cargo.env_remove(name);
        }
    }
    let begin = std::time::Instant::now();
    command::run(cargo, BUILD_LIMIT, |piece| follow(&task, piece)).await?;
    let binaries = existing(target.programs())?;
    // Nothing to say about a build that had nothing to do.
    if begin.elapsed() > Duration::from_secs(2) {
        task.done("services and tools");
    }
    Ok(binaries)
}

fn existing(folder: PathBuf) -> Result<Binaries> {
    let binaries = Binaries::in_folder(folder);
    let needed = Service::ALL
        .iter()
        .map(|service| binaries.service(*service));
    for path in needed.chain([binaries.stack()]) {
        if !path.is_file() {
            return Err(Error::Invalid(format!(
                "{} is not there: build it with `cargo build --workspace --bins`",
                path.display()
            )));
        }
    }
    Ok(binaries)
}

/// "Building [===>  ] 12/345: tokio, serde" and "Compiling tokio v1.2.3".
fn follow(task: &Task, piece: &str) {
    let piece = piece.trim();
    if let Some((_, counts)) = piece
        .strip_prefix("Building [")
        .and_then(|p| p.split_once("] "))
    {
        task.update(counts.to_owned());
    } else if piece.starts_with("Compiling ") || piece.starts_with("Blocking ") {
        task.update(piece.to_owned());
    }
}

fn is_set_by_cargo_run(name: &str) -> bool {
    const EXACT: [&str; 6] = [
        "CARGO_CRATE_NAME",
        "CARGO_BIN_NAME",
        "CARGO_PRIMARY_PACKAGE",
        "CARGO_TARGET_TMPDIR",
        "OUT_DIR",
        "TARGET",
    ];
    EXACT.contains(&name)
        || ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// The workspace's root folder, as it was when this program was built.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Where and how the running program was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The target folder.
    pub(crate) folder: PathBuf,
    /// The platform compiled for, when it was named.
    triple: Option<String>,
    /// The folder's name for the profile: "debug", "release", ...
    profile: String,
    /// Whether the running program is a test.
    is_test: bool,
    /// The example that the running program is.
    example: Option<String>,
}

impl Target {
    pub(crate) fn of_this_program() -> Result<Self> {
        let program =
            std::env::current_exe().map_err(Error::io("cannot find the running program"))?;
        Self::of(&program, &|folder| folder.join("CACHEDIR.TAG").exists()).ok_or_else(|| {
            Error::Invalid(format!(
                "{} was not started from cargo's target folder; set STACK_BIN_DIR to the folder \
                 of the programs and STACK_CACHE_DIR to one for the parts",
                program.display()
            ))
        })
    }

    /// From a path like TARGET/[TRIPLE/]PROFILE/[deps/]PROGRAM, where cargo
    /// has marked TARGET.
    fn of(program: &Path, is_target: &dyn Fn(&Path) -> bool) -> Option<Self> {
        let mut profile = program.parent()?;
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        let is_test = profile.ends_with("deps");
        let is_example = profile.ends_with("examples");
        if is_test || is_example {
            profile = profile.parent()?;
        }
        let example = is_example.then(|| program.file_stem()?.to_str().map(str::to_owned));
        let above = profile.parent()?;
        let (folder, triple) = if is_target(above) {
            (above, None)
        } else {
            let target = above.parent().filter(|folder| is_target(folder))?;
            (target, Some(name(above)?))
        };
        Some(Self {
            folder: folder.to_path_buf(),
            triple,
            profile: name(profile)?,
            is_test,
            example: example.flatten(),
        })
    }

    /// The arguments that make cargo build into the same place.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--target-dir".into(), self.folder.display().to_string()];
        let profile = match self.profile.as_str() {
            "debug" => "dev",
            other => other,
        };
        arguments.extend(["--profile".into(), profile.into()]);
        if let Some(triple) = &self.triple {
            arguments.extend(["--target".into(), triple.clone()]);
        }
        if self.is_test {
            // The tests are built already. Naming them makes cargo choose the
            // features of dependencies as it did for them; otherwise it would
            // compile half of the dependencies once more.
            arguments.extend(["--test".into(), "*".into()]);
        }
        if let Some(example) = &self.example {
            // Likewise: examples are built with what tests need.
            arguments.extend(["--example".into(), example.clone()]);
        }
        arguments
    }

    /// The folder of the programs.
    fn programs(&self) -> PathBuf {
        let mut folder = self.folder.clone();
        folder.extend(&self.triple);
        folder.join(&self.profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(program: &str) -> Option<Target> {
        Target::of(Path::new(program), &|folder| folder.ends_with("target"))
    }

    #[test]
    fn a_program_tells_how_it_was_built() {
        let plain = target_of("/a/target/debug/stack").unwrap();
        let arguments = ["--target-dir", "/a/target", "--profile", "dev"];
        assert_eq!(plain.arguments(), arguments);
        let test = target_of("/a/target/debug/deps/it-0123").unwrap();
        assert_eq!(test.arguments()[..4], arguments);
        assert_eq!(test.arguments()[4..], ["--test", "*"]);
        let example = target_of("/a/target/debug/examples/chaos").unwrap();
        assert_eq!(example.arguments()[..4], arguments);
        assert_eq!(example.arguments()[4..], ["--example", "chaos"]);
        assert_eq!(plain.programs(), Path::new("/a/target/debug"));
        assert_eq!(example.programs(), plain.programs());

        let cross = target_of("/a/target/aarch64-apple-darwin/release/demo").unwrap();
        assert_eq!(
            cross.programs(),
            Path::new("/a/target/aarch64-apple-darwin/release")
        );
        assert!(cross.arguments().ends_with(&[
            "--profile".into(),
            "release".into(),
            "--target".into(),
            "aarch64-apple-darwin".into()
        ]));
    }

    #[test]
    fn a_program_elsewhere_was_not_built_by_cargo() {
        assert_eq!(target_of("/usr/local/bin/stack"), None);
    }

    #[test]
    fn the_workspace_is_found() {
        assert!(workspace().join("tools/stack/Cargo.toml").exists());
    }
}
