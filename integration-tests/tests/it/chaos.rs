//! `cargo chaos` brings the storm that it foretells, and ends with its figures.

use std::path::PathBuf;

use serde_json::Value;
use stack::Progress;
use tokio::process::Command;

/// A storm of six seconds.
const STORM: &str = "--minutes 0.1 --seed 3 --rate 5 --faults-per-minute 40 --instances 1";

/// The example, which `cargo test` builds, and where the other programs are.
async fn program() -> (PathBuf, PathBuf) {
    let binaries = stack::binaries(&Progress::detect()).await.expect("built");
    let program = binaries.named("examples/chaos");
    assert!(
        program.exists(),
        "{} is not there: `cargo build --example chaos`",
        program.display()
    );
    let folder = binaries.stack();
    (program, folder.parent().expect("a folder").to_owned())
}

/// Runs it to its good end; what it wrote to standard output and standard error.
async fn chaos(further: &[&str]) -> (String, String) {
    let (program, folder) = program().await;
    let output = Command::new(program)
        .args(STORM.split(' '))
        .args(further)
        .env("STACK_BIN_DIR", folder)
        .kill_on_drop(true)
        .output()
        .await
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    (text(&output.stdout), errors)
}

#[tokio::test]
async fn it_brings_the_faults_that_it_foretells_and_counts_what_came_of_them() {
    let (foretold, _) = chaos(&["--dry-run"]).await;
    assert!(foretold.lines().count() >= 2, "{foretold}");

    let (figures, told) = chaos(&["--json"]).await;
    for event in foretold.lines() {
        assert!(told.contains(event), "{event} is not in {told}");
    }
    let figures = figures.lines().last().unwrap_or_default();
    let figures: Value = serde_json::from_str(figures).expect("its last line is JSON");
    for none in ["lost", "duplicated", "violations"] {
        assert_eq!(figures[none], 0, "{none}: {figures}");
    }
    assert!(figures["carts"].as_u64() > Some(0), "{figures}");
    assert_eq!(figures["faults"], foretold.lines().count(), "{figures}");
    assert_eq!(
        figures["replay"],
        format!("cargo chaos {STORM} --brokers 1"),
        "{figures}"
    );
}
