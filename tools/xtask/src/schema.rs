//! What is read from the text of a schema.

use anyhow::Context;
use contracts::RecordType;
use serde_json::Value;

/// A record's schema, as its file says it.
pub(crate) struct Schema(Value);

/// A field of a record, in words.
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: String,
    /// Its type, by its most telling name: the logical type where it has one.
    pub(crate) kind: String,
    /// Whether it is always there.
    pub(crate) required: bool,
    /// What it means.
    pub(crate) doc: String,
    /// The values it may have, where these are few.
    pub(crate) symbols: Vec<String>,
}

impl Schema {
    /// The schema of a record.
    ///
    /// # Errors
    /// The file holds no JSON.
    pub(crate) fn of(record: RecordType) -> anyhow::Result<Self> {
        serde_json::from_str(record.schema_json())
            .map(Self)
            .with_context(|| format!("the schema of {record}"))
    }

    /// What the record means.
    pub(crate) fn doc(&self) -> &str {
        self.0["doc"].as_str().unwrap_or_default()
    }

    /// Whether the record has a field of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries().any(|field| field["name"] == name)
    }

    /// The fields, in their order.
    pub(crate) fn fields(&self) -> Vec<Field> {
        self.entries().map(field).collect()
    }

    fn entries(&self) -> impl Iterator<Item = &Value> {
        self.0["fields"].as_array().into_iter().flatten()
    }
}

fn field(entry: &Value) -> Field {
    let mut kind = &entry["type"];
    let mut required = true;
    if let Some(branches) = kind.as_array() {
        required = !branches.iter().any(|branch| branch == "null");
        kind = branches
            .iter()
            .find(|branch| *branch != "null")
            .unwrap_or(kind);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Field {
        name: text(&entry["name"]),
        kind: name_of(kind),
        required,
        doc: text(&entry["doc"]),
        symbols: kind["symbols"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect(),
    }
}

fn name_of(kind: &Value) -> String {
    let part = |name: &str| kind[name].as_str();
    match (part("logicalType"), part("type"), part("name")) {
        (Some(logical), _, _) => logical.to_owned(),
        (None, Some("array"), _) => format!("array of {}", name_of(&kind["items"])),
        (None, _, Some(name)) => name.to_owned(),
        _ => kind.as_str().unwrap_or("record").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_told_in_words() {
        let schema = Schema::of(RecordType::SagaSnapshot).unwrap();
        assert!(schema.doc().contains("compacted"));
        assert!(schema.has("cartId") && !schema.has("commandId"));
        let fields = schema.fields();
        let told = |name: &str| {
            let field = fields.iter().find(|field| field.name == name).unwrap();
            (
                field.kind.as_str(),
                field.required,
                field.symbols.is_empty(),
            )
        };
        assert_eq!(told("cartId"), ("uuid", true, true));
        assert_eq!(told("state"), ("SagaState", true, false));
        assert_eq!(told("dueAt"), ("timestamp-millis", false, true));

        let cart = Schema::of(RecordType::CartCheckedOut).unwrap().fields();
        assert!(cart.iter().any(|field| field.kind == "array of CartItem"));
    }
}
