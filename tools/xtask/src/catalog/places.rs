//! Domains, services, databases, channels and teams.

use std::fs;
use std::path::Path;

use anyhow::Context;
use contracts::Topic;
use serde_json::{Value, json};

use super::{FLOW, VERSION, add_page, database_of, escaped, pointer};
use crate::files::Files;
use crate::system::{self, DOMAINS, ENTITIES, ORCHESTRATOR, SERVICES, Service, Traffic};

pub(super) fn add_to(files: &mut Files, root: &Path) -> anyhow::Result<()> {
    for domain in DOMAINS {
        let services: Vec<_> = SERVICES
            .iter()
            .filter(|service| service.domain == domain.id)
            .map(|service| pointer(service.id))
            .collect();
        let mut entities = Vec::new();
        for entity in ENTITIES {
            if system::domain_of(entity.record)?.id == domain.id {
                entities.push(pointer(entity.id));
            }
        }
        let frontmatter = json!({
            "id": domain.id,
            "name": domain.name,
            "version": VERSION,
            "summary": domain.summary,
            "owners": [domain.team.id],
            "services": services,
            "entities": entities,
        });
        let body = format!("{}\n\n<NodeGraph />", domain.summary);
        add_page(
            files,
            &format!("domains/{}", domain.id),
            &frontmatter,
            &body,
        )?;
        team(files, &domain.team)?;
    }
    for service in SERVICES {
        add_service(files, root, service)?;
    }
    for topic in Topic::ALL.iter().copied() {
        channel(files, topic)?;
    }
    Ok(())
}

fn team(files: &mut Files, team: &system::Team) -> anyhow::Result<()> {
    let frontmatter = serde_saphyr::to_string(&json!({
        "id": team.id,
        "name": team.name,
        "summary": team.summary,
    }))?;
    files.add(
        format!("docs/catalog/teams/{}.mdx", team.id),
        format!("---\n{frontmatter}---\n\n{}\n", team.summary),
    );
    Ok(())
}

fn add_service(files: &mut Files, root: &Path, service: &Service) -> anyhow::Result<()> {
    let domain = system::domain(service.domain)?;
    let migrations = root.join("services").join(service.id).join("migrations");
    let ours = migrations.is_dir();
    let mut frontmatter = json!({
        "id": service.id,
        "name": service.name,
        "version": VERSION,
        "summary": service.summary,
        "owners": [domain.team.id],
        "sends": traffic(system::sends(service.id)?, "to"),
        "receives": traffic(system::receives(service.id)?, "from"),
    });
    if ours {
        let database = pointer(&database_of(service.id));
        frontmatter["writesTo"] = json!([database]);
        frontmatter["readsFrom"] = json!([database]);
    } else {
        frontmatter["externalSystem"] = json!(true);
    }
    if service.id == ORCHESTRATOR {
        frontmatter["flows"] = json!([pointer(FLOW)]);
    }
    let body = format!("{}\n\n<NodeGraph />", service.summary);
    let folder = format!("domains/{}/services/{}", domain.id, service.id);
    add_page(files, &folder, &frontmatter, &body)?;
    if ours {
        database(files, service, domain.team.id, &migrations)?;
    }
    Ok(())
}

/// What goes over channels, as services say it: a record, and the channel it goes over.
fn traffic(traffic: Traffic, direction: &str) -> Vec<Value> {
    let mut pointers = Vec::new();
    for (topic, records) in traffic {
        for record in records {
            let mut entry = pointer(record.name());
            entry[direction] = json!([pointer(topic.name())]);
            pointers.push(entry);
        }
    }
    pointers
}

fn database(
    files: &mut Files,
    service: &Service,
    owner: &str,
    migrations: &Path,
) -> anyhow::Result<()> {
    let id = database_of(service.id);
    let summary = format!(
        "The database of the {} alone: its rows, and its progress on each partition that it reads.",
        service.name.to_lowercase()
    );
    let frontmatter = json!({
        "id": id,
        "name": format!("{} database", service.name),
        "version": VERSION,
        "summary": summary,
        "owners": [owner],
        "container_type": "database",
        "technology": "PostgreSQL",
        "authoritative": true,
        "access_mode": "readWrite",
    });
    let mut body = format!("{summary}\n\n## Tables\n\n");
    for (table, comment) in tables(migrations)? {
        body.push_str(&format!("- `{table}`: {}\n", escaped(&comment)));
    }
    body.push_str(
        "- `progress`: One row a partition: the next offset, the epoch of its owner, and what is not yet known to be on Kafka.\n\n<NodeGraph />",
    );
    add_page(files, &format!("containers/{id}"), &frontmatter, &body)
}

/// The tables that migrations create, each with the comment that stands before it.
fn tables(migrations: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut paths: Vec<_> = fs::read_dir(migrations)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .with_context(|| format!("reading {}", migrations.display()))?;
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        found.extend(tables_of(&text));
    }
    Ok(found)
}

fn tables_of(migration: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in migration.lines() {
        if let Some(words) = line.strip_prefix("--") {
            comment.push(words.trim());
            continue;
        }
        if let Some(rest) = line.strip_prefix("CREATE TABLE ") {
            let name = rest.split([' ', '(']).next().unwrap_or(rest);
            found.push((name.to_owned(), comment.join(" ")));
        }
        comment.clear();
    }
    found
}

fn channel(files: &mut Files, topic: Topic) -> anyhow::Result<()> {
    let spec = system::declared(topic.name())?;
    let records: Vec<_> = topic.records().collect();
    let consumer = system::consumer(topic)?;
    let Some(first) = records.first() else {
        return Ok(());
    };
    let owner = system::domain_of(*first)?.team.id;
    let names: Vec<_> = records.iter().map(|record| record.name()).collect();
    let frontmatter = json!({
        "id": topic.name(),
        "name": topic.name(),
        "version": VERSION,
        "summary": format!("{}, for {consumer}.", names.join(", ")),
        "owners": [owner],
        "address": topic.name(),
        "protocols": ["kafka"],
        "deliveryGuarantee": if topic.is_public() { "exactly-once" } else { "at-least-once" },
    });
    let mut body = format!("{} partitions.", spec.partitions);
    match spec
        .configs
        .get("retention.ms")
        .and_then(|ms| ms.parse::<u64>().ok())
    {
        Some(ms) => body.push_str(&format!(" Records are kept for {} days.", ms / 86_400_000)),
        None => body.push_str(" Compacted: the newest record of a key is kept."),
    }
    body.push_str(if topic.is_public() {
        " Written in transactions: read with `isolation.level=read_committed`, and each record is there once."
    } else {
        " A record may appear twice, with the same `ce_id` and the same bytes."
    });
    if topic.is_consumed() {
        body.push_str(&format!(
            " What the {consumer} cannot handle goes to `{topic}.dlq`, with headers that say why."
        ));
    }
    body.push_str("\n\n<NodeGraph />");
    add_page(files, &format!("channels/{topic}"), &frontmatter, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_told_by_the_comments_before_them() {
        let migration = "-- Doors of\n-- a house.\nCREATE TABLE doors (\n  -- A column.\n  id int\n);\n\n\
                         -- An index.\nCREATE INDEX i ON doors (id);\nCREATE TABLE rooms(id int);\n";
        assert_eq!(
            tables_of(migration),
            [
                ("doors".to_owned(), "Doors of a house.".to_owned()),
                ("rooms".to_owned(), String::new()),
            ]
        );
    }
}
