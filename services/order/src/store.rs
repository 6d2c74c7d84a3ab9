//! How the rows are read and written: every statement for a whole batch.

use std::time::Duration;

use contracts::ids::{self, CartId, CheckoutId, CommandId, GenericUuid};
use contracts::messages::{CancelReason, OrderRejectReason};
use jiff::Timestamp;
use runtime::Sql;
use service::{GaugeQuery, Purge, column};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::state::{Answer, Cancellation, Content, Creation, Order, State};

const LOCK_ORDERS: &str = "
SELECT checkout_id, cart_id, create_command_id, answered_at, reject_reason,
       cancel_command_id, cancel_reason, cancelled_at
FROM orders WHERE checkout_id = ANY($1::uuid[]) ORDER BY checkout_id FOR UPDATE";

/// Not locked: an order that is cancelled at the same time still stands here, and one that
/// is recorded at the same time makes the insert fail and the batch be repeated.
const READ_LIVE: &str = "
SELECT cart_id, checkout_id FROM orders WHERE cart_id = ANY($1::uuid[]) AND state = 'RECORDED'";

/// Runs before the insert: a cart's old order may make way for its new one.
const UPDATE_ORDERS: &str = "
UPDATE orders o
SET state = 'CANCELLED', cancel_command_id = u.cancel_command_id,
    cancel_reason = u.cancel_reason, cancelled_at = u.cancelled_at
FROM (
    SELECT unnest($1::uuid[]) AS checkout_id, unnest($2::uuid[]) AS cancel_command_id,
           unnest($3::text[]) AS cancel_reason, unnest($4::timestamptz[]) AS cancelled_at
) AS u
WHERE o.checkout_id = u.checkout_id";

const INSERT_ORDERS: &str = "
INSERT INTO orders (
    checkout_id, cart_id, state, create_command_id, answered_at, reject_reason, order_id,
    customer_id, total, currency, payment_authorization_id,
    cancel_command_id, cancel_reason, cancelled_at)
SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::text[]), unnest($4::uuid[]),
       unnest($5::timestamptz[]), unnest($6::text[]), unnest($7::uuid[]), unnest($8::uuid[]),
       unnest($9::int8[]), unnest($10::text[]), unnest($11::uuid[]), unnest($12::uuid[]),
       unnest($13::text[]), unnest($14::timestamptz[])";

const INSERT_ITEMS: &str = "
INSERT INTO order_items (order_id, line, product_id, quantity, unit_price)
SELECT unnest($1::uuid[]), unnest($2::int4[]), unnest($3::text[]), unnest($4::int4[]),
       unnest($5::int8[])";

/// Refused and cancelled orders. What is recorded stays.
const PURGE: &str = "
WITH gone AS (
    DELETE FROM orders WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM orders
        WHERE state <> 'RECORDED' AND COALESCE(cancelled_at, answered_at) < $1
        ORDER BY COALESCE(cancelled_at, answered_at) LIMIT $2 FOR UPDATE SKIP LOCKED))
    RETURNING order_id
), items AS (
    DELETE FROM order_items i USING gone WHERE i.order_id = gone.order_id
)
SELECT FROM gone";

/// What is removed after a time.
pub(crate) fn purge(keep: Option<Duration>) -> Purge {
    Purge {
        table: "orders",
        sql: PURGE,
        keep,
    }
}

/// Every statement of the message loop.
pub(crate) const STATEMENTS: &[&str] = &[
    LOCK_ORDERS,
    READ_LIVE,
    UPDATE_ORDERS,
    INSERT_ORDERS,
    INSERT_ITEMS,
];

/// What operators watch.
pub(crate) const GAUGES: &[GaugeQuery] = &[GaugeQuery {
    name: "order_orders",
    help: "Checkouts known, as the database estimates: counting them would read them all",
    labels: &[],
    sql: "SELECT GREATEST(reltuples, 0)::int8 FROM pg_class WHERE oid = 'orders'::regclass",
}];

/// Locks the orders of a batch in the order of their checkouts, and looks up which carts
/// have a live one.
pub(crate) fn reads(checkouts: Vec<Uuid>, carts: Vec<Uuid>) -> Vec<Sql> {
    vec![
        Sql::new(LOCK_ORDERS, vec![Box::new(checkouts)]),
        Sql::new(READ_LIVE, vec![Box::new(carts)]),
    ]
}

/// The state of the rows that [`reads`] asked for.
pub(crate) fn state(rows: &[Vec<Row>]) -> Result<State, tokio_postgres::Error> {
    let [orders, live] = rows else {
        return Ok(State::default());
    };
    let pair = |row: &Row| {
        Ok((
            CartId::from_untyped_uuid(row.try_get(0)?),
            CheckoutId::from_untyped_uuid(row.try_get(1)?),
        ))
    };
    Ok(State {
        orders: orders.iter().map(order).collect::<Result<_, _>>()?,
        live: live
            .iter()
            .map(pair)
            .collect::<Result<_, tokio_postgres::Error>>()?,
    })
}

fn order(row: &Row) -> Result<(CheckoutId, Order), tokio_postgres::Error> {
    let creation = match (
        row.try_get::<_, Option<Uuid>>("create_command_id")?,
        row.try_get::<_, Option<Timestamp>>("answered_at")?,
    ) {
        (Some(command), Some(at)) => Some(Creation {
            command_id: CommandId::from_untyped_uuid(command),
            at,
            answer: match row.try_get::<_, Option<&str>>("reject_reason")? {
                Some(reason) => Answer::Rejected(
                    OrderRejectReason::from_symbol(reason).unwrap_or(OrderRejectReason::Unknown),
                ),
                None => Answer::Recorded,
            },
        }),
        _ => None,
    };
    let cancellation = match (
        row.try_get::<_, Option<Uuid>>("cancel_command_id")?,
        row.try_get::<_, Option<&str>>("cancel_reason")?,
        row.try_get::<_, Option<Timestamp>>("cancelled_at")?,
    ) {
        (Some(command), Some(reason), Some(at)) => Some(Cancellation {
            command_id: CommandId::from_untyped_uuid(command),
            reason: CancelReason::from_symbol(reason).unwrap_or(CancelReason::Unknown),
            at,
        }),
        _ => None,
    };
    let order = Order {
        cart_id: CartId::from_untyped_uuid(row.try_get("cart_id")?),
        creation,
        cancellation,
    };
    let checkout = CheckoutId::from_untyped_uuid(row.try_get("checkout_id")?);
    Ok((checkout, order))
}

/// Writes what a batch has changed.
pub(crate) fn writes(state: State) -> Vec<Sql> {
    let orders = state.orders.into_written();
    let mut writes = Vec::new();
    if !orders.changed.is_empty() {
        writes.push(update_orders(&orders.changed));
    }
    if !orders.new.is_empty() {
        writes.push(insert_orders(&orders.new));
        writes.extend(insert_items(&orders.new));
    }
    writes
}

type OrderRow = (CheckoutId, Order);

/// The only change of an order is its cancellation.
fn update_orders(rows: &[OrderRow]) -> Sql {
    Sql::new(
        UPDATE_ORDERS,
        vec![
            column(rows, |(checkout, _)| checkout.into_untyped_uuid()),
            column(rows, cancel_command),
            column(rows, cancel_reason),
            column(rows, |(_, row)| row.cancellation.map(|c| c.at)),
        ],
    )
}

fn insert_orders(rows: &[OrderRow]) -> Sql {
    fn content<T>(rows: &OrderRow, value: impl Fn(&Content) -> T) -> Option<T> {
        rows.1.content().map(value)
    }
    let creation = |(_, row): &OrderRow| row.creation.as_ref().map(|c| (c.command_id, c.at));
    Sql::new(
        INSERT_ORDERS,
        vec![
            column(rows, |(checkout, _)| checkout.into_untyped_uuid()),
            column(rows, |(_, row)| row.cart_id.into_untyped_uuid()),
            column(rows, |(_, row)| row.state()),
            column(rows, |row| {
                creation(row).map(|(id, _)| id.into_untyped_uuid())
            }),
            column(rows, |row| creation(row).map(|(_, at)| at)),
            column(rows, |(_, row)| match row.creation.as_ref()?.answer {
                Answer::Rejected(reason) => Some(reason.as_str()),
                Answer::Recorded | Answer::New(_) => None,
            }),
            column(rows, |(checkout, row)| {
                let id = ids::order_id(*checkout).into_untyped_uuid();
                row.content().map(|_| id)
            }),
            column(rows, |row| {
                content(row, |c| c.customer_id.into_untyped_uuid())
            }),
            column(rows, |row| content(row, |c| c.total)),
            column(rows, |row| content(row, |c| c.currency.clone())),
            column(rows, |row| {
                content(row, |c| c.payment_authorization_id.into_untyped_uuid())
            }),
            column(rows, cancel_command),
            column(rows, cancel_reason),
            column(rows, |(_, row)| row.cancellation.map(|c| c.at)),
        ],
    )
}

fn cancel_command((_, row): &OrderRow) -> Option<Uuid> {
    row.cancellation.map(|c| c.command_id.into_untyped_uuid())
}

fn cancel_reason((_, row): &OrderRow) -> Option<&'static str> {
    row.cancellation.map(|c| c.reason.as_str())
}

fn insert_items(rows: &[OrderRow]) -> Option<Sql> {
    let mut lines = Vec::new();
    for (checkout, row) in rows {
        let Some(content) = row.content() else {
            continue;
        };
        let order = ids::order_id(*checkout).into_untyped_uuid();
        for (item, line) in content.items.iter().zip(1_i32..) {
            lines.push((order, line, item));
        }
    }
    if lines.is_empty() {
        return None;
    }
    Some(Sql::new(
        INSERT_ITEMS,
        vec![
            column(&lines, |(order, _, _)| *order),
            column(&lines, |(_, line, _)| *line),
            column(&lines, |(_, _, item)| item.product_id.clone()),
            column(&lines, |(_, _, item)| item.quantity),
            column(&lines, |(_, _, item)| item.unit_price),
        ],
    ))
}
