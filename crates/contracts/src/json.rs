//! Messages as JSON, for people.

use apache_avro::{Schema, schema::RecordSchema};
use jiff::Timestamp;
use serde_json::Value;

use crate::Message;

impl Message {
    /// The record as a JSON object for people to read: the schema's field
    /// names in the schema's order, and times as RFC 3339 text.
    ///
    /// This is not a wire format, and there is no way back.
    pub fn to_json(&self) -> Value {
        let Schema::Record(schema) = self.record_type().schema() else {
            return Value::Null;
        };
        // Serializing plain structs of texts and numbers cannot fail.
        let mut value = serde_json::to_value(self).unwrap_or_default();
        show_times(schema, &mut value);
        value
    }
}

fn show_times(schema: &RecordSchema, value: &mut Value) {
    for field in &schema.fields {
        if let Some(value) = value.get_mut(&field.name) {
            show(&field.schema, value);
        }
    }
}

fn show(schema: &Schema, value: &mut Value) {
    match (schema, &mut *value) {
        (Schema::TimestampMillis, Value::Number(millis)) => {
            let time = millis
                .as_i64()
                .and_then(|millis| Timestamp::from_millisecond(millis).ok());
            if let Some(time) = time {
                *value = Value::String(time.to_string());
            }
        }
        (Schema::Union(union), _) => {
            for branch in union.variants() {
                show(branch, value);
            }
        }
        (Schema::Array(array), Value::Array(items)) => {
            for item in items {
                show(&array.items, item);
            }
        }
        (Schema::Record(record), Value::Object(_)) => show_times(record, value),
        _ => {}
    }
}
