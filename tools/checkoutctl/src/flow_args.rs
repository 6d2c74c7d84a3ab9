//! `checkoutctl flow`: the steps of the saga, and the review of a change of them.

use std::path::PathBuf;
use std::process::ExitCode;

use contracts::{RecordType, topology::topology};
use flow::{Step, StepDefinition};
use serde::Serialize;

use crate::flow_pages::Pages;
use crate::print;

/// What is looked at only where it is said where it is.
const PAGES: &str = "flow.md, asyncapi.yaml and the catalog; --docs FOLDER says where they are";

#[derive(clap::Subcommand, Debug)]
pub(crate) enum FlowCommand {
    /// Show the steps: owner, command, answers, tries, waits, compensation, status.
    #[command(after_help = "Example:
  checkoutctl flow show --json")]
    Show {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Review the flow: every step has all that a step needs.
    ///
    /// Owner, command and answers on topics that topics.yaml has, retry, compensation,
    /// what the customer sees, and with --docs its place in the generated pages: records,
    /// channels, services and flow of the catalog, and that flow.md and asyncapi.yaml are
    /// not older than this version. Without --docs it says that it did not look at them.
    /// Exit status 1: something is missing.
    #[command(after_help = "Example:
  checkoutctl flow check --docs docs")]
    Check {
        /// The folder of the generated pages: flow.md, asyncapi.yaml, and the catalog.
        #[arg(long, value_name = "FOLDER")]
        docs: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    step: &'static str,
    owner: &'static str,
    command: &'static str,
    done: &'static str,
    refused: Vec<&'static str>,
    undone_by: &'static str,
    undone: &'static str,
    tries: u32,
    first_wait_seconds: u64,
    longest_wait_seconds: u64,
    doing: &'static str,
    undoing: &'static str,
}

impl Shown {
    fn of(definition: &'static StepDefinition) -> Self {
        Self {
            step: definition.step.name(),
            owner: definition.owner,
            command: definition.command.record.full_name(),
            done: definition.success.record.full_name(),
            refused: definition
                .failures
                .iter()
                .map(|failure| failure.record.full_name())
                .collect(),
            undone_by: definition.compensation.record.full_name(),
            undone: definition.compensation.acknowledged_by.full_name(),
            tries: definition.retry.tries,
            first_wait_seconds: definition.deadline.first.as_secs(),
            longest_wait_seconds: definition.deadline.max.as_secs(),
            doing: definition.status.doing.code,
            undoing: definition.status.undoing.code,
        }
    }
}

/// Shows or reviews.
pub(crate) fn run(command: &FlowCommand) -> anyhow::Result<ExitCode> {
    match command {
        FlowCommand::Show { json } => {
            let steps: Vec<Shown> = Step::ALL
                .iter()
                .map(|step| Shown::of(step.definition()))
                .collect();
            if *json {
                print::json(&steps)?;
                return Ok(ExitCode::SUCCESS);
            }
            for (number, shown) in steps.iter().enumerate() {
                print::text(&format!(
                    "{}. {} by {}\n   {} → {}, or {}\n   sent {} times, waits {} s to {} s; \
                     undone by {} → {}\n   the customer sees {}, and {} while it is undone\n",
                    number + 1,
                    shown.step,
                    shown.owner,
                    shown.command,
                    shown.done,
                    shown.refused.join(", "),
                    shown.tries,
                    shown.first_wait_seconds,
                    shown.longest_wait_seconds,
                    shown.undone_by,
                    shown.undone,
                    shown.doing,
                    shown.undoing,
                ));
            }
            Ok(ExitCode::SUCCESS)
        }
        FlowCommand::Check { docs, json } => {
            let pages = docs.as_deref().map(Pages::read);
            let problems: Vec<String> = Step::ALL
                .iter()
                .flat_map(|step| review(step.definition(), pages.as_ref()))
                .chain(pages.iter().flat_map(Pages::stale))
                .collect();
            let not_looked_at = pages.is_none().then_some(PAGES);
            match json {
                true => print::json(&serde_json::json!({
                    "steps": Step::ALL.len(),
                    "problems": problems,
                    "notLookedAt": not_looked_at.as_slice(),
                }))?,
                false => print::text(&told(&problems, not_looked_at)),
            }
            Ok(crate::failure_if(!problems.is_empty()))
        }
    }
}

/// For people: the problems, or that there are none, and what was not looked at.
fn told(problems: &[String], not_looked_at: Option<&str>) -> String {
    let mut lines = problems.to_vec();
    if problems.is_empty() {
        lines.push(format!("all {} steps are whole", Step::ALL.len()));
    }
    lines.extend(not_looked_at.map(|what| format!("not looked at: {what}")));
    lines.into_iter().map(|line| line + "\n").collect()
}

/// What a step lacks. Most of it does not compile without; this is about what the
/// compiler cannot see.
fn review(definition: &StepDefinition, pages: Option<&Pages<'_>>) -> Vec<String> {
    let step = definition.step;
    let mut problems = Vec::new();
    let mut need = |holds: bool, what: String| {
        if !holds {
            problems.push(format!("{step}: {what}"));
        }
    };
    let compensation = definition.compensation;
    let commands = [definition.command.record, compensation.record];
    let replies: Vec<RecordType> = [definition.success.record, compensation.acknowledged_by]
        .into_iter()
        .chain(definition.failures.iter().map(|failure| failure.record))
        .collect();
    for record in commands.iter().chain(&replies) {
        let of_owner = record.full_name().strip_prefix(definition.owner);
        need(
            of_owner.is_some_and(|rest| rest.starts_with('.')),
            format!(
                "{record} is not a contract of its owner, {}",
                definition.owner
            ),
        );
        let topic = record.topic();
        for name in [topic.name().to_owned(), format!("{topic}.dlq")] {
            need(
                topology().iter().any(|spec| spec.name == name),
                format!("topics.yaml lacks {name}, which {record} goes by"),
            );
        }
        need(
            topic.is_consumed(),
            format!("no service consumes {topic}, which {record} goes by"),
        );
    }
    let mut distinct = [&commands[..], &replies].concat();
    distinct.sort_unstable();
    distinct.dedup();
    need(
        distinct.len() == commands.len() + replies.len(),
        "two of its messages are the same record".to_owned(),
    );
    need(
        definition.retry.tries > 0,
        "its command is never sent".to_owned(),
    );
    need(
        !definition.deadline.first.is_zero()
            && definition.deadline.max >= definition.deadline.first,
        "its first wait is none, or longer than its longest".to_owned(),
    );
    let statuses = [definition.status.doing, definition.status.undoing];
    for status in statuses {
        need(
            !status.code.is_empty() && !status.text.is_empty(),
            "a customer-visible status has no code or no text".to_owned(),
        );
    }
    let same = Step::ALL
        .iter()
        .filter(|other| **other != step)
        .any(|other| {
            let other = other.definition().status;
            let codes = [other.doing.code, other.undoing.code];
            statuses.iter().any(|status| codes.contains(&status.code))
        });
    need(
        !same,
        "another step has its customer-visible status".to_owned(),
    );
    if let Some(pages) = pages {
        for problem in pages.of_step(definition, &distinct) {
            need(false, problem);
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_step_is_whole_and_has_its_pages() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
        let pages = Pages::read(&docs);
        for step in Step::ALL {
            let problems = review(step.definition(), Some(&pages));
            assert_eq!(problems, Vec::<String>::new());
        }
        assert_eq!(pages.stale(), Vec::<String>::new());
    }

    #[test]
    fn pages_that_were_not_looked_at_are_told_whether_or_not_there_are_problems() {
        let whole = format!("all {} steps are whole\n", Step::ALL.len());
        assert_eq!(told(&[], None), whole);
        let unseen = format!("not looked at: {PAGES}\n");
        assert_eq!(told(&[], Some(PAGES)), format!("{whole}{unseen}"));
        let problem = "CREATE_ORDER: its command is never sent".to_owned();
        let expected = format!("{problem}\n{unseen}");
        assert_eq!(told(&[problem], Some(PAGES)), expected);
    }

    #[test]
    fn what_a_step_lacks_is_named() {
        let mut broken = *Step::FIRST.definition();
        broken.owner = "payments";
        broken.retry.tries = 0;
        broken.status.doing.code = "AUTHORIZING_PAYMENT";
        broken.compensation.acknowledged_by = broken.success.record;
        let pages = Pages::read(Path::new("/nowhere"));
        let problems = review(&broken, Some(&pages)).join("\n");
        for problem in [
            "not a contract of its owner, payments",
            "never sent",
            "another step has its customer-visible status",
            "the same record",
            "no page of inventory.ReserveInventory",
        ] {
            assert!(problems.contains(problem), "{problem}: {problems}");
        }
    }
}
