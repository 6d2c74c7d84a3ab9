//! What has ended long ago is removed, what is held is not, and repeats that come
//! later than that hurt nobody.

use contracts::Message;
use contracts::messages::{FailureReason, SagaState};
use integration_tests::carts::{again, cart};
use integration_tests::load::Load;
use integration_tests::{
    Holdings, IMPATIENT, Options, Outcome, SERVICES, Seen, System, all_but, product,
};

use crate::ctl::run;

/// Often, and few rows at a time: several transactions for each table.
const EAGER: &[(&str, &str, &str)] = &[
    ("orchestrator", "PURGE_INTERVAL_SECONDS", "1"),
    ("orchestrator", "PURGE_BATCH_ROWS", "3"),
    ("inventory", "PURGE_INTERVAL_SECONDS", "1"),
    ("inventory", "PURGE_BATCH_ROWS", "3"),
    ("payment", "PURGE_INTERVAL_SECONDS", "1"),
    ("payment", "PURGE_BATCH_ROWS", "3"),
    ("order", "PURGE_INTERVAL_SECONDS", "1"),
    ("order", "PURGE_BATCH_ROWS", "3"),
];

/// The rows of one transaction at most, as [`EAGER`] has it.
const AT_ONCE: i64 = 3;

/// The tables that rows are removed from, as the metric calls them: service, table.
const TABLES: &[(&str, &str)] = &[
    ("orchestrator", "sagas"),
    ("orchestrator", "saga_transitions"),
    ("inventory", "reservations"),
    ("payment", "authorizations"),
    ("order", "orders"),
];

/// Writes down how many rows each statement removes, and in which transaction.
const WATCH: &str = "
CREATE TABLE removed (source text NOT NULL, gone int8 NOT NULL, xact xid8 NOT NULL);
CREATE FUNCTION note_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO removed SELECT TG_TABLE_NAME, count(*), pg_current_xact_id() FROM gone;
    RETURN NULL;
END $$";
const WATCH_TABLE: &str = "
CREATE TRIGGER note_removed AFTER DELETE ON {} REFERENCING OLD TABLE AS gone
FOR EACH STATEMENT EXECUTE FUNCTION note_removed()";
/// The most rows of a table in one transaction, and those of all.
const WATCHED: &str = "
SELECT COALESCE(max(t.gone), 0)::int8, COALESCE(sum(t.gone), 0)::int8
FROM (SELECT sum(gone) AS gone FROM removed WHERE source = $1 GROUP BY xact::text) t";

/// Every time of these tables, forty days ago.
const AGED: &[(&str, &str)] = &[
    (
        "orchestrator",
        "UPDATE sagas SET ended_at = ended_at - interval '40 days'",
    ),
    (
        "orchestrator",
        "UPDATE saga_transitions SET at = at - interval '40 days'",
    ),
    (
        "inventory",
        "UPDATE reservations SET answered_at = answered_at - interval '40 days', \
         released_at = released_at - interval '40 days'",
    ),
    (
        "payment",
        "UPDATE authorizations SET declined_at = declined_at - interval '40 days', \
         voided_at = voided_at - interval '40 days'",
    ),
    (
        "order",
        "UPDATE orders SET answered_at = answered_at - interval '40 days', \
         cancelled_at = cancelled_at - interval '40 days'",
    ),
];

/// Rows that are younger than those and old enough to go, more than one transaction removes:
/// service, rows, statement.
const MARKERS: &[(&str, &str, &str)] = &[
    (
        "inventory",
        "reservations WHERE release_reason = 'MARKER'",
        "INSERT INTO reservations (checkout_id, cart_id, state, release_command_id,
             release_reason, released_at, home_topic, home_partition, traceparent)
         SELECT gen_random_uuid(), gen_random_uuid(), 'RELEASED', gen_random_uuid(), 'MARKER',
             now() - interval '31 days', 'inventory.commands', 0, '' FROM generate_series(1, {n})",
    ),
    (
        "payment",
        "authorizations WHERE currency = 'XTS'",
        "INSERT INTO authorizations (checkout_id, cart_id, state, currency, requested_at,
             voided_at, home_topic, home_partition, traceparent)
         SELECT gen_random_uuid(), gen_random_uuid(), 'VOIDED', 'XTS',
             now() - interval '31 days', now() - interval '31 days', 'payments.commands', 0, ''
         FROM generate_series(1, {n})",
    ),
    (
        "order",
        "orders WHERE cancel_reason = 'MARKER'",
        "INSERT INTO orders (checkout_id, cart_id, state, cancel_command_id, cancel_reason,
             cancelled_at)
         SELECT gen_random_uuid(), gen_random_uuid(), 'CANCELLED', gen_random_uuid(), 'MARKER',
             now() - interval '31 days' FROM generate_series(1, {n})",
    ),
];
const MARKED: i64 = 2 * AT_ONCE + 1;

async fn count(system: &System, service: &str, from: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {from}");
    system.query(service, &sql, &[]).await[0].get(0)
}

async fn until_none(system: &System, service: &str, from: &str) {
    let what = format!("{service} has removed {from}");
    let none = async || count(system, service, from).await == 0;
    system.until(&what, none).await;
}

/// Waits until a service has counted so many rows of a table as removed, and fails unless
/// so many are gone, a few in each transaction.
async fn assert_removed(system: &System, service: &str, table: &str, rows: i64) {
    let found = system.query(service, WATCHED, &[&table]).await;
    let found: (i64, i64) = (found[0].get(0), found[0].get(1));
    assert_eq!(found, (AT_ONCE, rows), "{table}: most at once, all");
    // It is counted after the commit.
    let (counter, label) = ("service_rows_purged_total", format!("table=\"{table}\""));
    let what = format!("{service} has counted {rows} rows of {table}");
    system
        .until(&what, async || {
            system.counted(service, 0, counter, &label).await == rows as f64
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_long_ago_is_removed_and_what_is_held_stays() {
    let system = System::start(
        "retention",
        Options {
            environment: EAGER,
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 10).await;
    let ordered = cart(&sku, 1, 700);
    let failed = cart(&sku, 1, 1051);
    system.publish_all(&[&ordered, &failed]).await;
    let mut carts = system.load(Load::new(60, 60.0)).await;
    carts.extend([ordered.clone(), failed.clone()]);
    system.assert_settled(&carts).await;
    let held = count(&system, "order", "orders WHERE state = 'RECORDED'").await;
    assert!(held > 20, "{held}");
    for from in ["sagas", "saga_transitions"] {
        assert!(
            count(&system, "orchestrator", from).await > 50,
            "young rows stay: {from}"
        );
    }
    for service in SERVICES {
        system.execute(service, WATCH).await;
    }
    let mut before = Vec::new();
    for &(service, table) in TABLES {
        let watch = WATCH_TABLE.replace("{}", table);
        system.execute(service, &watch).await;
        before.push(count(&system, service, table).await);
    }

    for (service, sql) in AGED {
        system
            .query(service, &format!("{sql} RETURNING 1"), &[])
            .await;
    }
    until_none(&system, "orchestrator", "sagas").await;
    until_none(&system, "orchestrator", "saga_transitions").await;
    until_none(
        &system,
        "inventory",
        "reservations WHERE state <> 'RESERVED'",
    )
    .await;
    until_none(
        &system,
        "payment",
        "authorizations WHERE state <> 'AUTHORIZED'",
    )
    .await;
    until_none(&system, "order", "orders WHERE state <> 'RECORDED'").await;
    // Around again: what stays, stays. Old rows are removed oldest first, so when younger
    // ones are gone, everything older that ever will be is gone, too.
    for (service, from, sql) in MARKERS {
        let sql = sql.replace("{n}", &MARKED.to_string());
        system.execute(service, &sql).await;
        until_none(&system, service, from).await;
    }
    assert_eq!(count(&system, "inventory", "reservations").await, held);
    assert_eq!(
        count(
            &system,
            "inventory",
            "(SELECT DISTINCT checkout_id FROM reservation_items) i"
        )
        .await,
        held,
        "items go with their reservation"
    );
    assert_eq!(count(&system, "payment", "authorizations").await, held);
    assert_eq!(count(&system, "order", "orders").await, held);
    for (&(service, table), before) in TABLES.iter().zip(before) {
        let marked = MARKERS.iter().any(|(marked, ..)| *marked == service);
        let planted = if marked { MARKED } else { 0 };
        let gone = before + planted - count(&system, service, table).await;
        assert_removed(&system, service, table, gone).await;
    }

    // The very event again, its saga forgotten: the same answers, the same order.
    let stock = system.stock(&sku).await;
    let Outcome::Created(order) = system.outcome(&ordered).await else {
        panic!("it was ordered");
    };
    system.publish(&ordered).await;
    let created = |seen: &[Seen]| {
        let records = seen.iter().filter_map(|seen| match &seen.message {
            Some(Message::OrderCreated(created)) => Some(created),
            _ => None,
        });
        let of_cart = records.filter(|created| created.cart_id == ordered.cart_id);
        let ids: Vec<_> = of_cart
            .map(|created| (created.event_id, created.order_id))
            .collect();
        (ids.len() > 1).then_some(ids)
    };
    let ids = system.recorder.wait_for("the same once more", created);
    assert_eq!(ids.await, [(order.event_id, order.order_id); 2]);
    assert_eq!(system.stock(&sku).await, stock, "nothing more is held");
    let (service, sql) = AGED[0];
    system.execute(service, sql).await;
    until_none(&system, service, "sagas").await;

    // The cart was ordered; the saga that knew it is gone. The order service's unique
    // key is the last fence: the new attempt is undone, the order stands.
    let late = again(&ordered);
    system.publish(&late).await;
    let Outcome::Failed(refused) = system.outcome(&late).await else {
        panic!("a second order of one cart");
    };
    assert_eq!(refused.reason, FailureReason::OrderRejected);
    assert_eq!(system.stock(&sku).await, stock, "nothing more is held");
    assert_eq!(
        system.holdings(&ordered).await,
        Holdings::new(Some("RESERVED"), Some("AUTHORIZED"), Some("RECORDED"))
    );
    // A cart that failed fails once more: nothing is held for it.
    let late = again(&failed);
    system.publish(&late).await;
    assert!(matches!(system.outcome(&late).await, Outcome::Failed(_)));
    assert_eq!(system.stock(&sku).await, stock);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_has_still_to_settle_stays_however_old_it_is() {
    let system = System::start(
        "retention_unsettled",
        Options {
            services: all_but("payment"),
            environment: Vec::leak([IMPATIENT, EAGER].concat()),
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 2).await;
    let (stuck, abandoned) = (cart(&sku, 1, 700), cart(&sku, 1, 700));
    let failed = cart(&product(), 1, 700);
    system.publish_all(&[&stuck, &abandoned, &failed]).await;
    for cart in [&stuck, &abandoned] {
        system.snapshot(cart, SagaState::Stuck).await;
    }
    assert!(matches!(system.outcome(&failed).await, Outcome::Failed(_)));
    let id = abandoned.cart_id.to_string();
    let why = ["--reason", "no gateway", "--operator", "night shift"];
    let abandon = [&["sagas", "abandon", &id][..], &why].concat();
    let ran = run(&system, &abandon).await;
    assert_eq!(ran.status, Some(0), "{} {}", ran.out, ran.errors);

    // At once, so that the round that removes the youngest has found the others, too. What
    // is stuck has no end, only a beginning.
    let aged = "
        UPDATE sagas SET
            ended_at = CASE state WHEN 'FAILED' THEN now() - interval '31 days'
                WHEN 'ABANDONED' THEN now() - interval '40 days' END,
            progress = jsonb_set(progress::jsonb, '{startedAt}',
                to_jsonb(now() - interval '40 days'))::json";
    system.execute("orchestrator", aged).await;
    until_none(&system, "orchestrator", "sagas WHERE state = 'FAILED'").await;
    let old = "sagas WHERE (progress ->> 'startedAt')::timestamptz < now() - interval '39 days'";
    assert_eq!(count(&system, "orchestrator", old).await, 2);
    assert_eq!(system.status(&stuck).await["status"], "DELAYED");
    let status = system.status(&abandoned).await;
    assert_eq!(status["status"], "IN_CLARIFICATION");

    // It can still go on.
    system.start_service("payment").await;
    assert!(matches!(system.outcome(&stuck).await, Outcome::Failed(_)));
    system.assert_one_outcome(&stuck).await;
    assert_eq!(system.stock(&sku).await, (2, 1), "one is still held");
}
