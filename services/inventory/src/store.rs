//! How the rows are read and written: every statement for a whole batch.

use std::collections::HashMap;
use std::time::Duration;

use contracts::Topic;
use contracts::ids::{self, CartId, CheckoutId, CommandId, GenericUuid};
use contracts::messages::{ReleaseReason, ReservationItem, UnavailableItem};
use jiff::Timestamp;
use runtime::{Home, RowVersion, Sql};
use serde_json::Value;
use service::{GaugeQuery, Purge, column};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::state::{Answer, Release, Reservation, Reserve, State, Stock};

const LOCK_RESERVATIONS: &str = "
SELECT checkout_id, cart_id, reserve_command_id, answered_at, reservation_id, expires_at,
       unavailable_items, release_command_id, release_reason, released_at,
       home_topic, home_partition, traceparent, wake_at, xmin::text::int8 AS version
FROM reservations WHERE checkout_id = ANY($1::uuid[]) ORDER BY checkout_id FOR UPDATE";

const READ_ITEMS: &str = "
SELECT checkout_id, product_id, quantity
FROM reservation_items WHERE checkout_id = ANY($1::uuid[]) ORDER BY checkout_id, line";

/// The products named in the batch, and those of the reservations it may release. The array
/// is made first, so that the stock is looked up by its key.
const LOCK_STOCK: &str = "
SELECT product_id, on_hand, reserved, set_command_id, reserved_when_set, set_at,
       xmin::text::int8 AS version
FROM stock WHERE product_id = ANY(ARRAY(
    SELECT unnest($1::text[])
    UNION
    SELECT product_id FROM reservation_items WHERE checkout_id = ANY($2::uuid[])
)) ORDER BY product_id FOR UPDATE";

const INSERT_RESERVATIONS: &str = "
INSERT INTO reservations (
    checkout_id, cart_id, state, reserve_command_id, answered_at, reservation_id, expires_at,
    unavailable_items, release_command_id, release_reason, released_at,
    home_topic, home_partition, traceparent, wake_at)
SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::text[]), unnest($4::uuid[]),
       unnest($5::timestamptz[]), unnest($6::uuid[]), unnest($7::timestamptz[]),
       unnest($8::jsonb[]), unnest($9::uuid[]), unnest($10::text[]), unnest($11::timestamptz[]),
       unnest($12::text[]), unnest($13::int4[]), unnest($14::text[]), unnest($15::timestamptz[])";

/// What a release or a timer changes; the rest of a row stays as it was inserted.
const UPDATE_RESERVATIONS: &str = "
UPDATE reservations r
SET state = u.state, release_command_id = u.release_command_id,
    release_reason = u.release_reason, released_at = u.released_at, wake_at = u.wake_at
FROM (
    SELECT unnest($1::uuid[]) AS checkout_id, unnest($2::text[]) AS state,
           unnest($3::uuid[]) AS release_command_id, unnest($4::text[]) AS release_reason,
           unnest($5::timestamptz[]) AS released_at, unnest($6::timestamptz[]) AS wake_at,
           unnest($7::int4[]) AS version
) AS u
WHERE r.checkout_id = u.checkout_id AND r.xmin = u.version";

const COMPARE_RESERVATIONS: &str = service::compare_all!("reservations", "checkout_id", "uuid");
const COMPARE_STOCK: &str = service::compare_all!("stock", "product_id", "text");

const INSERT_ITEMS: &str = "
INSERT INTO reservation_items (checkout_id, line, product_id, quantity)
SELECT unnest($1::uuid[]), unnest($2::int4[]), unnest($3::text[]), unnest($4::int4[])";

const INSERT_STOCK: &str = "
INSERT INTO stock (product_id, on_hand, reserved, set_command_id, reserved_when_set, set_at)
SELECT unnest($1::text[]), unnest($2::int8[]), unnest($3::int8[]), unnest($4::uuid[]),
       unnest($5::int8[]), unnest($6::timestamptz[])";

const UPDATE_STOCK: &str = "
UPDATE stock s
SET on_hand = u.on_hand, reserved = u.reserved, set_command_id = u.set_command_id,
    reserved_when_set = u.reserved_when_set, set_at = u.set_at
FROM (
    SELECT unnest($1::text[]) AS product_id, unnest($2::int8[]) AS on_hand,
           unnest($3::int8[]) AS reserved, unnest($4::uuid[]) AS set_command_id,
           unnest($5::int8[]) AS reserved_when_set, unnest($6::timestamptz[]) AS set_at,
           unnest($7::int4[]) AS version
) AS u
WHERE s.product_id = u.product_id AND s.xmin = u.version";

/// One look-up in the index of timers for each home.
const DUE: &str = "
SELECT r.checkout_id, r.home_topic, r.home_partition, r.traceparent
FROM unnest($1::text[], $2::int4[]) AS h (topic, partition)
CROSS JOIN LATERAL (
    SELECT checkout_id, home_topic, home_partition, traceparent, wake_at FROM reservations
    WHERE home_topic = h.topic AND home_partition = h.partition AND wake_at <= $3
    ORDER BY wake_at LIMIT $4
) r
ORDER BY r.wake_at LIMIT $4";

/// Ended reservations with their items. What is reserved stays.
const PURGE: &str = "
WITH gone AS (
    DELETE FROM reservations WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM reservations
        WHERE state <> 'RESERVED' AND COALESCE(released_at, answered_at) < $1
        ORDER BY COALESCE(released_at, answered_at) LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING checkout_id
), items AS (
    DELETE FROM reservation_items i USING gone WHERE i.checkout_id = gone.checkout_id
)
SELECT FROM gone";

/// What is removed after a time.
pub(crate) fn purge(keep: Option<Duration>) -> Purge {
    Purge {
        table: "reservations",
        sql: PURGE,
        keep,
    }
}

/// Every statement of the message loop.
pub(crate) const STATEMENTS: &[&str] = &[
    LOCK_RESERVATIONS,
    READ_ITEMS,
    LOCK_STOCK,
    INSERT_RESERVATIONS,
    UPDATE_RESERVATIONS,
    COMPARE_RESERVATIONS,
    INSERT_ITEMS,
    COMPARE_STOCK,
    INSERT_STOCK,
    UPDATE_STOCK,
    DUE,
];

/// What operators watch.
pub(crate) const GAUGES: &[GaugeQuery] = &[
    GaugeQuery {
        name: "inventory_reservations",
        help: "Checkouts known, as the database estimates: counting them would read them all",
        labels: &[],
        sql: "SELECT GREATEST(reltuples, 0)::int8 FROM pg_class \
              WHERE oid = 'reservations'::regclass",
    },
    GaugeQuery {
        name: "inventory_stock_pieces",
        help: "Pieces of all products: on hand, and reserved",
        labels: &["kind"],
        sql: "SELECT 'on_hand', COALESCE(sum(on_hand), 0)::int8 FROM stock
              UNION ALL SELECT 'reserved', COALESCE(sum(reserved), 0)::int8 FROM stock",
    },
    GaugeQuery {
        name: "saga_timers_due",
        help: "Timers that are due and have not fired yet",
        labels: &[],
        sql: "SELECT count(*) FROM reservations WHERE wake_at <= now()",
    },
];

/// Locks and reads what a batch is about: reservations in the order of their checkouts,
/// then stock in the order of products.
pub(crate) fn reads(checkouts: Vec<Uuid>, products: Vec<String>) -> Vec<Sql> {
    vec![
        Sql::new(LOCK_RESERVATIONS, vec![Box::new(checkouts.clone())]),
        Sql::new(READ_ITEMS, vec![Box::new(checkouts.clone())]),
        Sql::new(LOCK_STOCK, vec![Box::new(products), Box::new(checkouts)]),
    ]
}

/// The state of the rows that [`reads`] asked for.
pub(crate) fn state(rows: &[Vec<Row>]) -> Result<State, tokio_postgres::Error> {
    let [reservations, items, stock] = rows else {
        return Ok(State::default());
    };
    let mut held = HashMap::<Uuid, Vec<ReservationItem>>::new();
    for row in items {
        held.entry(row.try_get(0)?)
            .or_default()
            .push(ReservationItem {
                product_id: row.try_get(1)?,
                quantity: row.try_get(2)?,
            });
    }
    let mut state = State::default();
    for row in reservations {
        let (checkout, reservation) = reservation(row, &mut held)?;
        state
            .reservations
            .add(checkout, RowVersion::of(row)?, reservation);
    }
    for row in stock {
        let (product, stock) = stock_row(row)?;
        state.stock.add(product, RowVersion::of(row)?, stock);
    }
    Ok(state)
}

fn reservation(
    row: &Row,
    held: &mut HashMap<Uuid, Vec<ReservationItem>>,
) -> Result<(CheckoutId, Reservation), tokio_postgres::Error> {
    let checkout: Uuid = row.try_get("checkout_id")?;
    let reserve = match (
        row.try_get::<_, Option<Uuid>>("reserve_command_id")?,
        row.try_get::<_, Option<Timestamp>>("answered_at")?,
    ) {
        (Some(command), Some(at)) => Some(Reserve {
            command_id: CommandId::from_untyped_uuid(command),
            at,
            answer: match row.try_get::<_, Option<Value>>("unavailable_items")? {
                Some(items) => Answer::Unavailable {
                    items: unavailable_items(items),
                },
                None => Answer::Reserved {
                    items: held.remove(&checkout).unwrap_or_default(),
                    expires_at: row.try_get("expires_at")?,
                },
            },
        }),
        _ => None,
    };
    let release = match (
        row.try_get::<_, Option<Uuid>>("release_command_id")?,
        row.try_get::<_, Option<&str>>("release_reason")?,
        row.try_get::<_, Option<Timestamp>>("released_at")?,
    ) {
        (Some(command), Some(reason), Some(at)) => Some(Release {
            command_id: CommandId::from_untyped_uuid(command),
            reason: ReleaseReason::from_symbol(reason).unwrap_or(ReleaseReason::Unknown),
            at,
        }),
        _ => None,
    };
    let topic: &str = row.try_get("home_topic")?;
    let reservation = Reservation {
        cart_id: CartId::from_untyped_uuid(row.try_get("cart_id")?),
        reserve,
        release,
        home: Home {
            topic: topic_named(topic),
            partition: row.try_get("home_partition")?,
        },
        traceparent: row.try_get("traceparent")?,
        wake_at: row.try_get("wake_at")?,
    };
    Ok((CheckoutId::from_untyped_uuid(checkout), reservation))
}

/// The column is written by this module alone; what it cannot read it does not show.
fn unavailable_items(items: Value) -> Vec<UnavailableItem> {
    serde_json::from_value(items).unwrap_or_default()
}

/// Inventory has one topic, and so every home is a partition of it.
fn topic_named(name: &str) -> Topic {
    let known = Topic::ALL.iter().copied().find(|t| t.name() == name);
    known.unwrap_or(Topic::InventoryCommands)
}

fn stock_row(row: &Row) -> Result<(String, Stock), tokio_postgres::Error> {
    Ok((
        row.try_get("product_id")?,
        Stock {
            on_hand: row.try_get("on_hand")?,
            reserved: row.try_get("reserved")?,
            set_command_id: CommandId::from_untyped_uuid(row.try_get("set_command_id")?),
            reserved_when_set: row.try_get("reserved_when_set")?,
            set_at: row.try_get("set_at")?,
        },
    ))
}

/// Writes what a batch has changed.
pub(crate) fn writes(state: State) -> Vec<Sql> {
    let mut writes = Vec::new();
    let reservations = state.reservations.into_written();
    let compared = reservations.compared();
    if !compared.is_empty() {
        let checkouts = column(&compared, |(checkout, _)| checkout.into_untyped_uuid());
        writes.push(compare(COMPARE_RESERVATIONS, checkouts, &compared));
    }
    if !reservations.new.is_empty() {
        writes.push(insert_reservations(&reservations.new));
        writes.extend(insert_items(&reservations.new));
    }
    if !reservations.changed.is_empty() {
        writes.push(update_reservations(
            &reservations.changed,
            reservations.versions,
        ));
    }
    let stock = state.stock.into_written();
    let compared = stock.compared();
    if !compared.is_empty() {
        let products = column(&compared, |(product, _)| product.clone());
        writes.push(compare(COMPARE_STOCK, products, &compared));
    }
    if !stock.new.is_empty() {
        writes.push(write_stock(INSERT_STOCK, &stock.new));
    }
    if !stock.changed.is_empty() {
        let mut update = write_stock(UPDATE_STOCK, &stock.changed);
        update.params.push(Box::new(stock.versions));
        writes.push(update);
    }
    writes
}

type ReservationRow = (CheckoutId, Reservation);

fn insert_reservations(rows: &[ReservationRow]) -> Sql {
    let reserve = |(_, row): &ReservationRow| row.reserve.as_ref().map(|r| (r.command_id, r.at));
    Sql::new(
        INSERT_RESERVATIONS,
        vec![
            column(rows, |(checkout, _)| checkout.into_untyped_uuid()),
            column(rows, |(_, row)| row.cart_id.into_untyped_uuid()),
            column(rows, |(_, row)| row.state()),
            column(rows, |row| {
                reserve(row).map(|(id, _)| id.into_untyped_uuid())
            }),
            column(rows, |row| reserve(row).map(|(_, at)| at)),
            column(rows, |(checkout, row)| {
                let id = ids::reservation_id(*checkout).into_untyped_uuid();
                row.was_reserved().then_some(id)
            }),
            column(rows, |(_, row)| match row.reserve.as_ref()?.answer {
                Answer::Reserved { expires_at, .. } => expires_at,
                Answer::Unavailable { .. } => None,
            }),
            column(rows, |(_, row)| match &row.reserve.as_ref()?.answer {
                Answer::Reserved { .. } => None,
                Answer::Unavailable { items } => serde_json::to_value(items).ok(),
            }),
            column(rows, release_command),
            column(rows, |(_, row)| row.release.map(|r| r.reason.as_str())),
            column(rows, |(_, row)| row.release.map(|r| r.at)),
            column(rows, |(_, row)| row.home.topic.name()),
            column(rows, |(_, row)| row.home.partition),
            column(rows, |(_, row)| row.traceparent.clone()),
            column(rows, |(_, row)| row.wake_at),
        ],
    )
}

/// Compares rows that were kept from a former batch.
fn compare<K>(text: &'static str, keys: Box<dyn ToSql + Sync + Send>, rows: &[(K, i32)]) -> Sql {
    Sql::new(text, vec![keys, column(rows, |(_, version)| *version)])
}

fn update_reservations(rows: &[ReservationRow], versions: Vec<i32>) -> Sql {
    Sql::new(
        UPDATE_RESERVATIONS,
        vec![
            column(rows, |(checkout, _)| checkout.into_untyped_uuid()),
            column(rows, |(_, row)| row.state()),
            column(rows, release_command),
            column(rows, |(_, row)| row.release.map(|r| r.reason.as_str())),
            column(rows, |(_, row)| row.release.map(|r| r.at)),
            column(rows, |(_, row)| row.wake_at),
            Box::new(versions),
        ],
    )
}

fn release_command((_, row): &ReservationRow) -> Option<Uuid> {
    row.release.map(|r| r.command_id.into_untyped_uuid())
}

fn insert_items(rows: &[ReservationRow]) -> Option<Sql> {
    let mut items = Vec::new();
    for (checkout, row) in rows {
        for (item, line) in row.reserved_items().iter().zip(1_i32..) {
            items.push((checkout.into_untyped_uuid(), line, item));
        }
    }
    if items.is_empty() {
        return None;
    }
    Some(Sql::new(
        INSERT_ITEMS,
        vec![
            column(&items, |(checkout, _, _)| *checkout),
            column(&items, |(_, line, _)| *line),
            column(&items, |(_, _, item)| item.product_id.clone()),
            column(&items, |(_, _, item)| item.quantity),
        ],
    ))
}

fn write_stock(text: &'static str, rows: &[(String, Stock)]) -> Sql {
    Sql::new(
        text,
        vec![
            column(rows, |(product, _)| product.clone()),
            column(rows, |(_, stock)| stock.on_hand),
            column(rows, |(_, stock)| stock.reserved),
            column(rows, |(_, stock)| stock.set_command_id.into_untyped_uuid()),
            column(rows, |(_, stock)| stock.reserved_when_set),
            column(rows, |(_, stock)| stock.set_at),
        ],
    )
}

/// The reservations in these homes whose timer is due.
pub(crate) fn due(homes: &[Home], now: Timestamp, limit: i64) -> Sql {
    let topics: Vec<_> = homes.iter().map(|home| home.topic.name()).collect();
    let partitions: Vec<_> = homes.iter().map(|home| home.partition).collect();
    Sql::new(
        DUE,
        vec![
            Box::new(topics),
            Box::new(partitions),
            Box::new(now),
            Box::new(limit),
        ],
    )
}
