//! What has ended long ago is removed, what is held is not, and repeats that come
//! later than that hurt nobody.

use contracts::Message;
use contracts::messages::FailureReason;
use integration_tests::carts::{again, cart};
use integration_tests::load::Load;
use integration_tests::{Holdings, Options, Outcome, PATIENCE, Seen, System, product};
use tokio::time::{Duration, Instant, sleep};

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

/// A row that is younger than those, and old enough to go: service, rows, statement.
const MARKERS: &[(&str, &str, &str)] = &[
    (
        "inventory",
        "reservations WHERE release_reason = 'MARKER'",
        "INSERT INTO reservations (checkout_id, cart_id, state, release_command_id,
             release_reason, released_at, home_topic, home_partition, traceparent)
         VALUES (gen_random_uuid(), gen_random_uuid(), 'RELEASED', gen_random_uuid(), 'MARKER',
             now() - interval '31 days', 'inventory.commands', 0, '')",
    ),
    (
        "payment",
        "authorizations WHERE currency = 'XTS'",
        "INSERT INTO authorizations (checkout_id, cart_id, state, currency, requested_at,
             voided_at, home_topic, home_partition, traceparent)
         VALUES (gen_random_uuid(), gen_random_uuid(), 'VOIDED', 'XTS',
             now() - interval '31 days', now() - interval '31 days', 'payments.commands', 0, '')",
    ),
    (
        "order",
        "orders WHERE cancel_reason = 'MARKER'",
        "INSERT INTO orders (checkout_id, cart_id, state, cancel_command_id, cancel_reason,
             cancelled_at)
         VALUES (gen_random_uuid(), gen_random_uuid(), 'CANCELLED', gen_random_uuid(), 'MARKER',
             now() - interval '31 days')",
    ),
];

async fn count(system: &System, service: &str, from: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {from}");
    system.query(service, &sql, &[]).await[0].get(0)
}

async fn until_none(system: &System, service: &str, from: &str) {
    let begin = Instant::now();
    while count(system, service, from).await > 0 {
        assert!(begin.elapsed() < PATIENCE, "{service} still has {from}");
        sleep(Duration::from_millis(100)).await;
    }
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
    // Around again: what stays, stays. Old rows are removed oldest first, so when a younger
    // one is gone, everything older that ever will be is gone, too.
    for (service, from, sql) in MARKERS {
        system.execute(service, sql).await;
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
    let metrics = system.get_text("orchestrator", "/metrics").await;
    assert!(
        metrics.contains(r#"service_rows_purged_total{"#) && metrics.contains(r#"table="sagas""#),
        "{metrics}"
    );

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
