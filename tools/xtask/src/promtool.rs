//! The checks that need Prometheus' promtool: the rules are sound, and each alert fires
//! where its test says so.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

const FOLDER: &str = "observability/prometheus";

/// Whether promtool is on this machine.
pub(crate) fn is_there() -> bool {
    Command::new("promtool").arg("--version").output().is_ok()
}

/// Runs the checks.
///
/// # Errors
/// promtool is missing, or holds something against the rules.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    for arguments in [
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "checkout.rules.test.yml"],
    ] {
        let status = Command::new("promtool")
            .current_dir(root.join(FOLDER))
            .args(arguments)
            .status()
            .context("promtool cannot be run; it comes with Prometheus")?;
        if !status.success() {
            bail!(
                "promtool {} failed ({status}); what it says is above",
                arguments.join(" ")
            );
        }
    }
    Ok(())
}
