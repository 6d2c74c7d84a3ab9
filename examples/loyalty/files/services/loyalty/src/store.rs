//! How the rows are read and written: every statement for a whole batch.

use std::time::Duration;

use contracts::ids::{CartId, CheckoutId, CommandId, CustomerId, GenericUuid};
use contracts::messages::PointsRefusedReason;
use jiff::Timestamp;
use runtime::Sql;
use service::{GaugeQuery, Purge, column};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::state::{Award, Decision, Revocation, State};

const LOCK: &str = "
SELECT checkout_id, cart_id, award_command_id, customer_id, answered_at, points, refuse_reason,
       revoke_command_id, revoked_at
FROM awards WHERE checkout_id = ANY($1::uuid[]) ORDER BY checkout_id FOR UPDATE";

const INSERT: &str = "
INSERT INTO awards (
    checkout_id, cart_id, state, award_command_id, customer_id, answered_at, points,
    refuse_reason, revoke_command_id, revoked_at)
SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::text[]), unnest($4::uuid[]),
       unnest($5::uuid[]), unnest($6::timestamptz[]), unnest($7::int8[]), unnest($8::text[]),
       unnest($9::uuid[]), unnest($10::timestamptz[])";

/// The only change of a row is its revocation.
const REVOKE: &str = "
UPDATE awards a
SET state = 'REVOKED', revoke_command_id = u.revoke_command_id, revoked_at = u.revoked_at
FROM (
    SELECT unnest($1::uuid[]) AS checkout_id, unnest($2::uuid[]) AS revoke_command_id,
           unnest($3::timestamptz[]) AS revoked_at
) AS u
WHERE a.checkout_id = u.checkout_id";

/// Refused and revoked awards. What is awarded stays.
const PURGE: &str = "
DELETE FROM awards WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM awards
    WHERE state <> 'AWARDED' AND COALESCE(revoked_at, answered_at) < $1
    ORDER BY COALESCE(revoked_at, answered_at) LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// Every statement of the message loop.
pub(crate) const STATEMENTS: &[&str] = &[LOCK, INSERT, REVOKE];

/// What operators watch.
pub(crate) const GAUGES: &[GaugeQuery] = &[GaugeQuery {
    name: "loyalty_awards",
    help: "Checkouts known, as the database estimates: counting them would read them all",
    labels: &[],
    sql: "SELECT GREATEST(reltuples, 0)::int8 FROM pg_class WHERE oid = 'awards'::regclass",
}];

/// What is removed after a time.
pub(crate) fn purge(keep: Option<Duration>) -> Purge {
    Purge {
        table: "awards",
        sql: PURGE,
        keep,
    }
}

/// Locks the rows of a batch in the order of their checkouts.
pub(crate) fn lock(checkouts: Vec<Uuid>) -> Sql {
    Sql::new(LOCK, vec![Box::new(checkouts)])
}

/// The state of the rows that [`lock`] asked for.
pub(crate) fn state(rows: &[Vec<Row>]) -> Result<State, tokio_postgres::Error> {
    rows.iter().flatten().map(award).collect()
}

fn award(row: &Row) -> Result<(CheckoutId, Award), tokio_postgres::Error> {
    let decision = match (
        row.try_get::<_, Option<Uuid>>("award_command_id")?,
        row.try_get::<_, Option<Uuid>>("customer_id")?,
        row.try_get::<_, Option<Timestamp>>("answered_at")?,
    ) {
        (Some(command), Some(customer), Some(at)) => Some(Decision {
            command_id: CommandId::from_untyped_uuid(command),
            customer_id: CustomerId::from_untyped_uuid(customer),
            at,
            points: match row.try_get::<_, Option<&str>>("refuse_reason")? {
                None => Ok(row.try_get("points")?),
                Some(reason) => Err(PointsRefusedReason::from_symbol(reason)
                    .unwrap_or(PointsRefusedReason::Unknown)),
            },
        }),
        _ => None,
    };
    let revocation = match (
        row.try_get::<_, Option<Uuid>>("revoke_command_id")?,
        row.try_get::<_, Option<Timestamp>>("revoked_at")?,
    ) {
        (Some(command), Some(at)) => Some(Revocation {
            command_id: CommandId::from_untyped_uuid(command),
            at,
        }),
        _ => None,
    };
    let award = Award {
        cart_id: CartId::from_untyped_uuid(row.try_get("cart_id")?),
        decision,
        revocation,
    };
    let checkout = CheckoutId::from_untyped_uuid(row.try_get("checkout_id")?);
    Ok((checkout, award))
}

/// Writes what a batch has changed.
pub(crate) fn writes(state: State) -> Vec<Sql> {
    let rows = state.into_written();
    let mut writes = Vec::new();
    if !rows.changed.is_empty() {
        writes.push(Sql::new(
            REVOKE,
            vec![
                column(&rows.changed, |(checkout, _)| checkout.into_untyped_uuid()),
                column(&rows.changed, revoke_command),
                column(&rows.changed, |(_, row)| row.revocation.map(|r| r.at)),
            ],
        ));
    }
    if !rows.new.is_empty() {
        writes.push(insert(&rows.new));
    }
    writes
}

type AwardRow = (CheckoutId, Award);

fn insert(rows: &[AwardRow]) -> Sql {
    Sql::new(
        INSERT,
        vec![
            column(rows, |(checkout, _)| checkout.into_untyped_uuid()),
            column(rows, |(_, row)| row.cart_id.into_untyped_uuid()),
            column(rows, |(_, row)| row.state()),
            column(rows, |(_, row)| {
                row.decision.map(|d| d.command_id.into_untyped_uuid())
            }),
            column(rows, |(_, row)| {
                row.decision.map(|d| d.customer_id.into_untyped_uuid())
            }),
            column(rows, |(_, row)| row.decision.map(|d| d.at)),
            column(rows, |(_, row)| row.decision.and_then(|d| d.points.ok())),
            column(rows, |(_, row)| {
                row.decision
                    .and_then(|d| d.points.err())
                    .map(PointsRefusedReason::as_str)
            }),
            column(rows, revoke_command),
            column(rows, |(_, row)| row.revocation.map(|r| r.at)),
        ],
    )
}

fn revoke_command((_, row): &AwardRow) -> Option<Uuid> {
    row.revocation.map(|r| r.command_id.into_untyped_uuid())
}
