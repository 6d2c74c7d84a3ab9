//! One dead letter, with all that is known of it.

use contracts::ids::CartId;
use contracts::{
    CE_TYPE, DLQ_CODE, DLQ_DETAIL, DLQ_OFFSET, DLQ_PARTITION, DLQ_SERVICE, DecodeError, Message,
    TRACEPARENT, Topic, TopicNames, TraceContext,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::reading::Read;
use super::{Discarded, LetterId};
use crate::show::{BAD, FAINT, STRONG, clean, clock, paint};

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    /// Where it is.
    pub letter: LetterId,
    /// The topic that it was put aside from.
    #[serde(serialize_with = "name_of")]
    pub topic: Topic,
    /// Partition and offset that it had there, as its headers say.
    pub was_at: Option<(i32, i64)>,
    /// When it was put aside.
    pub at: Option<Timestamp>,
    /// The service that put it aside.
    pub service: String,
    /// Why.
    pub code: String,
    /// The same in words.
    pub detail: String,
    /// The type of the record, as far as it can be told.
    #[serde(rename = "type")]
    pub record_type: Option<String>,
    /// The cart, where it decodes.
    pub cart_id: Option<CartId>,
    /// Its key, as text.
    pub key: Option<String>,
    /// Bytes of its value.
    pub bytes: usize,
    /// Its content, where it decodes.
    pub content: Option<Value>,
    /// Why it does not decode with this version's contracts. Absent together with the
    /// content where that is not known: the registry did not give the schema.
    pub decodes_not: Option<String>,
    /// Its trace.
    pub trace_id: Option<String>,
    /// Whether it was redriven or discarded.
    pub handled: bool,
    /// Who discarded it and why, where it was and that is still known.
    pub discarded: Option<Discarded>,
    /// Key, value and headers as they are.
    #[serde(skip)]
    pub(super) raw: Parts,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn name_of<S: serde::Serializer>(topic: &Topic, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(topic.name())
}

/// What is published again.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parts {
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Letter {
    /// A record that was put aside from a topic; with what came of decoding it.
    pub(super) fn of(
        names: &TopicNames,
        topic: Topic,
        read: Read,
        decoded: &Result<Message, DecodeError>,
    ) -> Self {
        let Read {
            raw,
            key,
            handled,
            discarded,
        } = read;
        let number = |name: &str| raw.header(name).and_then(|text| text.parse::<i64>().ok());
        let was_at = match (number(DLQ_PARTITION), number(DLQ_OFFSET)) {
            (Some(partition), Some(offset)) => i32::try_from(partition).ok().map(|p| (p, offset)),
            _ => None,
        };
        let trace = raw.header(TRACEPARENT);
        let trace = trace.and_then(|parent| TraceContext::parse(&parent));
        let (message, decodes_not) = match decoded {
            Ok(message) => (Some(message), None),
            Err(DecodeError::Poison(poison)) => (None, Some(clean(&poison.to_string()))),
            Err(DecodeError::Unavailable(_)) => (None, None),
        };
        Self {
            letter: LetterId {
                topic: names.dlq(topic).to_owned(),
                partition: raw.partition,
                offset: raw.offset,
            },
            topic,
            was_at,
            at: raw.at,
            service: clean(
                &raw.header(DLQ_SERVICE)
                    .unwrap_or_else(|| "unknown".to_owned()),
            ),
            code: clean(&raw.header(DLQ_CODE).unwrap_or_else(|| "UNKNOWN".to_owned())),
            detail: clean(&raw.header(DLQ_DETAIL).unwrap_or_default()),
            record_type: message
                .map(|message| message.record_type().full_name().to_owned())
                .or_else(|| raw.header(CE_TYPE).map(|name| clean(&name))),
            cart_id: message.and_then(Message::cart_id),
            key: key
                .as_deref()
                .map(|key| clean(&String::from_utf8_lossy(key))),
            bytes: raw.payload.as_ref().map_or(0, Vec::len),
            content: message.map(Message::to_json),
            decodes_not,
            trace_id: trace.map(|trace| Uuid::from_bytes(trace.trace_id).simple().to_string()),
            handled,
            discarded: discarded.filter(|_| handled),
            raw: Parts {
                key,
                payload: raw.payload,
                headers: raw.headers,
            },
        }
    }

    /// Its headers, as text.
    pub fn headers(&self) -> impl Iterator<Item = (String, String)> {
        self.raw.headers.iter().map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_deref().unwrap_or_default());
            (clean(name), clean(&value))
        })
    }

    /// All of it, for people, with colours.
    pub fn text(&self) -> String {
        let mut text = format!(
            "{}{}\n",
            paint(STRONG, &self.letter),
            if self.handled { " (handled)" } else { "" }
        );
        let mut line = |name: &str, value: String| {
            text.push_str(&format!("  {:<10}{value}\n", name));
        };
        line("code", paint(BAD, &self.code));
        line("detail", self.detail.clone());
        line("put aside", format!("by {}", self.service));
        line("at", self.at.map_or_else(String::new, clock));
        line(
            "was at",
            match self.was_at {
                Some((partition, offset)) => {
                    format!("{}, partition {partition}, offset {offset}", self.topic)
                }
                None => self.topic.to_string(),
            },
        );
        line("type", self.record_type.clone().unwrap_or_default());
        line("key", self.key.clone().unwrap_or_default());
        line("trace", self.trace_id.clone().unwrap_or_default());
        line("bytes", self.bytes.to_string());
        if let Some(Discarded { by, at, reason }) = &self.discarded {
            let (by, reason) = (clean(by), clean(reason));
            line("discarded", format!("by {by}, {}: {reason}", clock(*at)));
        }
        match (&self.content, &self.decodes_not) {
            (Some(content), _) => line("content", clean(&content.to_string())),
            (None, Some(why)) => line("content", format!("does not decode: {why}")),
            (None, None) => line(
                "content",
                "not decoded: the schema registry did not give its schema".to_owned(),
            ),
        }
        for (name, value) in self.headers() {
            text.push_str(&paint(FAINT, format!("  {name}: {value}")));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
impl Letter {
    /// A letter of a topic, put aside for this reason, which does not decode.
    pub(super) fn sample(topic: Topic, offset: i64, code: &str) -> Self {
        let why = "the record has no value";
        let poison = contracts::Poison::new(contracts::ErrorCode::NullValue, why);
        Self::undecoded(topic, offset, code, poison.into())
    }

    /// A letter that was not decoded, for this reason.
    pub(super) fn undecoded(topic: Topic, offset: i64, code: &str, why: DecodeError) -> Self {
        let read = Read {
            raw: crate::log::Raw {
                partition: 0,
                offset,
                at: None,
                payload: None,
                headers: vec![(DLQ_CODE.to_owned(), Some(code.as_bytes().to_vec()))],
            },
            key: None,
            handled: false,
            discarded: None,
        };
        Self::of(&TopicNames::default(), topic, read, &Err(why))
    }
}

#[cfg(test)]
mod tests {
    use contracts::RegistryError;

    use super::*;
    use crate::letters::Redriven;

    #[test]
    fn poison_is_told_apart_from_what_the_registry_did_not_give() {
        let away = RegistryError::Refused("no rights".to_owned()).into();
        let unknown = Letter::undecoded(Topic::ShoppingCheckouts, 1, "HANDLER_PANICKED", away);
        let poison = Letter::sample(Topic::ShoppingCheckouts, 0, "NULL_VALUE");
        let text = poison.text();
        assert!(text.contains("does not decode: NULL_VALUE"), "{text}");
        let text = unknown.text();
        assert!(text.contains("not decoded: the schema registry"), "{text}");
        // A redrive warns of what will come back, and of nothing else.
        let warning = |letter: &Letter| Redriven::planned(&TopicNames::default(), letter).warning;
        let warned = warning(&poison).expect("a warning");
        assert!(warned.contains("NULL_VALUE"), "{warned}");
        assert_eq!(warning(&unknown), None);
    }
}
