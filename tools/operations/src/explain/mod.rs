//! One cart, explained: what state its saga is in and since when, what it waits
//! for, every record of it in causal order, its rows, who lags, and what happens
//! next or what can be done.
//!
//! It is found by what is known: the saga's row and its history name the records
//! that were handled, by partition and offset. What followed from each of them is
//! near the same time in the partition of the cart's key. So the cost depends on
//! the cart, and not on what else the topics hold.
//!
//! What does not answer within the time limit is left out and told of in a note: the
//! registry once for all records, and the orchestrator's database too. Without the
//! latter only the newest records of the topics are looked at, and the participants are
//! asked by the cart. Of a saga that a newer version wrote what every version
//! understands is told.

mod gather;
mod notes;
mod nothing;
mod outlook;
mod places;
mod stored;
mod text;
mod timeline;

use std::time::Duration;

use audit::{Result, Target};
use contracts::ids::CartId;
use flow::Saga;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

/// Limits of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long Kafka, a database or the registry may be silent.
    pub timeout: Duration,
    /// Records that one search for a record may read.
    pub search_records: u64,
    /// Transitions of the history that are shown, the newest.
    pub transitions: u32,
}

impl Default for Limits {
    /// Five seconds; 2,000 records; 100 transitions.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            search_records: 2_000,
            transitions: 100,
        }
    }
}

/// Everything that can be said of one cart.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The cart.
    pub cart_id: CartId,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// Whether the orchestrator's database answered. Where it did not, that no saga is
    /// here says nothing, and records were looked for at the ends of the topics only.
    pub orchestrator_answered: bool,
    /// Whether all did who were asked: Kafka, the registry, and each database whose address
    /// was given.
    pub all_answered: bool,
    /// The saga of its current checkout; absent where none is known, or a newer version
    /// wrote it.
    pub saga: Option<Saga>,
    /// The state in words of the contracts, such as `IN_PROGRESS`; absent where no saga is
    /// known.
    pub state: Option<String>,
    /// The step it is at.
    pub step: Option<String>,
    /// Since when it is in that state.
    pub since: Option<Timestamp>,
    /// What it waits for.
    pub waits_for: Option<WaitsFor>,
    /// What happened, in causal order: a record, the transition that it caused, the
    /// records that followed.
    pub timeline: Vec<Entry>,
    /// What the services' databases have of it.
    pub rows: Vec<Rows>,
    /// How far those are who have something to read for it.
    pub lag: Vec<Lag>,
    /// What happens next, or what is wrong, in plain words.
    pub next: String,
    /// What an operator can type.
    pub commands: Vec<String>,
    /// What could not be found out.
    pub notes: Vec<String>,
    /// Records that were read to say all this.
    pub records_read: u64,
}

/// The answer that a saga waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitsFor {
    /// The step that is done or undone.
    pub step: String,
    /// Whose answer: the namespace of its contracts.
    pub participant: String,
    /// The service that gives it.
    pub service: String,
    /// What was sent.
    pub command: String,
    /// How often it was sent; 0: it waits unsent for its participant.
    pub tries: u32,
    /// When it was first sent, or would have been.
    pub since: Timestamp,
    /// When it is sent again, or given up.
    pub until: Timestamp,
    /// Whether it waits because its participant is held back by its brake.
    pub held: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Entry {
    /// A record on a topic.
    Record(Box<Record>),
    /// The saga moved.
    Transition(Transition),
}

impl Entry {
    /// When it happened, as far as is known.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Entry::Record(record) => record.at,
            Entry::Transition(transition) => Some(transition.at),
        }
    }
}

/// A record on a topic.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Full name of the topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
    /// The broker's or the producer's time of it.
    pub at: Option<Timestamp>,
    /// The type of the record, such as `ordering.OrderCreated`.
    #[serde(rename = "type")]
    pub record_type: String,
    /// Who published it, by its own account.
    pub source: Option<String>,
    /// Its identity, by which repeats are known.
    pub id: Option<String>,
    /// Its trace.
    pub trace_id: Option<String>,
    /// Its content; absent where it is not decoded.
    pub content: Option<Value>,
    /// What is to be said of it: that nobody has read it yet, why it is a dead
    /// letter, why it is not decoded.
    pub remark: Option<String>,
}

#[cfg(test)]
impl Record {
    /// A command to payment, in partition 0 of this topic.
    fn sample(topic: &str, offset: i64, remark: Option<&str>) -> Self {
        Self {
            topic: topic.to_owned(),
            partition: 0,
            offset,
            at: None,
            record_type: "payments.AuthorizePayment".to_owned(),
            source: None,
            id: None,
            trace_id: None,
            content: None,
            remark: remark.map(str::to_owned),
        }
    }
}

/// A transition of the saga, as its history has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// When.
    pub at: Timestamp,
    /// The attempt it belongs to.
    pub checkout_id: uuid::Uuid,
    /// What happened.
    pub outcome: String,
    /// Its step or reason.
    pub reason: String,
    /// The state after it.
    pub state: String,
    /// The step after it.
    pub step: Option<String>,
    /// How often that step's command was sent.
    pub tries: Option<i32>,
    /// Whether a record caused it; else a timer did.
    pub by_record: bool,
    /// Which operator asked for what and why.
    pub operator: Option<String>,
    /// Its trace.
    pub trace_id: String,
}

/// What the database of a service has.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rows {
    /// The service.
    pub service: String,
    /// The table.
    pub table: String,
    /// Its rows, columns by name.
    pub rows: Vec<Value>,
}

/// How far a service is with a partition that has, or may get, something of this
/// cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// The service.
    pub service: String,
    /// Full name of the topic that it reads.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next record that it reads; absent where it is not known.
    pub position: Option<i64>,
    /// The end of the log.
    pub end: i64,
    /// Offsets in between, transaction markers included.
    pub unread: i64,
    /// Whether the position is from the service's database, and not the one that
    /// it told Kafka now and then.
    pub exact: bool,
}

/// Explains a cart.
///
/// # Errors
/// When the registry's address cannot be right. Kafka, the registry or a database that
/// cannot be asked is a note, and what it has is missing.
pub async fn explain(target: &Target, cart: CartId, limits: Limits) -> Result<Explanation> {
    gather::explanation(target, cart, limits).await
}

impl Explanation {
    /// For people: with colours, to be printed through something that takes them
    /// off where they are not wanted.
    pub fn text(&self) -> String {
        text::text(self)
    }
}
