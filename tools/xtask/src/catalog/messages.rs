//! Commands and events: one page for each record, with its schema beside it.

use contracts::RecordType;
use serde_json::json;

use super::{VERSION, add_page, escaped, pointer};
use crate::files::Files;
use crate::schema::Schema;
use crate::system::{self, Kind, Role};

/// What the file of a schema is called in the catalog.
const SCHEMA_FILE: &str = "schema.avsc";

pub(super) fn add_to(files: &mut Files) -> anyhow::Result<()> {
    for record in RecordType::ALL.iter().copied() {
        let domain = system::domain_of(record)?;
        let schema = Schema::of(record)?;
        let kind = match system::kind(record) {
            Kind::Command => "commands",
            Kind::Event => "events",
        };
        let folder = format!("domains/{}/{kind}/{}", domain.id, record.name());
        let frontmatter = json!({
            "id": record.name(),
            "name": record.name(),
            "version": VERSION,
            "summary": schema.doc(),
            "owners": [domain.team.id],
            "channels": [pointer(record.topic().name())],
            "schemaPath": SCHEMA_FILE,
        });
        let key = if schema.has("cartId") {
            "cartId"
        } else {
            "productId"
        };
        let mut body = format!(
            "{}\n\n`{record}` on `{}`, keyed by its `{key}`.\n",
            escaped(schema.doc()),
            record.topic(),
        );
        if let Some(sentence) = part_in_the_flow(record) {
            body.push_str(&format!("\n{sentence}\n"));
        }
        body.push_str(&format!(
            "\n<NodeGraph />\n\n<SchemaViewer file=\"{SCHEMA_FILE}\" title=\"Fields\" />"
        ));
        add_page(files, &folder, &frontmatter, &body)?;
        files.add(
            format!("docs/catalog/{folder}/{SCHEMA_FILE}"),
            record.schema_json().to_owned(),
        );
    }
    Ok(())
}

/// What the record means to its step.
fn part_in_the_flow(record: RecordType) -> Option<String> {
    let (definition, role) = system::role(record)?;
    let step = definition.step;
    Some(match role {
        Role::Command => {
            let replies: Vec<_> = system::replies(definition)
                .iter()
                .map(|reply| format!("`{}`", reply.name()))
                .collect();
            format!(
                "Asks for the step {step}. Sent up to {} times, always with the same `commandId`, until {} answers it.",
                definition.retry.tries,
                replies.join(" or "),
            )
        }
        Role::Success => format!("The step {step} is done."),
        Role::Failure => {
            let reason = definition
                .failures
                .iter()
                .find(|failure| failure.record == record)?
                .reason;
            format!(
                "The step {step} was refused and holds nothing: the checkout fails as {reason}."
            )
        }
        Role::Compensation => format!(
            "Undoes the step {step}. Sent until `{}` acknowledges it, without end.",
            definition.compensation.acknowledged_by.name(),
        ),
        Role::Acknowledgement => {
            format!("The step {step} is undone, or was never done: nothing is held for it.")
        }
    })
}
