//! `docs/errors.md` has a section for each code that a dead letter or a log line
//! can carry, and for nothing else.

#![allow(
    clippy::unwrap_used,
    reason = "a file that is not as expected fails the test"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use contracts::ErrorCode;
use contracts::messages::{FailureReason, RejectionReason};
use flow::{Ignored, OperatorRefusal, Outcome};
use runtime::RunError;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The sections below a heading of the page.
fn sections(heading: &str) -> BTreeSet<String> {
    let page = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let heading = format!("## {heading}");
    let below = page.lines().skip_while(|line| *line != heading).skip(1);
    let found: BTreeSet<_> = below
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|line| line.strip_prefix("### "))
        .map(str::to_owned)
        .collect();
    assert!(!found.is_empty(), "the page has nothing below {heading:?}");
    found
}

/// What stands between `before` and a quotation mark, wherever it is in a source file.
fn quoted_after(file: &str, before: &str) -> BTreeSet<String> {
    let source = std::fs::read_to_string(root().join(file)).unwrap();
    let parts = source.split(before).skip(1);
    let found: BTreeSet<_> = parts
        .map(|part| part.split('"').next().unwrap().to_owned())
        .collect();
    assert!(!found.is_empty(), "nothing after {before:?} in {file}");
    found
}

#[test]
fn every_code_of_a_dead_letter_is_explained() {
    let codes: BTreeSet<_> = ErrorCode::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(sections("Codes of dead letters"), codes);
}

macro_rules! variants {
    ($names:ident = $enum:ident: $($variant:ident)*) => {
        const $names: &[&str] = &[$(stringify!($variant)),*];

        const _: () = {
            /// Does not compile where a variant is missing from the list.
            const fn _all(one: &$enum) {
                match one {
                    $($enum::$variant { .. } => {})*
                }
            }
        };
    };
}

variants! { STOPS = RunError: Configuration PositionLost TopicReplaced Schema Defect }
variants! {
    OUTCOMES = Outcome: Started StepDone Completed StepRefused StepInDoubt StepUndone Failed Held
    CommandReleased StepGivenUp CommandResent CompensationResent Stuck Rejected Operated
    OperatorRefused Ignored
}

/// As the labels of variants are spelt: `StepDone` is `step_done`.
fn label(variant: &str) -> String {
    let mut label = String::new();
    for c in variant.chars() {
        if c.is_uppercase() && !label.is_empty() {
            label.push('_');
        }
        label.extend(c.to_lowercase());
    }
    label
}

#[test]
fn every_error_that_stops_a_service_is_explained() {
    let names = STOPS.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(sections("Errors that stop a service"), names);
}

#[test]
fn every_outcome_of_an_input_is_explained() {
    assert_eq!(
        label("StepDone"),
        Outcome::StepDone(flow::Step::FIRST).label()
    );
    let labels = OUTCOMES.iter().map(|variant| label(variant)).collect();
    assert_eq!(sections("What came of an input"), labels);
}

#[test]
fn every_reason_in_a_log_line_or_the_history_is_explained() {
    let ignored = Ignored::ALL.iter().map(|reason| reason.label());
    // What an orchestrator reads that is no input of a saga.
    let ignored = ignored.chain(["not_for_sagas"]);
    let refused = OperatorRefusal::ALL.iter().map(|reason| reason.label());
    let failed = FailureReason::ALL.iter().map(|reason| reason.as_str());
    let rejected = RejectionReason::ALL.iter().map(|reason| reason.as_str());
    let all: [(&str, Vec<&str>); 4] = [
        ("Inputs that change nothing", ignored.collect()),
        ("Operators' inputs that are refused", refused.collect()),
        ("Why checkouts fail", failed.collect()),
        ("Why requests are rejected", rejected.collect()),
    ];
    for (heading, reasons) in all {
        let reasons: BTreeSet<_> = reasons.into_iter().map(str::to_owned).collect();
        assert_eq!(sections(heading), reasons, "{heading}");
    }
}

#[test]
fn every_kind_of_fault_is_explained() {
    let mut kinds = BTreeSet::new();
    for file in ["worker.rs", "commit.rs"] {
        let file = format!("crates/runtime/src/{file}");
        kinds.extend(quoted_after(&file, "measure::fault(\""));
    }
    kinds.extend(quoted_after(
        "crates/runtime/src/worker.rs",
        "(reason) => (\"",
    ));
    assert_eq!(sections("Kinds of faults"), kinds);
}

#[test]
fn every_cause_of_a_call_without_an_answer_is_explained() {
    let gateway = "services/payment/src/gateway/mod.rs";
    let causes = quoted_after(gateway, "=> \"");
    assert_eq!(sections("Causes of calls without an answer"), causes);
}

#[test]
fn pages_for_operators_link_to_sections_that_exist() {
    for page in ["runbook.md", "errors.md"] {
        let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
        let links = text.split("](").skip(1);
        for link in links.map(|rest| rest.split(')').next().unwrap()) {
            let (file, section) = link.split_once('#').unwrap_or((link, ""));
            let file = if file.is_empty() { page } else { file };
            let target = root().join("docs").join(file);
            let target = std::fs::read_to_string(&target)
                .unwrap_or_else(|error| panic!("{page} links to {link}: {error}"));
            let mut headings = target.lines().filter(|line| line.starts_with('#'));
            let known = headings.any(|heading| anchor(heading) == section);
            assert!(section.is_empty() || known, "{page} links to {link}");
        }
    }
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    words.replace(' ', "-").replace(['\'', ','], "")
}
