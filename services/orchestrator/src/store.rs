//! How sagas are read and written: every statement for a whole batch.

use std::time::Duration;

use contracts::ids::{CartId, CheckoutId, GenericUuid, snapshot_id};
use flow::{Cart, Progress, Saga, Step};
use jiff::Timestamp;
use runtime::{Home, RowVersion, Sql};
use service::{GaugeQuery, Purge, Rows, column};
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::history;
use crate::state::{Beginning, Row, State};

const LOCK: &str = "
SELECT cart_id, cart, progress, wake_at, xmin::text::int8 AS version
FROM sagas WHERE cart_id = ANY($1::uuid[]) ORDER BY cart_id FOR UPDATE";

const INSERT: &str = "
INSERT INTO sagas (cart_id, progress, state, step, wake_at, checkout_id, cart, home_topic,
    home_partition, traceparent, ended_at)
SELECT u.*, CASE WHEN u.wake_at IS NULL THEN now() END
FROM (
    SELECT unnest($1::uuid[]) AS cart_id, unnest($2::json[]) AS progress,
           unnest($3::text[]) AS state, unnest($4::text[]) AS step,
           unnest($5::timestamptz[]) AS wake_at, unnest($6::uuid[]) AS checkout_id,
           unnest($7::json[]) AS cart, unnest($8::text[]) AS home_topic,
           unnest($9::int4[]) AS home_partition, unnest($10::text[]) AS traceparent
) AS u";

/// A failed cart is checked out again: a new attempt in the same row.
const BEGIN_AGAIN: &str = "
UPDATE sagas s
SET progress = u.progress, state = u.state, step = u.step, wake_at = u.wake_at,
    checkout_id = u.checkout_id, cart = u.cart, home_topic = u.home_topic,
    home_partition = u.home_partition, traceparent = u.traceparent,
    ended_at = CASE WHEN u.wake_at IS NULL THEN now() END
FROM (
    SELECT unnest($1::uuid[]) AS cart_id, unnest($2::json[]) AS progress,
           unnest($3::text[]) AS state, unnest($4::text[]) AS step,
           unnest($5::timestamptz[]) AS wake_at, unnest($6::uuid[]) AS checkout_id,
           unnest($7::json[]) AS cart, unnest($8::text[]) AS home_topic,
           unnest($9::int4[]) AS home_partition, unnest($10::text[]) AS traceparent,
           unnest($11::int4[]) AS version
) AS u
WHERE s.cart_id = u.cart_id AND s.xmin = u.version";

const UPDATE: &str = "
UPDATE sagas s SET progress = u.progress, state = u.state, step = u.step, wake_at = u.wake_at,
    ended_at = CASE WHEN u.wake_at IS NULL THEN now() END
FROM (
    SELECT unnest($1::uuid[]) AS cart_id, unnest($2::json[]) AS progress,
           unnest($3::text[]) AS state, unnest($4::text[]) AS step,
           unnest($5::timestamptz[]) AS wake_at, unnest($6::int4[]) AS version
) AS u
WHERE s.cart_id = u.cart_id AND s.xmin = u.version";

const COMPARE: &str = service::compare_all!("sagas", "cart_id", "uuid");

/// Whose checkouts these are. Nothing is locked: the index of checkouts decides a
/// race.
const OWNERS: &str = "SELECT checkout_id, cart_id FROM sagas WHERE checkout_id = ANY($1::uuid[])";

const PROGRESS: &str = "SELECT cart_id, progress FROM sagas WHERE cart_id = ANY($1::uuid[])";

/// Two look-ups in the index of timers for each home: what is due, and what a
/// clock that was ahead has set so late that it must count as due.
const DUE: &str = "
SELECT s.cart_id, s.home_topic, s.home_partition, s.traceparent
FROM unnest($1::text[], $2::int4[]) AS h (topic, partition)
CROSS JOIN LATERAL (
    (SELECT cart_id, home_topic, home_partition, traceparent, wake_at FROM sagas
     WHERE home_topic = h.topic AND home_partition = h.partition AND wake_at <= $3
     ORDER BY wake_at LIMIT $4)
    UNION ALL
    (SELECT cart_id, home_topic, home_partition, traceparent, wake_at FROM sagas
     WHERE home_topic = h.topic AND home_partition = h.partition AND wake_at > $5
     ORDER BY wake_at LIMIT $4)
) s
ORDER BY s.wake_at LIMIT $4";

/// Every statement of the message loop.
pub(crate) const STATEMENTS: &[&str] = &[
    LOCK,
    OWNERS,
    PROGRESS,
    INSERT,
    BEGIN_AGAIN,
    UPDATE,
    COMPARE,
    DUE,
    history::INSERT,
];

/// One saga, for the API.
pub(crate) const READ_ONE: &str = "SELECT cart_id, cart, progress FROM sagas WHERE cart_id = $1";

const PURGE_SAGAS: &str = "
DELETE FROM sagas WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM sagas WHERE ended_at < $1 AND state IN ('COMPLETED', 'FAILED')
    ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED))";

const PURGE_HISTORY: &str = "
DELETE FROM saga_transitions WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM saga_transitions WHERE at < $1
    ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// What is removed after a time. Sagas that an operator abandoned stay: somebody has
/// still to settle them.
pub(crate) fn purges(sagas: Option<Duration>, history: Option<Duration>) -> Vec<Purge> {
    vec![
        Purge {
            table: "sagas",
            sql: PURGE_SAGAS,
            keep: sagas,
        },
        Purge {
            table: "saga_transitions",
            sql: PURGE_HISTORY,
            keep: history,
        },
    ]
}

/// What operators watch. Sagas that have ended have no wake-up and are not counted:
/// they are too many.
pub(crate) const GAUGES: &[GaugeQuery] = &[
    GaugeQuery {
        name: "checkout_sagas",
        help: "Sagas that have not ended, by state and step",
        labels: &["state", "step"],
        sql: "SELECT state, COALESCE(step, ''), count(*) FROM sagas \
              WHERE wake_at IS NOT NULL GROUP BY state, step",
    },
    GaugeQuery {
        name: "saga_timers_due",
        help: "Sagas whose timer is due and has not fired",
        labels: &[],
        sql: "SELECT count(*) FROM sagas WHERE wake_at <= now()",
    },
];

/// Locks and reads the sagas of these carts.
pub(crate) fn lock(carts: Vec<Uuid>) -> Sql {
    Sql::new(LOCK, vec![Box::new(carts)])
}

/// Reads whose checkouts these are.
pub(crate) fn owners(checkouts: Vec<Uuid>) -> Sql {
    Sql::new(OWNERS, vec![Box::new(checkouts)])
}

/// Reads how far these carts are.
pub(crate) fn progress(carts: Vec<Uuid>) -> Sql {
    Sql::new(PROGRESS, vec![Box::new(carts)])
}

/// The cart of a row of [`progress`] and the id of the snapshot that was published last
/// for it, if one was.
pub(crate) fn newest_snapshot(
    row: &tokio_postgres::Row,
) -> Result<Option<(Uuid, Uuid)>, tokio_postgres::Error> {
    let Json(progress) = row.try_get::<_, Json<Progress>>("progress")?;
    let cart = row.try_get("cart_id")?;
    Ok((progress.snapshots > 0).then(|| {
        let id = snapshot_id(progress.checkout_id, progress.snapshots);
        (cart, id.into_untyped_uuid())
    }))
}

/// The state of the rows that [`lock`] asked for, and [`owners`] after it, where
/// there is anything to ask.
pub(crate) fn state(rows: Vec<Vec<tokio_postgres::Row>>) -> Result<State, tokio_postgres::Error> {
    let mut rows = rows.into_iter();
    let (sagas, owners) = (rows.next().unwrap_or_default(), rows.next());
    let mut read = Rows::default();
    for row in &sagas {
        let saga = saga(row)?;
        let cart = saga.cart_id;
        let wake_at = row.try_get("wake_at")?;
        let began = None;
        let saga = Row {
            saga,
            wake_at,
            began,
        };
        read.add(cart, RowVersion::of(row)?, saga);
    }
    Ok(State {
        sagas: read,
        owners: owners
            .iter()
            .flatten()
            .map(|row| {
                Ok((
                    CheckoutId::from_untyped_uuid(row.try_get("checkout_id")?),
                    CartId::from_untyped_uuid(row.try_get("cart_id")?),
                ))
            })
            .collect::<Result<_, tokio_postgres::Error>>()?,
        ..State::default()
    })
}

/// The saga of a row.
pub(crate) fn saga(row: &tokio_postgres::Row) -> Result<Saga, tokio_postgres::Error> {
    let Json(cart) = row.try_get::<_, Json<Cart>>("cart")?;
    let Json(progress) = row.try_get::<_, Json<Progress>>("progress")?;
    Ok(Saga {
        cart_id: CartId::from_untyped_uuid(row.try_get("cart_id")?),
        cart,
        progress,
    })
}

/// Writes what a batch has changed.
pub(crate) fn writes(sagas: Rows<CartId, Row>) -> Vec<Sql> {
    let written = sagas.into_written();
    let compared = written.compared();
    let (mut again, mut moved) = (Columns::default(), Columns::default());
    for ((_, row), version) in written.changed.into_iter().zip(written.versions) {
        let columns = match row.began {
            Some(beginning) => {
                again.push_whole(row, beginning);
                &mut again
            }
            None => {
                moved.push_moved(row);
                &mut moved
            }
        };
        columns.versions.push(version);
    }
    let mut new = Columns::default();
    for (_, row) in written.new {
        // A row is new because its attempt began.
        if let Some(beginning) = row.began {
            new.push_whole(row, beginning);
        }
    }
    let statements = [
        compare(&compared),
        new.statement(INSERT, true),
        again.statement(BEGIN_AGAIN, true),
        moved.statement(UPDATE, false),
    ];
    statements.into_iter().flatten().collect()
}

/// Compares rows that were kept from a former batch.
fn compare(rows: &[(CartId, i32)]) -> Option<Sql> {
    (!rows.is_empty()).then(|| {
        let carts = column(rows, |(cart, _)| cart.into_untyped_uuid());
        Sql::new(COMPARE, vec![carts, column(rows, |(_, version)| *version)])
    })
}

/// Rows turned into the array parameters of one statement.
#[derive(Default)]
struct Columns {
    carts: Vec<Uuid>,
    progress: Vec<Json<Progress>>,
    states: Vec<&'static str>,
    steps: Vec<Option<&'static str>>,
    wake_at: Vec<Option<Timestamp>>,
    // Of whole rows only.
    checkouts: Vec<Uuid>,
    contents: Vec<Json<Cart>>,
    topics: Vec<&'static str>,
    partitions: Vec<i32>,
    traces: Vec<String>,
    // Of rows that are there already only.
    versions: Vec<i32>,
}

impl Columns {
    /// Adds what every transition may change.
    fn push(&mut self, cart: CartId, progress: Progress, wake_at: Option<Timestamp>) {
        self.carts.push(cart.into_untyped_uuid());
        self.states.push(progress.state.kind().as_str());
        self.steps.push(progress.state.step().map(Step::name));
        self.progress.push(Json(progress));
        self.wake_at.push(wake_at);
    }

    fn push_moved(&mut self, row: Row) {
        self.push(row.saga.cart_id, row.saga.progress, row.wake_at);
    }

    fn push_whole(&mut self, row: Row, beginning: Beginning) {
        let checkout = row.saga.progress.checkout_id;
        self.push(row.saga.cart_id, row.saga.progress, row.wake_at);
        self.checkouts.push(checkout.into_untyped_uuid());
        self.contents.push(Json(row.saga.cart));
        self.topics.push(beginning.home.topic.name());
        self.partitions.push(beginning.home.partition);
        self.traces.push(beginning.trace.to_string());
    }

    /// The statement that writes whole rows, or else only what has moved.
    fn statement(self, text: &'static str, whole: bool) -> Option<Sql> {
        if self.carts.is_empty() {
            return None;
        }
        let mut sql = Sql::new(
            text,
            vec![
                Box::new(self.carts),
                Box::new(self.progress),
                Box::new(self.states),
                Box::new(self.steps),
                Box::new(self.wake_at),
            ],
        );
        if whole {
            sql.params.push(Box::new(self.checkouts));
            sql.params.push(Box::new(self.contents));
            sql.params.push(Box::new(self.topics));
            sql.params.push(Box::new(self.partitions));
            sql.params.push(Box::new(self.traces));
        }
        if !self.versions.is_empty() {
            sql.params.push(Box::new(self.versions));
        }
        Some(sql)
    }
}

/// The sagas in these homes whose wake-up is due by `now`, or further away than
/// `latest`.
pub(crate) fn due(homes: &[Home], now: Timestamp, latest: Timestamp, limit: i64) -> Sql {
    let topics: Vec<_> = homes.iter().map(|home| home.topic.name()).collect();
    let partitions: Vec<_> = homes.iter().map(|home| home.partition).collect();
    Sql::new(
        DUE,
        vec![
            Box::new(topics),
            Box::new(partitions),
            Box::new(now),
            Box::new(limit),
            Box::new(latest),
        ],
    )
}
