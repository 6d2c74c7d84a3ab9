//! axe-core, which judges pages by the Web Content Accessibility Guidelines. Its version
//! is pinned in `tests/axe/package.json`, and it is had from npm once.

use std::path::Path;
use std::process::Command;

use integration_tests::skipped;
use serde_json::Value;

use super::driver::Browser;

/// What is judged: levels A and AA of all versions, and what is good practice.
const RUN: &str = "
const done = arguments[arguments.length - 1];
const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
axe.run(document, { runOnly: tags, resultTypes: ['violations'] })
  .then((found) => done(found.violations.map((one) => one.id + ': ' + one.help + ': '
    + one.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | '))))
  .catch((error) => done(['axe-core broke down: ' + error]));
";

/// What is skipped where there is no judge.
const JUDGED: &str = "the accessibility of the console's pages is not judged by axe-core";

/// The judge.
pub(super) struct Axe(String);

impl Axe {
    /// `None`, with a line that says so, where npm is missing or does not get it.
    pub(super) fn install() -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/axe/package.json");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("axe");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::copy(&source, folder.join("package.json")).expect("copied");
        let npm = Command::new("npm")
            .current_dir(&folder)
            .args([
                "install",
                "--no-package-lock",
                "--prefer-offline",
                "--ignore-scripts",
            ])
            .args(["--no-audit", "--no-fund", "--loglevel=error"])
            .output();
        match npm {
            Ok(output) if output.status.success() => {
                let script = folder.join("node_modules/axe-core/axe.min.js");
                Some(Self(std::fs::read_to_string(script).expect("the script")))
            }
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                let why = why.lines().next().unwrap_or_default();
                skipped(&format!("{JUDGED}: npm did not get it: {why}"));
                None
            }
            Err(error) => {
                skipped(&format!("{JUDGED}: npm cannot be run: {error}"));
                None
            }
        }
    }

    /// What is wrong with the page that is shown.
    pub(super) async fn faults(&self, browser: &Browser) -> Vec<String> {
        let script = format!("{};{RUN}", self.0);
        let found = browser.driver.execute_async(script, Vec::new()).await;
        let found = found.expect("it ran").json().clone();
        let found: Vec<Value> = serde_json::from_value(found).expect("a list");
        found.iter().map(ToString::to_string).collect()
    }
}
