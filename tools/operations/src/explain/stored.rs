//! What the databases have of a cart.

use std::collections::{BTreeMap, BTreeSet};

use audit::{Error, Result, Target, consumer};
use contracts::Topic;
use contracts::ids::GenericUuid;
use flow::Saga;
use serde_json::Value;
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::notes::Notes;
use super::places::{topics_of, waits_for};
use super::{Entry, Limits, Rows, Transition, WaitsFor};
use crate::databases::Db;
use crate::row::column;
use crate::sagas::Listed;

const SAGA: &str = "
SELECT cart_id, checkout_id, state, step, cart, progress,
    home_topic, home_partition, wake_at FROM sagas WHERE cart_id = $1";

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

/// The checkouts of a cart, where a table has an index of them.
const CHECKOUTS: &[(&str, &str)] = &[
    (
        "inventory",
        "SELECT checkout_id FROM reservations WHERE cart_id = $1",
    ),
    (
        "payment",
        "SELECT checkout_id FROM authorizations WHERE cart_id = $1",
    ),
];

/// The rows of a participant that is not among those.
const HOLDINGS: &str = "
SELECT to_jsonb(h) AS row FROM holdings h WHERE h.checkout_id = ANY($1)";

/// What the orchestrator's database has of a cart.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) row: Option<Row>,
    pub(super) past: Vec<Past>,
    pub(super) waits_for: Option<WaitsFor>,
    pub(super) positions: Positions,
}

/// A row of the history, and the record that caused it.
pub(super) struct Past {
    pub(super) transition: Transition,
    pub(super) cause: Option<(Topic, i32, Option<i64>)>,
}

/// The saga's row.
pub(super) struct Row {
    /// As far as this version understands it.
    pub(super) listed: Listed,
    pub(super) raw: Value,
    pub(super) home_partition: i32,
}

impl Row {
    /// The saga; none where this version does not understand it.
    pub(super) fn saga(&self) -> Option<&Saga> {
        self.listed.saga.as_ref()
    }
}

/// Asks the orchestrator's database, and the participants' how far they have read.
pub(super) async fn stored(
    target: &Target,
    cart: Uuid,
    limits: Limits,
    notes: &mut Notes,
) -> Result<Stored> {
    let db = Db::orchestrator(target, limits.timeout).await?;
    let row = saga(&db, cart).await?;
    let past = history(&db, cart, limits.transitions).await?;
    let waits_for = row.as_ref().and_then(Row::saga).and_then(waits_for);
    let positions = positions(target, &db, waits_for.as_ref(), limits, notes).await?;
    if past.len() == limits.transitions as usize {
        notes.tell(format!(
            "only the newest {} transitions are shown",
            limits.transitions
        ));
    }
    Ok(Stored {
        row,
        past,
        waits_for,
        positions,
    })
}

async fn saga(db: &Db, cart: Uuid) -> Result<Option<Row>> {
    let rows = db.query(SAGA, &[&cart]).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let Json(raw): Json<Value> = column(row, "progress")?;
    Ok(Some(Row {
        listed: Listed::of_row(row)?,
        raw,
        home_partition: column(row, "home_partition")?,
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

/// The next offsets that the services read, by topic and partition.
pub(super) type Positions = BTreeMap<(Topic, i32), i64>;

async fn positions(
    target: &Target,
    orchestrator: &Db,
    waits_for: Option<&WaitsFor>,
    limits: Limits,
    notes: &mut Notes,
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
                        notes.away(error.to_string());
                        continue;
                    }
                },
                Err(error) => {
                    notes.away(error.to_string());
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

/// The checkouts that the orchestrator's database and the records name.
pub(super) fn checkouts(stored: &Stored, timeline: &[Entry]) -> BTreeSet<Uuid> {
    let past = stored.past.iter();
    let mut checkouts: BTreeSet<Uuid> = past.map(|past| past.transition.checkout_id).collect();
    if let Some(row) = &stored.row {
        checkouts.insert(row.listed.checkout_id.into_untyped_uuid());
        let seen = row.saga().into_iter().flat_map(|saga| &saga.progress.seen);
        checkouts.extend(seen.map(|id| id.into_untyped_uuid()));
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
    checkouts
}

/// The checkouts that the participants know by their cart. One that does not answer is
/// left out: that is told where its rows are asked for.
pub(super) async fn checkouts_of(target: &Target, cart: Uuid, limits: Limits) -> Vec<Uuid> {
    let asked = CHECKOUTS.iter().map(async |(service, sql)| {
        let Some(db) = Db::open(target, service, limits.timeout).await? else {
            return Ok::<_, Error>(Vec::new());
        };
        let rows = db.query(sql, &[&cart]).await?;
        rows.iter()
            .map(|row| column::<Uuid>(row, "checkout_id"))
            .collect::<Result<Vec<_>>>()
    });
    let answers = futures::future::join_all(asked).await;
    answers.into_iter().flatten().flatten().collect()
}

/// The rows of these checkouts, and the saga's.
pub(super) async fn rows(
    target: &Target,
    row: Option<&Row>,
    checkouts: BTreeSet<Uuid>,
    limits: Limits,
    notes: &mut Notes,
) -> Vec<Rows> {
    let checkouts: Vec<Uuid> = checkouts.into_iter().collect();
    let mut all = Vec::new();
    if let Some(row) = row {
        all.push(Rows {
            service: "orchestrator".to_owned(),
            table: "sagas".to_owned(),
            rows: vec![row.raw.clone()],
        });
    }
    let further = target.others.keys();
    let further = further.map(|service| (*service, "holdings", HOLDINGS));
    let places: Vec<_> = ROWS.iter().copied().chain(further).collect();
    let asked = places.iter().map(async |(service, table, sql)| {
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
    let answers = futures::future::join_all(asked).await;
    for (answer, (service, _, _)) in answers.into_iter().zip(&places) {
        match answer {
            Ok(Some(rows)) => all.push(rows),
            Ok(None) => notes.tell(format!(
                "the {service} database was not asked: no address of it was given"
            )),
            Err(error) => notes.away(error.to_string()),
        }
    }
    all
}
