//! Entities, with the fields of the records that describe them.

use serde_json::json;

use super::{VERSION, add_page};
use crate::files::Files;
use crate::schema::Schema;
use crate::system::{self, ENTITIES};

pub(super) fn add_to(files: &mut Files) -> anyhow::Result<()> {
    for entity in ENTITIES {
        let domain = system::domain_of(entity.record)?;
        let properties: Vec<_> = Schema::of(entity.record)?
            .fields()
            .into_iter()
            // Those say who tells it, and when, and not what it is.
            .filter(|field| !matches!(field.name.as_str(), "eventId" | "commandId"))
            .map(|field| {
                let mut property = json!({
                    "name": field.name,
                    "type": field.kind,
                    "required": field.required,
                    "description": field.doc,
                });
                if !field.symbols.is_empty() {
                    property["enum"] = json!(field.symbols);
                }
                property
            })
            .collect();
        let frontmatter = json!({
            "id": entity.id,
            "name": entity.id,
            "version": VERSION,
            "summary": entity.summary,
            "owners": [domain.team.id],
            "aggregateRoot": entity.aggregate_root,
            "identifier": entity.identifier,
            "properties": properties,
        });
        let body = format!(
            "{} Told by `{}`.\n\n<EntityPropertiesTable />",
            entity.summary, entity.record,
        );
        let folder = format!("domains/{}/entities/{}", domain.id, entity.id);
        add_page(files, &folder, &frontmatter, &body)?;
    }
    Ok(())
}
