//! Whether the generated pages of docs/ know of what this version has.

use std::collections::BTreeSet;
use std::path::Path;

use contracts::{RecordType, Topic, topology::topology};
use flow::{Step, StepDefinition};
use serde_json::Value;

/// The folders of docs/catalog that a step has pages in.
const CHANNELS: &str = "channels";
const SERVICES: &str = "services";
const FLOWS: &str = "flows";

/// The pages of a folder such as docs.
pub(crate) struct Pages<'a> {
    docs: &'a Path,
    /// Of the catalog: the kind, such as `channels`, and the name.
    catalog: BTreeSet<(String, String)>,
}

impl<'a> Pages<'a> {
    pub(crate) fn read(docs: &'a Path) -> Self {
        let mut catalog = BTreeSet::new();
        gather(&docs.join("catalog"), &mut catalog);
        Self { docs, catalog }
    }

    /// What a step lacks in the catalog: a page of each of its records, of their
    /// channels, of the service that reads its commands, and its place in the flow.
    pub(crate) fn of_step(
        &self,
        definition: &StepDefinition,
        records: &[RecordType],
    ) -> Vec<String> {
        let mut wanted = BTreeSet::new();
        for record in records {
            let topic = record.topic();
            wanted.insert((CHANNELS, topic.name()));
            wanted.extend(audit::consumer(topic).map(|service| (SERVICES, service)));
        }
        let mut problems: Vec<String> = records
            .iter()
            .filter(|record| {
                !self.has("commands", record.name()) && !self.has("events", record.name())
            })
            .map(|record| format!("the catalog has no page of {record}"))
            .collect();
        for (kind, name) in wanted {
            if !self.has(kind, name) {
                problems.push(format!("the catalog has no page {kind}/{name}"));
            }
        }
        let command = definition.command.record.name();
        let mut flows = self.catalog.iter().filter(|(kind, _)| kind == FLOWS);
        let told = flows.any(|(_, name)| {
            let page = self.docs.join("catalog").join(FLOWS).join(name);
            let text = std::fs::read_to_string(page.join("index.mdx"));
            text.is_ok_and(|text| text.contains(command))
        });
        if !told {
            problems.push(format!("no flow of the catalog tells of {command}"));
        }
        problems
    }

    fn has(&self, kind: &str, name: &str) -> bool {
        self.catalog.contains(&(kind.to_owned(), name.to_owned()))
    }

    /// What is out of date of all steps together.
    pub(crate) fn stale(&self) -> Vec<String> {
        [self.stale_flow_page(), self.stale_asyncapi()]
            .into_iter()
            .flatten()
            .map(|problem| format!("{problem}: run `cargo xtask generate`"))
            .collect()
    }

    fn stale_flow_page(&self) -> Option<String> {
        let path = self.docs.join("flow.md");
        let generated = flow::docs::flow_page().ok()?;
        match std::fs::read_to_string(&path) {
            Ok(page) if page == generated => None,
            Ok(_) => Some(format!(
                "{} is not what this version generates",
                path.display()
            )),
            Err(error) => Some(format!("{} cannot be read: {error}", path.display())),
        }
    }

    /// The AsyncAPI document has just the channels of topics.yaml, with their partitions
    /// and records, and asks each step's commands.
    fn stale_asyncapi(&self) -> Option<String> {
        let path = self.docs.join("asyncapi.yaml");
        let read = || -> anyhow::Result<Value> {
            Ok(serde_saphyr::from_str(&std::fs::read_to_string(&path)?)?)
        };
        let problem = match read() {
            Ok(document) => asyncapi_differs(&document)?,
            Err(error) => format!("cannot be read: {error}"),
        };
        Some(format!("{}: {problem}", path.display()))
    }
}

fn asyncapi_differs(document: &Value) -> Option<String> {
    let keys = |value: &Value| -> BTreeSet<String> {
        let map = value.as_object();
        map.map(|map| map.keys().cloned().collect())
            .unwrap_or_default()
    };
    let channels = &document["channels"];
    let declared: BTreeSet<String> = topology().iter().map(|spec| spec.name.clone()).collect();
    if let Some(name) = keys(channels).symmetric_difference(&declared).next() {
        return Some(format!(
            "its channels are not the topics of topics.yaml: {name}"
        ));
    }
    for spec in topology() {
        let bindings = &channels[&spec.name]["bindings"]["kafka"];
        if bindings["partitions"] != spec.partitions || bindings["replicas"] != spec.replicas {
            return Some(format!("{} has other partitions or replicas", spec.name));
        }
    }
    for topic in Topic::ALL.iter().copied() {
        let records: BTreeSet<String> = topic
            .records()
            .map(|record| record.name().to_owned())
            .collect();
        if keys(&channels[topic.name()]["messages"]) != records {
            return Some(format!("{topic} has other messages"));
        }
    }
    let operations = keys(&document["operations"]);
    for step in Step::ALL {
        let definition = step.definition();
        for record in [definition.command.record, definition.compensation.record] {
            let suffix = format!(".asks.{}", record.name());
            if !operations.iter().any(|name| name.ends_with(&suffix)) {
                return Some(format!("nobody asks {record}"));
            }
        }
    }
    None
}

/// The pages below a folder, each by the name of the folder that its own is in, and its own.
fn gather(folder: &Path, found: &mut BTreeSet<(String, String)>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            gather(&path, found);
            if path.join("index.mdx").is_file() {
                found.extend(name(folder).zip(name(&path)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Value {
        let text = include_str!("../../../docs/asyncapi.yaml");
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn what_has_changed_since_the_document_was_generated_is_named() {
        assert_eq!(asyncapi_differs(&document()), None);
        let command = Step::FIRST.definition().command.record;
        let topic = command.topic().name();
        let asks = format!("orchestrator.asks.{}", command.name());
        for (path, key, problem) in [
            (
                "/channels".to_owned(),
                topic,
                "not the topics of topics.yaml",
            ),
            (
                format!("/channels/{topic}/messages"),
                command.name(),
                "other messages",
            ),
            (
                format!("/channels/{topic}/bindings/kafka"),
                "partitions",
                "other partitions",
            ),
            ("/operations".to_owned(), asks.as_str(), "nobody asks"),
        ] {
            let mut stale = document();
            let parent = stale.pointer_mut(&path).unwrap().as_object_mut().unwrap();
            parent.remove(key).unwrap();
            let found = asyncapi_differs(&stale).unwrap();
            assert!(found.contains(problem), "{problem}: {found}");
        }
    }

    #[test]
    fn pages_that_are_missing_are_named() {
        let folder = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
        let definition = Step::FIRST.definition();
        let record = definition.command.record;
        let page = |path: String| {
            let page = folder.join("catalog").join(path);
            std::fs::create_dir_all(&page).unwrap();
            std::fs::write(page.join("index.mdx"), record.name()).unwrap();
        };
        let missing = || {
            Pages::read(&folder)
                .of_step(definition, &[record])
                .join("\n")
        };
        assert!(missing().contains(&format!("no page of {record}")));
        page(format!("domains/x/commands/{}", record.name()));
        let found = missing();
        for problem in ["channels/", "services/", "no flow of the catalog"] {
            assert!(found.contains(problem), "{problem}: {found}");
        }
        page(format!("channels/{}", record.topic()));
        page(format!("domains/x/services/{}", definition_service(record)));
        page("flows/checkout".to_owned());
        assert_eq!(missing(), "");
        assert_eq!(Pages::read(&folder).stale().len(), 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    fn definition_service(record: RecordType) -> &'static str {
        audit::consumer(record.topic()).unwrap()
    }
}
