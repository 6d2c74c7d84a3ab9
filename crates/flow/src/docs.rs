//! `docs/flow.md`, generated from the definitions of the steps.
//!
//! A test compares the file with what is generated here; `UPDATE_DOCS=1 cargo
//! test -p flow` writes it.

use std::fmt::{self, Write};

use contracts::messages::FailureReason;

use crate::{
    rules::Rules,
    status,
    step::{StatusText, Step, StepDefinition},
};

/// The whole page, in Markdown.
///
/// # Errors
/// None in practice: writing to a string does not fail.
pub fn flow_page() -> Result<String, fmt::Error> {
    let mut page = String::new();
    page.push_str(INTRODUCTION);
    steps(&mut page)?;
    picture(&mut page)?;
    customer_statuses(&mut page)?;
    Ok(page)
}

const INTRODUCTION: &str = "\
# The flow of a checkout

<!-- Generated from crates/flow/src/steps; `UPDATE_DOCS=1 cargo test -p flow` writes it anew. -->

A checkout takes the steps below from top to bottom. When all are done, `OrderCreated` is published.
When a step is refused, the steps above it are undone from bottom to top; when a step is not answered,
or the reservation expires, or an operator cancels, the step in flight is undone first. When all is
undone, `CheckoutFailed` is published. A command is sent again until it is answered or its tries are
used up; a compensation is sent again without end.

";

fn steps(page: &mut String) -> fmt::Result {
    page.push_str("## Steps\n\n");
    page.push_str(
        "| | Step | Owner | Command | Done | Refused | Undone by | Undone | Tries | Waits |\n",
    );
    page.push_str("|-:|---|---|---|---|---|---|---|-:|---|\n");
    for (index, step) in Step::ALL.iter().enumerate() {
        let definition = step.definition();
        let refusals: Vec<_> = definition
            .failures
            .iter()
            .map(|failure| format!("`{}` → {}", failure.record.name(), failure.reason))
            .collect();
        writeln!(
            page,
            "| {} | {step} | {} | `{}` | `{}` | {} | `{}` | `{}` | {} | {} |",
            index + 1,
            definition.owner,
            definition.command.record.name(),
            definition.success.record.name(),
            refusals.join(", "),
            definition.compensation.record.name(),
            definition.compensation.acknowledged_by.name(),
            definition.retry.tries,
            waits(definition),
        )?;
    }
    let rules = Rules::default();
    writeln!(
        page,
        "\nEach wait is twice the one before, and up to a quarter longer by a jitter that depends on the\n\
         checkout. A compensation waits the same way; after {} unanswered sendings its saga is reported\n\
         stuck, and it goes on. Tries and waits can be set for all steps by the orchestrator's flags.\n\n\
         A participant that is silent or far behind is *held* by its brake. A command for it then waits\n\
         unsent, and one that is out waits on: neither is sent again but as a probe, and the silence does\n\
         not count as a try. Held sagas look again after {} s to {} s, and up to a quarter longer. A\n\
         checkout that is held until it is {} s old is given up as TIMED_OUT; a step whose command was\n\
         never sent needs no undoing. Repeats of a compensation are held likewise; its first sending and\n\
         what an operator asks for are not.\n",
        rules.stuck_after_tries,
        rules.hold_first.as_secs(),
        rules.hold_max.as_secs(),
        rules.checkout_limit.as_secs(),
    )
}

fn waits(definition: &StepDefinition) -> String {
    format!(
        "{} s to {} s",
        definition.deadline.first.as_secs(),
        definition.deadline.max.as_secs()
    )
}

fn picture(page: &mut String) -> fmt::Result {
    page.push_str("## States\n\n```mermaid\nstateDiagram-v2\n");
    page.push_str("    direction TB\n");
    let first = Step::FIRST.definition();
    writeln!(page, "    [*] --> {}: CartCheckedOut", doing(first))?;
    page.push_str("    [*] --> FAILED: CartCheckedOut that makes no sense\n");
    for step in Step::ALL {
        let definition = step.definition();
        writeln!(
            page,
            "    {}: {} sent",
            doing(definition),
            definition.command.record.name()
        )?;
        writeln!(
            page,
            "    {}: {} sent",
            undoing(definition),
            definition.compensation.record.name()
        )?;
        let after = step
            .following()
            .map_or("COMPLETED", |step| doing(step.definition()));
        writeln!(
            page,
            "    {} --> {after}: {}",
            doing(definition),
            definition.success.record.name()
        )?;
        let before = step
            .preceding()
            .map_or("FAILED".to_owned(), |step| undoing(step.definition()));
        for failure in definition.failures.iter() {
            writeln!(
                page,
                "    {} --> {before}: {}",
                doing(definition),
                failure.record.name()
            )?;
        }
        writeln!(
            page,
            "    {} --> {}: no answer, expiry, operator (in doubt)",
            doing(definition),
            undoing(definition)
        )?;
        writeln!(
            page,
            "    {} --> {before}: {}",
            undoing(definition),
            definition.compensation.acknowledged_by.name()
        )?;
    }
    page.push_str("    COMPLETED --> [*]: OrderCreated\n");
    page.push_str("    FAILED --> [*]: CheckoutFailed\n");
    page.push_str("```\n\n");
    page.push_str(
        "A compensation that goes unanswered is reported `STUCK` and still repeated. An operator may end\n\
         one by evidence (`RESOLVE`), or give the saga up (`ABANDONED`). A failed cart may be checked out\n\
         again.\n\n",
    );
    Ok(())
}

fn doing(definition: &StepDefinition) -> &'static str {
    definition.step.name()
}

fn undoing(definition: &StepDefinition) -> String {
    format!("UNDO_{}", definition.step.name())
}

fn customer_statuses(page: &mut String) -> fmt::Result {
    page.push_str("## What the customer sees\n\n");
    page.push_str("`GET /checkouts/{cartId}` and its event stream show one of these:\n\n");
    page.push_str("| Status | While | Text |\n|---|---|---|\n");
    for step in Step::ALL {
        let definition = step.definition();
        row(page, definition.status.doing, &format!("{step} is done"))?;
    }
    row(page, status::ORDERED, "the checkout is completed")?;
    for step in Step::ALL.iter().rev() {
        let definition = step.definition();
        row(
            page,
            definition.status.undoing,
            &format!("{step} is undone"),
        )?;
    }
    row(page, status::DELAYED, "the saga is stuck")?;
    row(
        page,
        status::IN_CLARIFICATION,
        "an operator has abandoned the saga",
    )?;
    for reason in FailureReason::ALL {
        let text = StatusText {
            code: status::FAILED,
            text: status::failure_text(*reason),
        };
        row(page, text, &format!("the checkout failed: {reason}"))?;
    }
    Ok(())
}

fn row(page: &mut String, status: StatusText, when: &str) -> fmt::Result {
    writeln!(page, "| `{}` | {when} | {} |", status.code, status.text)
}
