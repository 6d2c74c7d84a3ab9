//! The history of sagas: one entry for every transition that changed one, and for
//! every operator's input, with its cause.

use contracts::ids::{CartId, CheckoutId, GenericUuid};
use contracts::{Message, TraceContext};
use flow::{Saga, Transition};
use jiff::Timestamp;
use runtime::{Body, Home, Input, Sql};
use serde::Serialize;
use tokio_postgres::Row;
use uuid::Uuid;

/// Adds entries; several arrays, one row each.
pub(crate) const INSERT: &str = "
INSERT INTO saga_transitions (cart_id, checkout_id, at, outcome, reason, state, step, tries,
    record_type, topic, partition, record_offset, operator, trace_id)
SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::timestamptz[]), unnest($4::text[]),
       unnest($5::text[]), unnest($6::text[]), unnest($7::text[]), unnest($8::int4[]),
       unnest($9::text[]), unnest($10::text[]), unnest($11::int4[]), unnest($12::int8[]),
       unnest($13::text[]), unnest($14::uuid[])";

/// The newest entries of one cart, newest first.
pub(crate) const OF_CART: &str = "
SELECT checkout_id, at, outcome, reason, state, step, tries, record_type, topic, partition,
    record_offset, operator, trace_id
FROM saga_transitions WHERE cart_id = $1 ORDER BY at DESC LIMIT $2";

/// The longest part of an operator's input that is kept, in characters.
const OPERATOR_MAX_CHARS: usize = 1_000;

/// What happened to a saga, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    cart_id: CartId,
    checkout_id: CheckoutId,
    at: Timestamp,
    outcome: &'static str,
    reason: &'static str,
    state: String,
    step: Option<&'static str>,
    tries: Option<i32>,
    cause: Option<Record>,
    operator: Option<String>,
    trace_id: Uuid,
}

/// The record that caused a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    name: &'static str,
    home: Home,
    offset: Option<i64>,
}

impl Entry {
    /// The entry of a transition; `None` where it changed nothing and nobody asked.
    pub(crate) fn of<A>(input: &Input<A>, transition: &Transition) -> Option<Self> {
        let operator = operator(input);
        if !transition.changed && operator.is_none() {
            return None;
        }
        let saga = transition.saga.as_ref()?;
        let progress = &saga.progress;
        Some(Self {
            cart_id: saga.cart_id,
            checkout_id: progress.checkout_id,
            at: input.now,
            outcome: transition.outcome.label(),
            reason: transition.outcome.reason(),
            state: progress.state.kind().to_string(),
            step: progress.state.step().map(flow::Step::name),
            tries: tries(saga),
            cause: cause(input),
            operator,
            trace_id: trace_id(&input.trace),
        })
    }
}

fn tries(saga: &Saga) -> Option<i32> {
    let waiting = saga.progress.state.waiting()?;
    Some(i32::try_from(waiting.tries).unwrap_or(i32::MAX))
}

fn cause<A>(input: &Input<A>) -> Option<Record> {
    match &input.body {
        Body::Message(message) => Some(Record {
            name: message.record_type().full_name(),
            home: input.home,
            offset: input.offset,
        }),
        Body::Timer(_) | Body::Answer(_) => None,
    }
}

/// Who asks for what and why, also where it is refused.
fn operator<A>(input: &Input<A>) -> Option<String> {
    let Body::Message(Message::SagaOperation(operation)) = &input.body else {
        return None;
    };
    let evidence = match &operation.evidence {
        Some(evidence) => format!(", evidence: {evidence}"),
        None => String::new(),
    };
    let text = format!(
        "{} by {}: {}{evidence}",
        operation.action, operation.operator, operation.reason
    );
    let shown = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    Some(shown.take(OPERATOR_MAX_CHARS).collect())
}

fn trace_id(trace: &TraceContext) -> Uuid {
    Uuid::from_bytes(trace.trace_id)
}

/// Writes the entries of a batch.
pub(crate) fn insert(entries: Vec<Entry>) -> Option<Sql> {
    if entries.is_empty() {
        return None;
    }
    macro_rules! column {
        ($of:expr) => {
            Box::new(entries.iter().map($of).collect::<Vec<_>>())
        };
    }
    let record = |entry: &Entry| entry.cause;
    Some(Sql::new(
        INSERT,
        vec![
            column!(|entry| entry.cart_id.into_untyped_uuid()),
            column!(|entry| entry.checkout_id.into_untyped_uuid()),
            column!(|entry| entry.at),
            column!(|entry| entry.outcome),
            column!(|entry| entry.reason),
            column!(|entry| entry.state.clone()),
            column!(|entry| entry.step),
            column!(|entry| entry.tries),
            column!(|entry| record(entry).map(|record| record.name)),
            column!(|entry| record(entry).map(|record| record.home.topic.name())),
            column!(|entry| record(entry).map(|record| record.home.partition)),
            column!(|entry| record(entry).and_then(|record| record.offset)),
            column!(|entry| entry.operator.clone()),
            column!(|entry| entry.trace_id),
        ],
    ))
}

/// An entry as operators are shown it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown {
    checkout_id: Uuid,
    at: Timestamp,
    outcome: String,
    reason: String,
    state: String,
    step: Option<String>,
    tries: Option<i32>,
    /// The record that caused it; absent where the saga's timer did.
    record: Option<ShownRecord>,
    operator: Option<String>,
    /// As in `traceparent`.
    trace_id: String,
}

/// A record, by its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownRecord {
    r#type: String,
    topic: String,
    partition: i32,
    offset: Option<i64>,
}

impl Shown {
    /// A row of [`OF_CART`].
    pub(crate) fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let record = match row.try_get::<_, Option<String>>("record_type")? {
            Some(r#type) => Some(ShownRecord {
                r#type,
                topic: row.try_get("topic")?,
                partition: row.try_get("partition")?,
                offset: row.try_get("record_offset")?,
            }),
            None => None,
        };
        Ok(Self {
            checkout_id: row.try_get("checkout_id")?,
            at: row.try_get("at")?,
            outcome: row.try_get("outcome")?,
            reason: row.try_get("reason")?,
            state: row.try_get("state")?,
            step: row.try_get("step")?,
            tries: row.try_get("tries")?,
            record,
            operator: row.try_get("operator")?,
            trace_id: row.try_get::<_, Uuid>("trace_id")?.simple().to_string(),
        })
    }
}
