//! Finished sagas that were there before: copies of one that the system itself has
//! played, some days old, in all four databases.

use anyhow::Context;
use stack::{Progress, Service};
use uuid::Uuid;

use crate::side::Side;

/// Sagas of one statement.
const CHUNK: u64 = 100_000;

/// The newest completed saga, of which all copies are made.
const NEWEST: &str = "
SELECT checkout_id FROM sagas WHERE state = 'COMPLETED' ORDER BY ended_at DESC LIMIT 1";

/// What each service has of a finished saga: copies of the checkout `$3`, with ids of
/// their own, numbered from `$1` to `$2`.
const COPIES: &[(Service, &[&str])] = &[
    (
        Service::Orchestrator,
        &[
            "WITH one AS (SELECT * FROM sagas WHERE checkout_id = $3)
             INSERT INTO sagas (cart_id, cart, progress, state, checkout_id, home_topic,
                    home_partition, traceparent, ended_at)
             SELECT md5('cart ' || n)::uuid, cart,
                    (progress::jsonb || jsonb_build_object('checkoutId', md5('checkout ' || n)::uuid))::json,
                    state, md5('checkout ' || n)::uuid, home_topic, home_partition, traceparent, ended_at - interval '10 days'
             FROM one, generate_series($1::int8, $2::int8) n",
            "WITH one AS (SELECT cart_id FROM sagas WHERE checkout_id = $3)
             INSERT INTO saga_transitions
             SELECT copy.* FROM one JOIN saga_transitions t USING (cart_id), generate_series($1::int8, $2::int8) n,
             LATERAL jsonb_populate_record(t, jsonb_build_object(
                'cart_id', md5('cart ' || n)::uuid, 'checkout_id', md5('checkout ' || n)::uuid,
                'at', t.at - interval '10 days')) copy",
        ],
    ),
    (
        Service::Inventory,
        &[
            "WITH one AS (SELECT * FROM reservations WHERE checkout_id = $3)
             INSERT INTO reservations
             SELECT copy.* FROM one, generate_series($1::int8, $2::int8) n,
             LATERAL jsonb_populate_record(one::reservations, jsonb_build_object(
                'cart_id', md5('cart ' || n)::uuid, 'checkout_id', md5('checkout ' || n)::uuid,
                'answered_at', one.answered_at - interval '10 days')) copy",
            "WITH one AS (SELECT * FROM reservation_items WHERE checkout_id = $3),
             copies AS (INSERT INTO reservation_items
                SELECT md5('checkout ' || n)::uuid, line, product_id, quantity
                FROM one, generate_series($1::int8, $2::int8) n)
             UPDATE stock s SET on_hand = s.on_hand + more.pieces, reserved = s.reserved + more.pieces
             FROM (SELECT product_id, sum(quantity) * ($2 - $1 + 1) AS pieces FROM one GROUP BY 1) more
             WHERE s.product_id = more.product_id",
        ],
    ),
    (
        Service::Payment,
        &[
            "WITH one AS (SELECT * FROM authorizations WHERE checkout_id = $3)
             INSERT INTO authorizations
             SELECT copy.* FROM one, generate_series($1::int8, $2::int8) n,
             LATERAL jsonb_populate_record(one::authorizations, jsonb_build_object(
                'cart_id', md5('cart ' || n)::uuid, 'checkout_id', md5('checkout ' || n)::uuid,
                'requested_at', one.requested_at - interval '10 days',
                'authorized_at', one.authorized_at - interval '10 days')) copy",
        ],
    ),
    (
        Service::Order,
        &[
            "WITH one AS (SELECT * FROM orders WHERE checkout_id = $3)
             INSERT INTO orders
             SELECT copy.* FROM one, generate_series($1::int8, $2::int8) n,
             LATERAL jsonb_populate_record(one::orders, jsonb_build_object(
                'cart_id', md5('cart ' || n)::uuid, 'checkout_id', md5('checkout ' || n)::uuid,
                'order_id', md5('order ' || n)::uuid,
                'answered_at', one.answered_at - interval '10 days')) copy",
            "WITH one AS (SELECT i.* FROM order_items i JOIN orders o USING (order_id) WHERE o.checkout_id = $3)
             INSERT INTO order_items
             SELECT md5('order ' || n)::uuid, line, product_id, quantity, unit_price
             FROM one, generate_series($1::int8, $2::int8) n",
        ],
    ),
];

/// Puts so many finished sagas into the databases of a variant.
pub(crate) async fn fill(side: &Side, sagas: u64, progress: &Progress) -> anyhow::Result<()> {
    let task = progress.task(format!("{sagas} finished sagas, {}", side.name));
    let orchestrator = side.installation.connect(Service::Orchestrator).await?;
    let one: Uuid = orchestrator
        .query_opt(NEWEST, &[])
        .await
        .context(NEWEST)?
        .context("no saga has completed that could be copied: let more of the mix be fine")?
        .try_get(0)?;
    for (service, statements) in COPIES {
        let client = side.installation.connect(*service).await?;
        // Chunks of this size take longer than a tool's statements usually may.
        client.batch_execute("SET statement_timeout = 0").await?;
        let mut first = 1;
        while first <= sagas {
            let last = sagas.min(first + CHUNK - 1);
            task.update(format!("{service}: {last}"));
            let range = (i64::try_from(first)?, i64::try_from(last)?);
            for statement in *statements {
                client
                    .execute(*statement, &[&range.0, &range.1, &one])
                    .await
                    .with_context(|| format!("{service}: {statement}"))?;
            }
            first = last + 1;
        }
        task.update(format!("{service}: VACUUM"));
        client.batch_execute("VACUUM (ANALYZE)").await?;
    }
    task.done("there");
    Ok(())
}
