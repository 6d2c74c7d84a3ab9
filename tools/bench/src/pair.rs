//! Another revision of the repository: its services, built beside ours.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use stack::{Progress, Service};
use tokio::process::Command;

use crate::revision::{git, run};
use crate::side::Variant;

/// Where it is checked out and its programs are kept, in the target folder.
const FOLDER: &str = "bench-saga/pairs";

/// Checks a revision out and builds its services as the running program was built;
/// nothing is done again for a revision that was built before.
///
/// Dependencies are shared with our own build: both use one target folder.
pub(crate) async fn build(revision: &str, progress: &Progress) -> anyhow::Result<Variant> {
    let root = stack::workspace();
    let commit = git(
        &root,
        &["rev-parse", "--verify", &format!("{revision}^{{commit}}")],
    )
    .await
    .with_context(|| format!("{revision} is no revision of this repository"))?;
    let short = commit.get(..12).unwrap_or(&commit).to_owned();
    let (target, profile) = target()?;
    let programs = target.join(FOLDER).join(format!("{short}-programs"));
    let variant = Variant {
        label: format!("{revision} ({short})"),
        environment: Vec::new(),
        programs: Some(programs.clone()),
    };
    if Service::ALL
        .iter()
        .all(|service| programs.join(service.name()).is_file())
    {
        return Ok(variant);
    }
    let task = progress.task(format!("build of {short}"));
    let tree = target.join(FOLDER).join(&short);
    if !tree.join("Cargo.toml").is_file() {
        let path = tree.display().to_string();
        git(&root, &["worktree", "prune"]).await?;
        git(&root, &["worktree", "add", "--detach", &path, &commit]).await?;
    }
    let built = compile(&tree, &target, &profile, &programs).await;
    let path = tree.display().to_string();
    git(&root, &["worktree", "remove", "--force", &path]).await?;
    built.with_context(|| format!("{revision} cannot be built"))?;
    task.done("services");
    Ok(variant)
}

async fn compile(tree: &Path, target: &Path, profile: &str, programs: &Path) -> anyhow::Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(tree)
        .args(["build", "--quiet", "--workspace", "--profile", profile])
        .arg("--target-dir")
        .arg(target);
    for service in Service::ALL {
        cargo.args(["--bin", service.name()]);
    }
    run(cargo).await?;
    std::fs::create_dir_all(programs)
        .with_context(|| format!("cannot create {}", programs.display()))?;
    for service in Service::ALL {
        // A build of ours replaces what is in cargo's folder.
        let built = target.join(folder_of(profile)).join(service.name());
        let kept = programs.join(service.name());
        std::fs::copy(&built, &kept)
            .with_context(|| format!("cannot copy {} to {}", built.display(), kept.display()))?;
    }
    Ok(())
}

/// Cargo calls the folder of the profile `dev` otherwise.
fn folder_of(profile: &str) -> &str {
    match profile {
        "dev" => "debug",
        other => other,
    }
}

/// The target folder and the profile of the running program.
fn target() -> anyhow::Result<(PathBuf, String)> {
    let program = std::env::current_exe().context("cannot find the running program")?;
    let folder = program.parent();
    let (Some(target), Some(name)) = (
        folder.and_then(Path::parent),
        folder
            .and_then(Path::file_name)
            .and_then(|name| name.to_str()),
    ) else {
        bail!("{} is not in a target folder", program.display());
    };
    let profile = match name {
        "debug" => "dev",
        other => other,
    };
    Ok((target.to_path_buf(), profile.to_owned()))
}
