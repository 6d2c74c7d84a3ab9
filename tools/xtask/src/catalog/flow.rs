//! The flow of a checkout: who is asked for what, and what follows from each answer.

use ::flow::{Step, StepDefinition};
use contracts::RecordType;
use serde_json::{Value, json};

use super::{FLOW, VERSION, add_page, pointer};
use crate::files::Files;
use crate::system;

const SUMMARY: &str = "From a confirmed cart to an order, or to nothing held.";
const BODY: &str = "\
Steps go from the first to the last. A step that is refused holds nothing, and the steps before it \
are undone; a step that is not answered is undone itself first. Each compensation is acknowledged \
before the next is sent.

<NodeGraph />";

pub(super) fn add_to(files: &mut Files) -> anyhow::Result<()> {
    let mut nodes = vec![json!({
        "id": "customer",
        "title": "A customer confirms a cart",
        "actor": { "name": "Customer" },
        "next_step": edge(RecordType::CartCheckedOut.name(), "by the cart service"),
    })];
    let begun = Step::FIRST.definition().command.record;
    nodes.push(message(
        RecordType::CartCheckedOut,
        vec![
            edge(begun.name(), "it makes sense"),
            edge(RecordType::CheckoutFailed.name(), "it makes no sense"),
        ],
    ));
    for step in Step::ALL {
        let definition = step.definition();
        let participant = system::consumer(definition.command.record.topic())?;
        do_it(&mut nodes, definition, participant);
        undo_it(&mut nodes, definition, participant);
    }
    nodes.push(message(RecordType::OrderCreated, Vec::new()));
    nodes.push(message(RecordType::CheckoutFailed, Vec::new()));

    let frontmatter = json!({
        "id": FLOW,
        "name": "Checkout",
        "version": VERSION,
        "summary": SUMMARY,
        "owners": [system::domain("ordering")?.team.id],
        "steps": nodes,
    });
    add_page(
        files,
        &format!("flows/{FLOW}"),
        &frontmatter,
        &format!("{SUMMARY} {BODY}"),
    )
}

fn do_it(nodes: &mut Vec<Value>, definition: &StepDefinition, participant: &str) {
    let step = definition.step;
    let at = format!("{step} by {participant}");
    nodes.push(message(
        definition.command.record,
        vec![
            edge(&at, ""),
            edge(definition.compensation.record.name(), "not answered"),
        ],
    ));
    let replies = system::replies(definition);
    nodes.push(service(&at, participant, &replies));
    let next = step.following().map_or(RecordType::OrderCreated, |next| {
        next.definition().command.record
    });
    nodes.push(message(
        definition.success.record,
        vec![edge(next.name(), "")],
    ));
    for failure in definition.failures.iter() {
        nodes.push(message(
            failure.record,
            vec![edge(before(step).name(), failure.reason.as_str())],
        ));
    }
}

fn undo_it(nodes: &mut Vec<Value>, definition: &StepDefinition, participant: &str) {
    let step = definition.step;
    let compensation = &definition.compensation;
    let at = format!("{step} undone by {participant}");
    nodes.push(message(compensation.record, vec![edge(&at, "")]));
    nodes.push(service(&at, participant, &[compensation.acknowledged_by]));
    nodes.push(message(
        compensation.acknowledged_by,
        vec![edge(before(step).name(), "")],
    ));
}

/// What is published when nothing is held for a step any more.
fn before(step: Step) -> RecordType {
    step.preceding()
        .map_or(RecordType::CheckoutFailed, |before| {
            before.definition().compensation.record
        })
}

fn message(record: RecordType, next: Vec<Value>) -> Value {
    json!({
        "id": record.name(),
        "title": record.name(),
        "message": pointer(record.name()),
        "next_steps": next,
    })
}

fn service(id: &str, service: &str, replies: &[RecordType]) -> Value {
    json!({
        "id": id,
        "title": id,
        "service": pointer(service),
        "next_steps": replies.iter().map(|reply| edge(reply.name(), "")).collect::<Vec<_>>(),
    })
}

fn edge(id: &str, label: &str) -> Value {
    if label.is_empty() {
        json!({ "id": id })
    } else {
        json!({ "id": id, "label": label })
    }
}
