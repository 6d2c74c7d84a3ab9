//! Dead letters: what services put aside, why, and what became of it.
//!
//! A letter is open until it is redriven or discarded. That is remembered in Kafka,
//! as the committed offsets of a group that nobody is a member of (`marks`): the
//! letters themselves are never changed or removed before their retention is over.

mod marks;
mod redrive;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::str::FromStr;

use audit::{Error, LogReader, Result, Target};
use contracts::ids::CartId;
use contracts::{CE_TYPE, Codec, DecodeError, TRACEPARENT, Topic, TopicNames, TraceContext};
use jiff::Timestamp;
use rdkafka::Offset;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

pub use marks::Discarded;
pub use redrive::{Redriven, discard, redrive, rehearse};

use crate::log::Raw;
use crate::show::{BAD, FAINT, STRONG, clean, clock, paint, table};

/// What the names of headers that tell of the error begin with.
const ERRORS: &str = "__connect.errors.";

/// Where a letter is: `TOPIC:PARTITION:OFFSET`, the topic by its full name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterId {
    /// Full name of the dead-letter topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)
    }
}

impl FromStr for LetterId {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let read = || {
            let (rest, offset) = text.rsplit_once(':')?;
            let (topic, partition) = rest.rsplit_once(':')?;
            Some(Self {
                topic: (!topic.is_empty()).then(|| topic.to_owned())?,
                partition: partition.parse().ok().filter(|number| *number >= 0)?,
                offset: offset.parse().ok().filter(|number| *number >= 0)?,
            })
        };
        read().ok_or_else(|| {
            "a letter is TOPIC:PARTITION:OFFSET, as `checkoutctl dlq list` shows it".to_owned()
        })
    }
}

impl Serialize for LetterId {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Which letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Put aside from these topics; none: from any.
    pub topics: Vec<Topic>,
    /// For this reason, such as `NOT_FRAMED`.
    pub code: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// These alone.
    pub letters: Vec<LetterId>,
    /// Those that were redriven or discarded, too.
    pub handled: bool,
}

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
    /// Why it does not decode with this version's contracts.
    pub decodes_not: Option<String>,
    /// Its trace.
    pub trace_id: Option<String>,
    /// Whether it was redriven or discarded.
    pub handled: bool,
    /// Who discarded it and why, where it was and that is still known.
    pub discarded: Option<Discarded>,
    /// Key, value and headers as they are.
    #[serde(skip)]
    raw: Parts,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn name_of<S: serde::Serializer>(
    topic: &Topic,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(topic.name())
}

/// What is published again.
#[derive(Clone, Debug, Default, PartialEq)]
struct Parts {
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// The letters that a look found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letters {
    /// In the order of topics, and of time in each.
    pub letters: Vec<Letter>,
    /// Whether there are more than were asked for.
    pub more: bool,
}

/// Letters that were put aside for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The topic that they were put aside from.
    pub topic: String,
    /// The service that did it.
    pub service: String,
    /// Why.
    pub code: String,
    /// The same in words, without what differs: numbers and ids.
    pub detail: String,
    /// How many.
    pub count: u64,
    /// When the first came.
    pub first: Option<Timestamp>,
    /// When the last came.
    pub last: Option<Timestamp>,
    /// One of them: the last.
    pub example: LetterId,
}

/// Reads letters, at most `limit`; `tell` hears how many were read.
///
/// # Errors
/// When Kafka or the registry cannot be asked, or a topic is none of dead letters.
pub async fn read(
    target: &Target,
    filter: &Filter,
    limit: usize,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<Letters> {
    let codec = Codec::connect(&target.registry, target.topics.clone(), &[]).await?;
    let mut topics: Vec<Topic> = Vec::new();
    for letter in &filter.letters {
        topics.push(topic_of(&target.topics, &letter.topic)?);
    }
    if topics.is_empty() {
        let consumed = Topic::ALL.iter().copied();
        topics.extend(consumed.filter(|topic| topic.is_consumed()));
    }
    topics.retain(|topic| filter.topics.is_empty() || filter.topics.contains(topic));
    topics.sort_unstable();
    topics.dedup();

    let mut letters = Vec::new();
    let mut more = false;
    for topic in topics {
        let reading = Reading {
            target: target.clone(),
            filter: filter.clone(),
            topic,
            left: limit.saturating_sub(letters.len()),
        };
        let read = tokio::task::spawn_blocking(move || reading.read())
            .await
            .map_err(|_| Error::Invalid("the thread that reads Kafka broke down".to_owned()))?;
        let (found, cut) = read?;
        more |= cut;
        for (raw, standing) in found {
            letters.push(letter(&codec, &target.topics, topic, raw, standing).await?);
        }
        tell(&format!("{} dead letters read", letters.len()));
    }
    letters.sort_by_key(|letter| (letter.topic, letter.at, letter.letter.offset));
    Ok(Letters { letters, more })
}

/// The topic whose dead letters are in the topic of this full name.
fn topic_of(names: &TopicNames, dlq: &str) -> Result<Topic> {
    let mut consumed = Topic::ALL.iter().copied();
    consumed
        .find(|topic| topic.is_consumed() && names.dlq(*topic) == dlq)
        .ok_or_else(|| {
            Error::Invalid(format!(
                "{dlq} is no dead-letter topic of this installation; --topic-prefix says what \
                 their names begin with"
            ))
        })
}

/// Reads the letters of one topic.
struct Reading {
    target: Target,
    filter: Filter,
    topic: Topic,
    left: usize,
}

/// What became of a letter.
#[derive(Default)]
struct Standing {
    handled: bool,
    discarded: Option<Discarded>,
}

/// A record with its key, and what became of it.
type Read = ((Raw, Option<Vec<u8>>), Standing);

impl Reading {
    fn read(&self) -> Result<(Vec<Read>, bool)> {
        let name = self.target.topics.dlq(self.topic);
        let log = LogReader::new(&self.target.kafka)?;
        let partitions = log.partitions(name)?;
        let marks = marks::read(&self.target, name, &partitions)?;
        let from = match self.filter.since {
            Some(since) => log.offsets_at(name, &partitions, since.as_millisecond())?,
            None => partitions
                .iter()
                .map(|partition| (*partition, Offset::Beginning))
                .collect(),
        };
        let named = |partition: i32, offset: i64| {
            let mut named = self.filter.letters.iter();
            let is = |letter: &LetterId| {
                letter.topic == name && letter.partition == partition && letter.offset == offset
            };
            self.filter.letters.is_empty() || named.any(is)
        };
        let mut starts = Vec::new();
        for (partition, from) in from {
            let (low, high) = log.watermarks(name, partition)?;
            let from = match from {
                Offset::Offset(offset) => offset.max(low),
                Offset::End => high,
                _ => low,
            };
            // What is handled from the beginning on need not be read.
            let done = marks.get(&partition).map_or(0, marks::Marks::handled_to);
            let from = match self.filter.handled {
                true => from,
                false => from.max(done),
            };
            let of_partition = self
                .filter
                .letters
                .iter()
                .filter(|letter| letter.topic == name && letter.partition == partition);
            let first_named = of_partition.map(|letter| letter.offset).min();
            let from = match (self.filter.letters.is_empty(), first_named) {
                (true, _) => from,
                (false, Some(first)) => from.max(first),
                (false, None) => continue,
            };
            if from < high {
                starts.push((partition, Offset::Offset(from)));
            }
        }
        let last_named = |partition: i32| {
            let of_partition = self
                .filter
                .letters
                .iter()
                .filter(|letter| letter.topic == name && letter.partition == partition);
            of_partition.map(|letter| letter.offset).max()
        };
        let mut found: Vec<Read> = Vec::new();
        let mut cut = false;
        log.read(name, &starts, &mut |record| {
            use rdkafka::message::Message;
            let (partition, offset) = (record.partition(), record.offset());
            if last_named(partition).is_some_and(|last| offset > last) {
                return Ok(ControlFlow::Break(()));
            }
            let standing = marks
                .get(&partition)
                .map_or_else(Standing::default, |marks| Standing {
                    handled: marks.is_handled(offset),
                    discarded: marks.discarded(offset).cloned(),
                });
            let handled = standing.handled;
            let raw = Raw::of(record);
            let code = raw.header(&format!("{ERRORS}exception.class.name"));
            let code_fits = self.filter.code.is_none() || self.filter.code == code;
            if named(partition, offset) && code_fits && (!handled || self.filter.handled) {
                if found.len() >= self.left {
                    cut = true;
                    return Ok(ControlFlow::Break(()));
                }
                let key = record.key().map(<[u8]>::to_vec);
                found.push(((raw, key), standing));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((found, cut))
    }
}

async fn letter(
    codec: &Codec,
    names: &TopicNames,
    topic: Topic,
    (raw, key): (Raw, Option<Vec<u8>>),
    standing: Standing,
) -> Result<Letter> {
    let decoded = match codec.decode(topic, raw.payload.as_deref()).await {
        Ok(message) => Ok(message),
        Err(DecodeError::Poison(poison)) => Err(clean(&poison.to_string())),
        Err(DecodeError::Unavailable(error)) => return Err(Error::Registry(error)),
    };
    let header = |name: &str| raw.header(&format!("{ERRORS}{name}"));
    let number = |name: &str| header(name).and_then(|text| text.parse::<i64>().ok());
    let was_at = match (number("partition"), number("offset")) {
        (Some(partition), Some(offset)) => i32::try_from(partition).ok().map(|p| (p, offset)),
        _ => None,
    };
    let trace = raw.header(TRACEPARENT);
    let trace = trace.and_then(|parent| TraceContext::parse(&parent));
    let message = decoded.as_ref().ok();
    Ok(Letter {
        letter: LetterId {
            topic: names.dlq(topic).to_owned(),
            partition: raw.partition,
            offset: raw.offset,
        },
        topic,
        was_at,
        at: raw.at,
        service: clean(&header("connector.name").unwrap_or_else(|| "unknown".to_owned())),
        code: clean(&header("exception.class.name").unwrap_or_else(|| "UNKNOWN".to_owned())),
        detail: clean(&header("exception.message").unwrap_or_default()),
        record_type: message
            .map(|message| message.record_type().full_name().to_owned())
            .or_else(|| raw.header(CE_TYPE).map(|name| clean(&name))),
        cart_id: message.and_then(contracts::Message::cart_id),
        key: key
            .as_deref()
            .map(|key| clean(&String::from_utf8_lossy(key))),
        bytes: raw.payload.as_ref().map_or(0, Vec::len),
        content: message.map(contracts::Message::to_json),
        decodes_not: decoded.as_ref().err().cloned(),
        trace_id: trace.map(|trace| Uuid::from_bytes(trace.trace_id).simple().to_string()),
        handled: standing.handled,
        discarded: standing.discarded.filter(|_| standing.handled),
        raw: Parts {
            key,
            payload: raw.payload,
            headers: raw.headers,
        },
    })
}

impl Letters {
    /// Whether these were found, all of them.
    ///
    /// # Errors
    /// Names the first that was not.
    pub fn all_there(&self, wanted: &[LetterId]) -> Result<()> {
        let is_there = |id: &&LetterId| self.letters.iter().any(|letter| letter.letter == **id);
        match wanted.iter().find(|id| !is_there(id)) {
            None => Ok(()),
            Some(id) => Err(Error::Invalid(format!(
                "there is no letter at {id}; `checkoutctl dlq list` names those there are"
            ))),
        }
    }

    /// By topic and reason, the most first.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: BTreeMap<(Topic, &str, &str, String), Group> = BTreeMap::new();
        for letter in &self.letters {
            let detail = without_what_differs(&letter.detail);
            let key = (
                letter.topic,
                letter.service.as_str(),
                letter.code.as_str(),
                detail.clone(),
            );
            let group = groups.entry(key).or_insert_with(|| Group {
                topic: letter.topic.name().to_owned(),
                service: letter.service.clone(),
                code: letter.code.clone(),
                detail,
                count: 0,
                first: letter.at,
                last: letter.at,
                example: letter.letter.clone(),
            });
            group.count += 1;
            group.first = group.first.min(letter.at);
            if letter.at >= group.last {
                group.last = letter.at;
                group.example = letter.letter.clone();
            }
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }

    /// The letters of a group.
    pub fn of<'l>(&'l self, group: &'l Group) -> impl Iterator<Item = &'l Letter> {
        self.letters.iter().filter(|letter| {
            letter.topic.name() == group.topic
                && letter.service == group.service
                && letter.code == group.code
                && without_what_differs(&letter.detail) == group.detail
        })
    }

    /// The groups, for people, with colours.
    pub fn text(&self) -> String {
        if self.letters.is_empty() {
            return "no dead letters\n".to_owned();
        }
        let rows = self.groups().into_iter().map(|group| {
            vec![
                group.count.to_string(),
                group.topic,
                group.service,
                paint(BAD, group.code),
                group.last.map_or_else(String::new, clock),
                group.example.to_string(),
                group.detail,
            ]
        });
        let headings = [
            "NUMBER",
            "FROM",
            "BY",
            "CODE",
            "LAST",
            "FOR EXAMPLE",
            "DETAIL",
        ];
        let mut text = table(&headings, rows.collect());
        if self.more {
            text.push_str("there are more: narrow the filter, or raise --limit\n");
        }
        text
    }
}

/// A text without the words that have digits: ids, numbers, offsets.
fn without_what_differs(detail: &str) -> String {
    let words = detail
        .split(' ')
        .map(|word| match word.chars().any(|c| c.is_ascii_digit()) {
            true => "…",
            false => word,
        });
    words.collect::<Vec<_>>().join(" ")
}

impl Letter {
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
            (None, why) => line(
                "content",
                format!("does not decode: {}", why.clone().unwrap_or_default()),
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
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_named_by_its_place() {
        let id: LetterId = "eu.shopping.checkouts.dlq:3:42".parse().unwrap();
        assert_eq!((id.partition, id.offset), (3, 42));
        assert_eq!(id.to_string(), "eu.shopping.checkouts.dlq:3:42");
        for bad in ["", "a", "a:1", ":1:2", "a:b:1", "a:-1:1", "a:1:-1"] {
            assert!(bad.parse::<LetterId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn details_are_one_group_whatever_their_ids() {
        assert_eq!(
            without_what_differs("eventId 6f2d7c1e was used before, by cart 3f1a"),
            "eventId … was used before, by cart …"
        );
    }
}
