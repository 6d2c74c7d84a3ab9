//! Reads what there is: database first, for it says where in the logs to look.

use std::collections::{BTreeMap, BTreeSet};

use audit::{Error, Result, Target, consumer};
use contracts::ids::{CartId, GenericUuid};
use contracts::{CE_ID, CE_SOURCE, CE_TYPE, Codec, RecordType, TRACEPARENT, Topic, TraceContext};
use flow::{Saga, State, Step};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::outlook::{self, Known};
use super::{Entry, Explanation, Lag, Limits, Record, Rows, Transition, WaitsFor};
use crate::databases::Db;
use crate::log::{Answers, Log, Lookup, Questions, Raw, Start};
use crate::row::column;
use crate::show::clean;

/// Records are looked for from a little before the transition that made them: its
/// time is one batch's, and kept in more digits than Kafka's.
const SLACK: SignedDuration = SignedDuration::from_millis(10);

/// Of the sendings of one command again, only the newest are looked for.
const RESENDINGS: usize = 5;

const SAGA: &str = "
SELECT cart_id, cart, progress, home_topic, home_partition, wake_at FROM sagas WHERE cart_id = $1";

const HISTORY: &str = "
SELECT checkout_id, at, outcome, reason, state, step, tries, record_type, topic, partition,
    record_offset, operator, trace_id
FROM saga_transitions WHERE cart_id = $1 ORDER BY at DESC LIMIT $2";

const POSITIONS: &str = "SELECT topic, partition, next_offset FROM progress WHERE topic = $1";

/// The rows of participants, by checkout: table, and its query.
const ROWS: &[(&str, &str, &str)] = &[
    (
        "inventory",
        "reservations",
        "SELECT to_jsonb(r) || jsonb_build_object('items', (
             SELECT jsonb_agg(jsonb_build_object('product_id', product_id, 'quantity', quantity)
                              ORDER BY line)
             FROM reservation_items i WHERE i.checkout_id = r.checkout_id)) AS row
         FROM reservations r WHERE r.checkout_id = ANY($1)",
    ),
    (
        "payment",
        "authorizations",
        "SELECT to_jsonb(a) AS row FROM authorizations a WHERE a.checkout_id = ANY($1)",
    ),
    (
        "order",
        "orders",
        "SELECT to_jsonb(o) || jsonb_build_object('items', (
             SELECT jsonb_agg(jsonb_build_object('product_id', product_id, 'quantity', quantity,
                                                 'unit_price', unit_price) ORDER BY line)
             FROM order_items i WHERE i.order_id = o.order_id)) AS row
         FROM orders o WHERE o.checkout_id = ANY($1)",
    ),
];

/// A row of the history, and the record that caused it.
struct Past {
    transition: Transition,
    cause: Option<(Topic, i32, Option<i64>)>,
}

/// The saga's row.
struct Row {
    saga: Saga,
    raw: Value,
    home_partition: i32,
    wake_at: Option<Timestamp>,
}

/// Why something is looked up.
enum Purpose {
    /// It caused this transition.
    Cause(usize),
    /// It followed from this transition, and must be there.
    Output(usize, RecordType),
    /// It may have followed; the topic is compacted.
    Snapshot(usize),
    /// Whatever else there is.
    Other,
}

pub(super) async fn explanation(
    target: &Target,
    cart: CartId,
    limits: Limits,
) -> Result<Explanation> {
    let now = Timestamp::now();
    let db = Db::orchestrator(target, limits.timeout).await?;
    let id = cart.into_untyped_uuid();
    let row = saga(&db, id).await?;
    let past = history(&db, id, limits.transitions).await?;
    let mut notes = Vec::new();
    if past.len() == limits.transitions as usize {
        notes.push(format!(
            "only the newest {} transitions are shown",
            limits.transitions
        ));
    }
    let waits_for = row.as_ref().and_then(|row| waits_for(&row.saga));
    let positions = positions(target, &db, waits_for.as_ref(), limits, &mut notes).await?;

    let (lookups, purposes) = lookups(row.as_ref(), &past, waits_for.as_ref(), &positions);
    let mut ends = BTreeSet::from([Topic::ShoppingCheckouts]);
    if let Some(waits) = &waits_for {
        ends.extend(topics_of(waits));
    }
    let answers = {
        let (target, key) = (target.clone(), cart.to_string());
        let asking = move || {
            let names = &target.topics;
            let mut kafka = target.kafka.clone();
            kafka.timeout = limits.timeout;
            Questions {
                kafka: &kafka,
                name: &|log| name(names, log).to_owned(),
                key: key.as_bytes(),
                lookups,
                ends: ends
                    .into_iter()
                    .filter_map(|topic| {
                        let log = Log {
                            topic,
                            is_dlq: false,
                        };
                        let group = format!("{}checkout-{}", names.prefix(), consumer(topic)?);
                        Some((log, group))
                    })
                    .collect(),
                at_most: limits.search_records,
            }
            .ask()
        };
        tokio::task::spawn_blocking(asking)
            .await
            .map_err(|_| Error::Invalid("the thread that reads Kafka broke down".to_owned()))??
    };

    let codec = Codec::connect(&target.registry, target.topics.clone(), &[]).await?;
    let lag = lags(target, &answers, &positions, cart);
    let mut assembly = Assembly {
        target,
        codec: &codec,
        cart,
        positions: &positions,
        seen: BTreeSet::new(),
        notes,
    };
    let timeline = assembly.timeline(&past, &purposes, &answers).await;
    let mut notes = assembly.notes;
    let rows = rows(target, row.as_ref(), &timeline, &past, limits, &mut notes).await;

    let saga = row.as_ref().map(|row| row.saga.clone());
    let known = Known {
        cart,
        now,
        saga: saga.as_ref(),
        home_partition: row.as_ref().map(|row| row.home_partition),
        wake_at: row.as_ref().and_then(|row| row.wake_at),
        waits_for: waits_for.as_ref(),
        timeline: &timeline,
        lag: &lag,
        names: &target.topics,
        search_records: limits.search_records,
    };
    let (next, commands) = outlook::of(&known);
    Ok(Explanation {
        cart_id: cart,
        asked_at: now,
        state: saga
            .as_ref()
            .map(|saga| saga.progress.state.kind().to_string()),
        since: saga.as_ref().map(|saga| saga.progress.updated_at),
        saga,
        waits_for,
        timeline,
        rows,
        lag,
        next,
        commands,
        notes,
        records_read: answers.read,
    })
}

fn name(names: &contracts::TopicNames, log: Log) -> &str {
    match log.is_dlq {
        true => names.dlq(log.topic),
        false => names.name(log.topic),
    }
}

async fn saga(db: &Db, cart: Uuid) -> Result<Option<Row>> {
    let rows = db.query(SAGA, &[&cart]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let Json(raw): Json<Value> = column(row, "progress")?;
    Ok(Some(Row {
        saga: crate::sagas::saga(row)?,
        raw,
        home_partition: column(row, "home_partition")?,
        wake_at: column(row, "wake_at")?,
    }))
}

/// The history, oldest first.
async fn history(db: &Db, cart: Uuid, at_most: u32) -> Result<Vec<Past>> {
    let rows = db.query(HISTORY, &[&cart, &i64::from(at_most)]).await?;
    rows.iter()
        .rev()
        .map(|row| {
            let topic: Option<String> = column(row, "topic")?;
            let topic = topic.and_then(|name| Topic::ALL.iter().find(|topic| topic.name() == name));
            let cause = match (topic, column::<Option<i32>>(row, "partition")?) {
                (Some(topic), Some(partition)) => {
                    Some((*topic, partition, column(row, "record_offset")?))
                }
                _ => None,
            };
            Ok(Past {
                transition: Transition {
                    at: column(row, "at")?,
                    checkout_id: column(row, "checkout_id")?,
                    outcome: column(row, "outcome")?,
                    reason: column(row, "reason")?,
                    state: column(row, "state")?,
                    step: column(row, "step")?,
                    tries: column(row, "tries")?,
                    by_record: column::<Option<String>>(row, "record_type")?.is_some(),
                    operator: column(row, "operator")?,
                    trace_id: column::<Uuid>(row, "trace_id")?.simple().to_string(),
                },
                cause,
            })
        })
        .collect()
}

fn waits_for(saga: &Saga) -> Option<WaitsFor> {
    let waiting = saga.progress.state.waiting()?;
    let definition = waiting.step.definition();
    let command = command(&saga.progress.state)?;
    Some(WaitsFor {
        step: waiting.step.to_string(),
        participant: definition.owner.to_owned(),
        service: consumer(command.topic())?.to_owned(),
        command: command.full_name().to_owned(),
        tries: waiting.tries,
        since: waiting.since,
        until: waiting.due_at,
        held: waiting.held,
    })
}

/// The command that is out in a state.
fn command(state: &State) -> Option<RecordType> {
    let definition = state.waiting()?.step.definition();
    Some(match state {
        State::InProgress(_) => definition.command.record,
        _ => definition.compensation.record,
    })
}

/// The topics that the awaited command and its answers go by.
fn topics_of(waits: &WaitsFor) -> BTreeSet<Topic> {
    let Ok(step) = waits.step.parse::<Step>() else {
        return BTreeSet::new();
    };
    let definition = step.definition();
    BTreeSet::from([
        definition.command.record.topic(),
        definition.compensation.record.topic(),
        definition.success.record.topic(),
        definition.compensation.acknowledged_by.topic(),
    ])
}

/// The next offsets that the services read, by topic and partition.
type Positions = BTreeMap<(Topic, i32), i64>;

async fn positions(
    target: &Target,
    orchestrator: &Db,
    waits_for: Option<&WaitsFor>,
    limits: Limits,
    notes: &mut Vec<String>,
) -> Result<Positions> {
    let mut topics = BTreeSet::from([Topic::ShoppingCheckouts]);
    topics.extend(waits_for.map(topics_of).into_iter().flatten());
    let mut positions = Positions::new();
    for topic in topics {
        let rows = match consumer(topic) {
            None => continue,
            Some("orchestrator") => orchestrator.query(POSITIONS, &[&topic.name()]).await?,
            // Kafka knows roughly, where the database cannot be asked.
            Some(service) => match Db::open(target, service, limits.timeout).await {
                Ok(None) => continue,
                Ok(Some(db)) => match db.query(POSITIONS, &[&topic.name()]).await {
                    Ok(rows) => rows,
                    Err(error) => {
                        notes.push(error.to_string());
                        continue;
                    }
                },
                Err(error) => {
                    notes.push(error.to_string());
                    continue;
                }
            },
        };
        for row in &rows {
            let next: Option<i64> = column(row, "next_offset")?;
            positions.insert((topic, column(row, "partition")?), next.unwrap_or(0));
        }
    }
    Ok(positions)
}

/// Where to look, and why.
fn lookups(
    row: Option<&Row>,
    past: &[Past],
    waits_for: Option<&WaitsFor>,
    positions: &Positions,
) -> (Vec<Lookup>, Vec<Purpose>) {
    let mut asked = (Vec::new(), Vec::new());
    let mut ask = |topic, is_dlq, partition, start, wanted: Option<RecordType>, purpose| {
        asked.0.push(Lookup {
            log: Log { topic, is_dlq },
            partition,
            start,
            wanted: wanted.map(RecordType::full_name),
        });
        asked.1.push(purpose);
    };
    let before = |at: Timestamp| Start::Time(at.checked_sub(SLACK).unwrap_or(at));

    let resendings = past
        .iter()
        .filter(|past| past.transition.outcome.ends_with("_resent"))
        .count();
    let mut resending = 0;
    let mut state = "";
    let mut may_have_replied = BTreeSet::new();
    for (index, past) in past.iter().enumerate() {
        if let Some((topic, partition, Some(offset))) = past.cause {
            let start = Start::Exactly(offset);
            ask(
                topic,
                false,
                Some(partition),
                start,
                None,
                Purpose::Cause(index),
            );
        }
        let transition = &past.transition;
        let is_resent = transition.outcome.ends_with("_resent");
        resending += usize::from(is_resent);
        if !is_resent || resending + RESENDINGS > resendings {
            for record in outputs(transition) {
                let purpose = Purpose::Output(index, record);
                let start = before(transition.at);
                ask(record.topic(), false, None, start, Some(record), purpose);
            }
        }
        // An answer that came too late moved nothing, so the history lacks it.
        if is_resent || transition.outcome == "step_in_doubt" {
            let step = transition.step.as_deref().unwrap_or_default();
            if let Ok(step) = step.parse::<Step>()
                && may_have_replied.insert(step)
            {
                let topic = step.definition().success.record.topic();
                ask(
                    topic,
                    false,
                    None,
                    before(transition.at),
                    None,
                    Purpose::Other,
                );
            }
        }
        let off_the_path = transition.state != "IN_PROGRESS" && transition.state != state;
        if off_the_path && row.is_some_and(|row| row.saga.progress.snapshots > 0) {
            let wanted = Some(RecordType::SagaSnapshot);
            let purpose = Purpose::Snapshot(index);
            let start = before(transition.at);
            ask(Topic::OrderingSagas, false, None, start, wanted, purpose);
        }
        state = &transition.state;
    }

    // What nobody has handled: unread, or put aside.
    let unread = |topic: Topic| -> Vec<(i32, i64)> {
        let of_topic = positions.iter().filter(|((of, _), _)| *of == topic);
        of_topic
            .map(|((_, partition), next)| (*partition, *next))
            .collect()
    };
    let begun = row.map(|row| row.saga.progress.started_at);
    match waits_for {
        Some(waits) => {
            for topic in topics_of(waits) {
                for (partition, next) in unread(topic) {
                    let start = Start::Offset(next);
                    ask(topic, false, Some(partition), start, None, Purpose::Other);
                }
            }
        }
        None if begun.is_none() => {
            let topic = Topic::ShoppingCheckouts;
            for (partition, next) in unread(topic) {
                let start = Start::Offset(next);
                ask(topic, false, Some(partition), start, None, Purpose::Other);
            }
        }
        None => {}
    }
    for topic in Topic::ALL
        .iter()
        .copied()
        .filter(|topic| topic.is_consumed())
    {
        let start = begun.map_or(Start::Tail(1_000), before);
        ask(topic, true, None, start, None, Purpose::Other);
    }
    asked
}

/// The records that follow from a transition.
fn outputs(transition: &Transition) -> Vec<RecordType> {
    let step = transition
        .step
        .as_deref()
        .and_then(|step| step.parse::<Step>().ok());
    let state = transition.state.as_str();
    let command = step.and_then(|step| match state {
        "IN_PROGRESS" => Some(step.definition().command.record),
        "IN_DOUBT" | "COMPENSATING" | "STUCK" => Some(step.definition().compensation.record),
        _ => None,
    });
    match transition.outcome.as_str() {
        "held" | "operator_refused" | "ignored" => Vec::new(),
        "rejected" => vec![RecordType::CheckoutRejected],
        "stuck" => command.into_iter().chain([RecordType::SagaStuck]).collect(),
        _ => match state {
            "COMPLETED" => vec![RecordType::OrderCreated],
            "FAILED" => vec![RecordType::CheckoutFailed],
            // Sent when it is released, if its participant is held.
            _ if transition.tries == Some(0) => Vec::new(),
            _ => command.into_iter().collect(),
        },
    }
}

fn lags(target: &Target, answers: &Answers, positions: &Positions, cart: CartId) -> Vec<Lag> {
    let key = cart.to_string();
    let mut partitions: BTreeMap<Log, i32> = BTreeMap::new();
    for (log, _) in answers.ends.keys() {
        *partitions.entry(*log).or_default() += 1;
    }
    answers
        .ends
        .iter()
        .filter_map(|((log, partition), ends)| {
            let of_key = crate::partition::of_key(key.as_bytes(), partitions[log]);
            let exact = positions.get(&(log.topic, *partition)).copied();
            let position = exact.or(ends.committed);
            let unread = (ends.high - position.unwrap_or(ends.low)).max(0);
            // Other partitions matter only where somebody is behind.
            (*partition == of_key || unread > 0).then(|| Lag {
                service: consumer(log.topic).unwrap_or_default().to_owned(),
                topic: name(&target.topics, *log).to_owned(),
                partition: *partition,
                position,
                end: ends.high,
                unread,
                exact: exact.is_some(),
            })
        })
        .collect()
}

async fn rows(
    target: &Target,
    row: Option<&Row>,
    timeline: &[Entry],
    past: &[Past],
    limits: Limits,
    notes: &mut Vec<String>,
) -> Vec<Rows> {
    let mut checkouts: BTreeSet<Uuid> = past
        .iter()
        .map(|past| past.transition.checkout_id)
        .collect();
    if let Some(row) = row {
        let progress = &row.saga.progress;
        checkouts.insert(progress.checkout_id.into_untyped_uuid());
        checkouts.extend(progress.seen.iter().map(|id| id.into_untyped_uuid()));
    }
    for entry in timeline {
        if let Entry::Record(record) = entry
            && let Some(content) = &record.content
        {
            let id = content["checkoutId"]
                .as_str()
                .or(content["eventId"].as_str());
            checkouts.extend(id.and_then(|id| id.parse::<Uuid>().ok()));
        }
    }
    let checkouts: Vec<Uuid> = checkouts.into_iter().collect();
    let mut all = Vec::new();
    if let Some(row) = row {
        all.push(Rows {
            service: "orchestrator".to_owned(),
            table: "sagas".to_owned(),
            rows: vec![row.raw.clone()],
        });
    }
    let asked = ROWS.iter().map(async |(service, table, sql)| {
        let db = match Db::open(target, service, limits.timeout).await? {
            Some(db) => db,
            None => return Ok(None),
        };
        let rows = db.query(sql, &[&checkouts]).await?;
        let rows = rows
            .iter()
            .map(|row| column::<Json<Value>>(row, "row").map(|Json(row)| row))
            .collect::<Result<Vec<_>>>()?;
        Ok::<_, Error>(Some(Rows {
            service: (*service).to_owned(),
            table: (*table).to_owned(),
            rows,
        }))
    });
    for (answer, (service, _, _)) in futures::future::join_all(asked).await.into_iter().zip(ROWS) {
        match answer {
            Ok(Some(rows)) => all.push(rows),
            Ok(None) => notes.push(format!(
                "the {service} database was not asked: no address of it was given"
            )),
            Err(error) => {
                let error = error.to_string();
                if !notes.contains(&error) {
                    notes.push(error);
                }
            }
        }
    }
    all
}

/// Puts what was found in order.
struct Assembly<'a> {
    target: &'a Target,
    codec: &'a Codec,
    cart: CartId,
    positions: &'a Positions,
    /// Records that are in the timeline already.
    seen: BTreeSet<(Log, i32, i64)>,
    notes: Vec<String>,
}

impl Assembly<'_> {
    async fn timeline(
        &mut self,
        past: &[Past],
        purposes: &[Purpose],
        answers: &Answers,
    ) -> Vec<Entry> {
        let mut causes: BTreeMap<usize, Entry> = BTreeMap::new();
        let mut followed: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
        // Causes first: a record that caused something stands where it did.
        for (purpose, (log, found)) in purposes.iter().zip(self.pairs(answers)) {
            if let Purpose::Cause(index) = purpose {
                match found.records.first() {
                    Some(raw) => {
                        if let Some(entry) = self.entry(log, raw).await {
                            causes.insert(*index, entry);
                        }
                    }
                    None => self.notes.push(format!(
                        "the record that caused {} at {} is not on {} any more: its retention \
                         is over",
                        past[*index].transition.outcome, past[*index].transition.at, log.topic
                    )),
                }
            }
        }
        let mut others = Vec::new();
        for (purpose, (log, found)) in purposes.iter().zip(self.pairs(answers)) {
            let (index, wanted) = match purpose {
                Purpose::Cause(_) => continue,
                Purpose::Output(index, record) => (Some(*index), Some(record)),
                Purpose::Snapshot(index) => (Some(*index), None),
                Purpose::Other => (None, None),
            };
            for (number, raw) in found.records.iter().enumerate() {
                let Some(entry) = self.entry(log, raw).await else {
                    continue;
                };
                match index {
                    Some(index) if found.wanted == Some(number) => {
                        followed.entry(index).or_default().push(entry);
                    }
                    _ => others.push(entry),
                }
            }
            if let (Some(index), Some(record)) = (index, wanted)
                && found.wanted.is_none()
            {
                let at = past[index].transition.at;
                self.notes.push(match found.cut {
                    true => format!(
                        "no {record} was found among the records that followed {at} on {}; \
                         more may be read with --search-records",
                        log.topic
                    ),
                    false => format!("no {record} from {at} on is on {}", log.topic),
                });
            }
        }
        let mut timeline = Vec::new();
        others.sort_by_key(Entry::at);
        let mut others = others.into_iter().peekable();
        for (index, past) in past.iter().enumerate() {
            let block = causes
                .get(&index)
                .and_then(Entry::at)
                .unwrap_or(past.transition.at);
            while let Some(other) = others.next_if(|other| other.at() < Some(block)) {
                timeline.push(other);
            }
            timeline.extend(causes.remove(&index));
            timeline.push(Entry::Transition(past.transition.clone()));
            timeline.extend(followed.remove(&index).into_iter().flatten());
        }
        timeline.extend(others);
        timeline
    }

    fn pairs<'f>(&self, answers: &'f Answers) -> Vec<(Log, &'f crate::log::Found)> {
        let logs = answers.logs.iter().copied();
        logs.zip(&answers.found).collect()
    }

    /// The entry of a record, unless it has one.
    async fn entry(&mut self, log: Log, raw: &Raw) -> Option<Entry> {
        if !self.seen.insert((log, raw.partition, raw.offset)) {
            return None;
        }
        let decoded = self.codec.decode(log.topic, raw.payload.as_deref()).await;
        let mut remark = None;
        if log.is_dlq {
            let header = |name: &str| raw.header(&format!("__connect.errors.{name}"));
            remark = Some(clean(&format!(
                "put aside by {}: {}: {}",
                header("connector.name").unwrap_or_else(|| "a service".to_owned()),
                header("exception.class.name").unwrap_or_else(|| "UNKNOWN".to_owned()),
                header("exception.message").unwrap_or_default(),
            )));
        } else if let Some(next) = self.positions.get(&(log.topic, raw.partition))
            && raw.offset >= *next
        {
            let service = consumer(log.topic).unwrap_or_default();
            remark = Some(format!("not read by {service} yet"));
        }
        let mut known_type = None;
        let content = match decoded {
            Ok(message) => {
                known_type = Some(message.record_type().full_name().to_owned());
                if message.cart_id() != Some(self.cart) {
                    remark = Some("is of another cart: was the topic made anew?".to_owned());
                }
                Some(message.to_json())
            }
            Err(error) => {
                remark.get_or_insert_with(|| clean(&format!("does not decode: {error}")));
                None
            }
        };
        let trace = raw.header(TRACEPARENT);
        let trace = trace.and_then(|parent| TraceContext::parse(&parent));
        Some(Entry::Record(Box::new(Record {
            topic: name(&self.target.topics, log).to_owned(),
            partition: raw.partition,
            offset: raw.offset,
            at: raw.at,
            record_type: known_type
                .or_else(|| raw.header(CE_TYPE))
                .unwrap_or_else(|| "a record".to_owned()),
            source: raw.header(CE_SOURCE),
            id: raw.header(CE_ID),
            trace_id: trace.map(|trace| Uuid::from_bytes(trace.trace_id).simple().to_string()),
            content,
            remark,
        })))
    }
}
