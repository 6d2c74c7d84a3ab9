//! The SQL of the payment service: one statement each to lock, insert and update
//! the rows of a batch, and one to find the timers that are due.

use std::time::Duration;

use contracts::Topic;
use contracts::ids::{CheckoutId, GenericUuid, TypedUuid};
use contracts::messages::DeclineReason;
use jiff::Timestamp;
use newtype_uuid::TypedUuidKind;
use runtime::{Home, Sql};
use service::{Purge, Rows, column};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, ToSql, Type};
use uuid::Uuid;

use crate::authorization::{Authorization, State};

/// Ended authorizations. What is held stays.
const PURGE: &str = "
DELETE FROM authorizations WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM authorizations
    WHERE state IN ('DECLINED', 'VOIDED') AND COALESCE(voided_at, declined_at) < $1
    ORDER BY COALESCE(voided_at, declined_at) LIMIT $2 FOR UPDATE SKIP LOCKED))";

/// What is removed after a time.
pub fn purge(keep: Option<Duration>) -> Purge {
    Purge {
        table: "authorizations",
        sql: PURGE,
        keep,
    }
}

/// The rows of a batch, locked in the order of their ids.
pub(crate) const LOCK: &str = "\
    SELECT checkout_id, cart_id, customer_id, authorize_command_id, void_command_id, state, \
           void_requested, amount, currency, authorization_id, gateway_reference, \
           decline_reason, attempts, requested_at, authorized_at, declined_at, voided_at, \
           home_topic, home_partition, traceparent, wake_at, \
           xmin::text::int8 AS version \
    FROM authorizations WHERE checkout_id = ANY($1::uuid[]) \
    ORDER BY checkout_id FOR UPDATE";

/// New rows.
pub(crate) const INSERT: &str = "\
    INSERT INTO authorizations (\
           checkout_id, authorize_command_id, void_command_id, state, void_requested, amount, \
           currency, authorization_id, gateway_reference, decline_reason, attempts, \
           authorized_at, declined_at, voided_at, home_topic, home_partition, wake_at, \
           cart_id, customer_id, requested_at, traceparent) \
    SELECT unnest($1::uuid[]), unnest($2::uuid[]), unnest($3::uuid[]), unnest($4::text[]), \
           unnest($5::bool[]), unnest($6::int8[]), unnest($7::text[]), unnest($8::uuid[]), \
           unnest($9::text[]), unnest($10::text[]), unnest($11::int4[]), \
           unnest($12::timestamptz[]), unnest($13::timestamptz[]), unnest($14::timestamptz[]), \
           unnest($15::text[]), unnest($16::int4[]), unnest($17::timestamptz[]), \
           unnest($18::uuid[]), unnest($19::uuid[]), unnest($20::timestamptz[]), \
           unnest($21::text[])";

/// Changed rows. What a checkout is born with does not change.
pub(crate) const UPDATE: &str = "\
    UPDATE authorizations AS a SET \
           authorize_command_id = n.authorize_command_id, void_command_id = n.void_command_id, \
           state = n.state, void_requested = n.void_requested, amount = n.amount, \
           currency = n.currency, authorization_id = n.authorization_id, \
           gateway_reference = n.gateway_reference, decline_reason = n.decline_reason, \
           attempts = n.attempts, authorized_at = n.authorized_at, \
           declined_at = n.declined_at, voided_at = n.voided_at, home_topic = n.home_topic, \
           home_partition = n.home_partition, wake_at = n.wake_at \
    FROM (\
        SELECT unnest($1::uuid[]) AS checkout_id, unnest($2::uuid[]) AS authorize_command_id, \
               unnest($3::uuid[]) AS void_command_id, unnest($4::text[]) AS state, \
               unnest($5::bool[]) AS void_requested, unnest($6::int8[]) AS amount, \
               unnest($7::text[]) AS currency, unnest($8::uuid[]) AS authorization_id, \
               unnest($9::text[]) AS gateway_reference, unnest($10::text[]) AS decline_reason, \
               unnest($11::int4[]) AS attempts, unnest($12::timestamptz[]) AS authorized_at, \
               unnest($13::timestamptz[]) AS declined_at, unnest($14::timestamptz[]) AS voided_at, \
               unnest($15::text[]) AS home_topic, unnest($16::int4[]) AS home_partition, \
               unnest($17::timestamptz[]) AS wake_at, unnest($18::int4[]) AS version \
    ) AS n \
    WHERE a.checkout_id = n.checkout_id AND a.xmin = n.version";

/// Rows that were kept from a former batch and do not change.
pub(crate) const COMPARE: &str = service::compare_all!("authorizations", "checkout_id", "uuid");

/// The timers due in some homes, by the index of each home.
pub(crate) const DUE: &str = "\
    SELECT due.checkout_id, home.topic, home.partition, due.traceparent \
    FROM unnest($1::text[], $2::int4[]) AS home(topic, partition) \
    CROSS JOIN LATERAL (\
        SELECT checkout_id, traceparent FROM authorizations \
        WHERE home_topic = home.topic AND home_partition = home.partition AND wake_at <= $3 \
        ORDER BY wake_at LIMIT $4) AS due \
    LIMIT $4";

/// Reads and locks the rows of these checkouts.
pub(crate) fn lock(checkouts: Vec<Uuid>) -> Sql {
    Sql::new(LOCK, vec![Box::new(checkouts)])
}

/// Finds the timers that are due.
pub(crate) fn due(homes: &[Home], now: Timestamp, limit: i64) -> Sql {
    let topics: Vec<&'static str> = homes.iter().map(|home| home.topic.name()).collect();
    let partitions: Vec<i32> = homes.iter().map(|home| home.partition).collect();
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

/// Writes new and changed rows.
pub(crate) fn writes(rows: Rows<CheckoutId, Authorization>) -> Vec<Sql> {
    let written = rows.into_written();
    let mut statements = Vec::new();
    let compared = written.compared();
    if !compared.is_empty() {
        let checkouts = column(&compared, |(checkout, _)| checkout.into_untyped_uuid());
        let versions = column(&compared, |(_, version)| *version);
        statements.push(Sql::new(COMPARE, vec![checkouts, versions]));
    }
    let rows = |rows: Vec<(_, Authorization)>| rows.into_iter().map(|(_, row)| row).collect();
    let (new, known): (Vec<_>, Vec<_>) = (rows(written.new), rows(written.changed));
    if !new.is_empty() {
        let mut params = changing(&new);
        params.push(column(&new, |row| row.cart_id.into_untyped_uuid()));
        params.push(column(&new, |row| untyped(row.customer_id)));
        params.push(column(&new, |row| row.requested_at));
        params.push(column(&new, |row| row.traceparent.clone()));
        statements.push(Sql::new(INSERT, params));
    }
    if !known.is_empty() {
        let mut params = changing(&known);
        params.push(Box::new(written.versions));
        statements.push(Sql::new(UPDATE, params));
    }
    statements
}

type Param = Box<dyn ToSql + Sync + Send>;

/// The id and the columns that change, in the order of both statements.
fn changing(rows: &[Authorization]) -> Vec<Param> {
    vec![
        column(rows, |row| row.checkout_id.into_untyped_uuid()),
        column(rows, |row| untyped(row.authorize_command_id)),
        column(rows, |row| untyped(row.void_command_id)),
        column(rows, |row| row.state.as_str()),
        column(rows, |row| row.void_requested),
        column(rows, |row| row.amount),
        column(rows, |row| row.currency.clone()),
        column(rows, |row| untyped(row.authorization_id)),
        column(rows, |row| row.gateway_reference.clone()),
        column(rows, |row| row.decline_reason.map(DeclineReason::as_str)),
        column(rows, |row| row.attempts),
        column(rows, |row| row.authorized_at),
        column(rows, |row| row.declined_at),
        column(rows, |row| row.voided_at),
        column(rows, |row| row.home.topic.name()),
        column(rows, |row| row.home.partition),
        column(rows, |row| row.wake_at),
    ]
}

fn untyped<K: TypedUuidKind>(id: Option<TypedUuid<K>>) -> Option<Uuid> {
    id.map(GenericUuid::into_untyped_uuid)
}

fn typed<K: TypedUuidKind>(id: Option<Uuid>) -> Option<TypedUuid<K>> {
    id.map(TypedUuid::from_untyped_uuid)
}

/// The row as the state machine has it.
///
/// # Errors
/// A column that cannot be converted.
pub(crate) fn from_row(row: &Row) -> Result<Authorization, tokio_postgres::Error> {
    let reason: Option<&str> = row.try_get("decline_reason")?;
    Ok(Authorization {
        checkout_id: TypedUuid::from_untyped_uuid(row.try_get("checkout_id")?),
        cart_id: TypedUuid::from_untyped_uuid(row.try_get("cart_id")?),
        customer_id: typed(row.try_get("customer_id")?),
        authorize_command_id: typed(row.try_get("authorize_command_id")?),
        void_command_id: typed(row.try_get("void_command_id")?),
        state: row.try_get("state")?,
        void_requested: row.try_get("void_requested")?,
        amount: row.try_get("amount")?,
        currency: row.try_get("currency")?,
        authorization_id: typed(row.try_get("authorization_id")?),
        gateway_reference: row.try_get("gateway_reference")?,
        // A reason that a newer version wrote is told as this one can.
        decline_reason: reason
            .map(|name| DeclineReason::from_symbol(name).unwrap_or(DeclineReason::Unknown)),
        attempts: row.try_get("attempts")?,
        requested_at: row.try_get("requested_at")?,
        authorized_at: row.try_get("authorized_at")?,
        declined_at: row.try_get("declined_at")?,
        voided_at: row.try_get("voided_at")?,
        // The only topic consumed.
        home: Home {
            topic: Topic::PaymentsCommands,
            partition: row.try_get("home_partition")?,
        },
        traceparent: row.try_get("traceparent")?,
        wake_at: row.try_get("wake_at")?,
    })
}

impl<'a> FromSql<'a> for State {
    fn from_sql(
        column: &Type,
        raw: &'a [u8],
    ) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        let name = <&str>::from_sql(column, raw)?;
        Self::from_name(name)
            .ok_or_else(|| format!("`{name}` is no state of an authorization").into())
    }

    fn accepts(column: &Type) -> bool {
        <&str as FromSql>::accepts(column)
    }
}
