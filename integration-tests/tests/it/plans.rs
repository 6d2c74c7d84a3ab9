//! What services and operators ask the databases stays on indexes, however many checkouts
//! have ended.
//!
//! The tables are filled, then the real services work, and PostgreSQL writes down the plan
//! of every statement that they run (`auto_explain`): of the message loop, timers, the
//! removal of old rows, gauges and HTTP, of `checkoutctl` and of the console. The audit is
//! left out: it reads every table once, and says so. The plans are judged by how many rows
//! they touch, not by time, and that many must do for any number of checkouts. Five
//! million: `PLANS_TEST_CHECKOUTS=5000000 cargo test -p integration-tests -- plans::`,
//! which takes a quarter of an hour and 40 GB.

use std::io::{Read, Seek, SeekFrom};

use contracts::RecordType;
use contracts::messages::CartCheckedOut;
use integration_tests::carts::cart;
use integration_tests::{Options, SERVICES, System, product};
use serde_json::Value;
use stack::PartKind;

use crate::console::Console;
use crate::ctl::run;

/// Checkouts that have ended, unless the environment says otherwise.
const CHECKOUTS: i64 = 60_000;

/// Rows of one table that a part of a plan may touch, however many checkouts there are.
/// `checkoutctl sagas list` looks at 2,000 sagas at once; nothing else touches as many.
const MOST_TOUCHED: f64 = 3_000.0;

/// Checkouts that one statement writes: the stack's PostgreSQL ends statements that take
/// minutes.
const FILLED_AT_ONCE: i64 = 100_000;

/// Everything that is done from time to time is done all the time.
const EAGER: &[(&str, &str, &str)] = &[
    ("orchestrator", "PURGE_INTERVAL_SECONDS", "1"),
    ("inventory", "PURGE_INTERVAL_SECONDS", "1"),
    ("payment", "PURGE_INTERVAL_SECONDS", "1"),
    ("order", "PURGE_INTERVAL_SECONDS", "1"),
    ("orchestrator", "GAUGE_INTERVAL_MS", "500"),
    ("inventory", "GAUGE_INTERVAL_MS", "500"),
    ("payment", "GAUGE_INTERVAL_MS", "500"),
    ("order", "GAUGE_INTERVAL_MS", "500"),
    ("orchestrator", "REPLY_WAIT_FIRST_MS", "500"),
];

/// Tables that grow with the number of checkouts.
const GROWING: &[&str] = &[
    "sagas",
    "saga_transitions",
    "reservations",
    "reservation_items",
    "authorizations",
    "orders",
    "order_items",
];

/// Many copies of the rows of one ordered cart. Their times lie in no order, since rows
/// take the places of others that were removed, and most of what is held is older than
/// any retention.
const FILL: &[(&str, &str)] = &[
    (
        "orchestrator",
        "INSERT INTO sagas (cart_id, cart, progress, state, checkout_id, home_topic,
             home_partition, traceparent, ended_at)
         SELECT gen_random_uuid(), s.cart, jsonb_set(s.progress::jsonb, '{checkoutId}',
             to_jsonb(n.id))::json, s.state, n.id, s.home_topic, s.home_partition, s.traceparent,
             now() - random() * interval '29 days'
         FROM (SELECT * FROM sagas LIMIT 1) s,
             (SELECT gen_random_uuid() AS id FROM generate_series(1, {n})) n",
    ),
    (
        "orchestrator",
        "INSERT INTO saga_transitions (cart_id, checkout_id, at, outcome, reason, state, step,
             tries, record_type, topic, partition, record_offset, trace_id)
         SELECT gen_random_uuid(), gen_random_uuid(), now() - random() * interval '29 days',
             outcome, reason, state, step, tries, record_type, topic, partition, record_offset,
             trace_id
         FROM (SELECT * FROM saga_transitions LIMIT 1) t, generate_series(1, 4 * {n})",
    ),
    (
        "inventory",
        "WITH new AS (
             INSERT INTO reservations (checkout_id, cart_id, state, reserve_command_id,
                 answered_at, reservation_id, home_topic, home_partition, traceparent)
             SELECT gen_random_uuid(), gen_random_uuid(), 'RESERVED', gen_random_uuid(),
                 now() - random() * interval '300 days', gen_random_uuid(), r.home_topic,
                 r.home_partition, r.traceparent
             FROM (SELECT * FROM reservations LIMIT 1) r, generate_series(1, {n})
             RETURNING checkout_id)
         INSERT INTO reservation_items
         SELECT checkout_id, line, 'sku-' || line, 1 FROM new, generate_series(0, 1) line",
    ),
    (
        "payment",
        "INSERT INTO authorizations (checkout_id, cart_id, customer_id, authorize_command_id,
             state, amount, currency, authorization_id, gateway_reference, requested_at,
             authorized_at, home_topic, home_partition, traceparent)
         SELECT gen_random_uuid(), gen_random_uuid(), customer_id, gen_random_uuid(),
             'AUTHORIZED', amount, currency, gen_random_uuid(), gateway_reference,
             now() - random() * interval '300 days', now() - random() * interval '300 days',
             home_topic, home_partition, traceparent
         FROM (SELECT * FROM authorizations LIMIT 1) a, generate_series(1, {n})",
    ),
    (
        "order",
        "WITH new AS (
             INSERT INTO orders (checkout_id, cart_id, state, create_command_id, answered_at,
                 order_id, customer_id, total, currency, payment_authorization_id)
             SELECT gen_random_uuid(), gen_random_uuid(), 'RECORDED', gen_random_uuid(),
                 now() - random() * interval '300 days', gen_random_uuid(), customer_id,
                 total, currency, gen_random_uuid()
             FROM (SELECT * FROM orders LIMIT 1) o, generate_series(1, {n})
             RETURNING order_id)
         INSERT INTO order_items
         SELECT order_id, line, 'sku-' || line, 1, 100 FROM new, generate_series(0, 1) line",
    ),
];

/// Parts of statements that must have been seen, so that none is forgotten.
const SEEN: &[(&str, &[&str])] = &[
    (
        "orchestrator",
        &[
            "FROM sagas WHERE cart_id = ANY",
            "INSERT INTO sagas",
            "UPDATE sagas",
            "INSERT INTO saga_transitions",
            "home_partition = h.partition",
            "DELETE FROM sagas",
            "DELETE FROM saga_transitions",
            "WHERE wake_at <= now()",
            "FROM sagas WHERE cart_id = $1",
            "FROM saga_transitions WHERE cart_id = $1",
            "OFFSET 0) s ORDER BY s.cart_id",
            "s.state = 'ABANDONED'",
            "s.cart_id = ANY($7",
            "s.cart_id <= $7",
            "OFFSET $2 LIMIT 1",
            "AND record_offset IS NOT NULL",
            "SELECT cart_id, cart, progress FROM sagas WHERE wake_at IS NOT NULL",
            "home_topic, home_partition, wake_at FROM sagas WHERE cart_id = $1",
            "ORDER BY s.ended_at DESC",
            "count(*) FILTER (WHERE s.wake_at",
        ],
    ),
    (
        "inventory",
        &[
            "FROM reservations WHERE checkout_id = ANY",
            "FROM reservation_items WHERE checkout_id = ANY",
            "FROM stock WHERE product_id = ANY",
            "FROM stock t JOIN",
            "INSERT INTO reservations",
            "UPDATE reservations",
            "home_partition = h.partition",
            "DELETE FROM reservations",
            "WHERE wake_at <= now()",
            "r.cart_id = $1",
            "to_jsonb(r)",
        ],
    ),
    (
        "payment",
        &[
            "FROM authorizations WHERE checkout_id = ANY",
            "INSERT INTO authorizations",
            "UPDATE authorizations",
            "home_partition = home.partition",
            "DELETE FROM authorizations",
            "WHERE wake_at <= now()",
            "WHERE cart_id = $1",
            "to_jsonb(a)",
        ],
    ),
    (
        "order",
        &[
            "FROM orders WHERE checkout_id = ANY",
            "FROM orders WHERE cart_id = ANY",
            "INSERT INTO orders",
            "DELETE FROM orders",
            "o.order_id = $1",
            "to_jsonb(o)",
        ],
    ),
];

/// What operators ask, by `checkoutctl`, with its exit status.
fn operators(cart: &CartCheckedOut) -> Vec<(String, i32)> {
    let cart = cart.cart_id;
    vec![
        ("sagas list".to_owned(), 0),
        ("sagas list --state stuck --state in_doubt".to_owned(), 0),
        ("sagas list --state abandoned --state stuck".to_owned(), 0),
        ("sagas list --state abandoned".to_owned(), 0),
        // All that have ended are like the second, and none is like the third.
        ("sagas list --ended --limit 5".to_owned(), 0),
        ("sagas list --state completed --limit 5".to_owned(), 0),
        (
            "sagas list --state failed --failure timed_out".to_owned(),
            0,
        ),
        (
            "sagas retry --state stuck --reason plans --operator plans".to_owned(),
            0,
        ),
        // It has ended, and refuses.
        (
            format!("sagas retry {cart} --reason plans --operator plans"),
            1,
        ),
        (format!("explain {cart}"), 0),
        ("upgrade preflight".to_owned(), 0),
    ]
}

/// One statement that was run, with its plan.
struct Run {
    database: String,
    text: String,
    plan: Value,
}

/// The plans in PostgreSQL's log: entries begin with a time, and go on indented.
fn runs(log: &str) -> Vec<Run> {
    let mut entries: Vec<String> = Vec::new();
    for line in log.lines() {
        match (line.strip_prefix('\t'), entries.last_mut()) {
            (Some(rest), Some(entry)) => {
                entry.push('\n');
                entry.push_str(rest);
            }
            _ => entries.push(line.to_owned()),
        }
    }
    entries
        .iter()
        .filter_map(|entry| {
            let (head, json) = entry.split_once("plan:\n")?;
            let (_, rest) = head.split_once('@')?;
            let shown: Value = serde_json::from_str(json).ok()?;
            Some(Run {
                database: rest.split_once(' ')?.0.to_owned(),
                text: shown["Query Text"].as_str()?.to_owned(),
                plan: shown["Plan"].clone(),
            })
        })
        .collect()
}

/// What a plan does to tables that grow which it should not: it reads one from end to
/// end, or touches more rows than `most`.
fn faults(plan: &Value, most: f64, found: &mut Vec<String>) {
    let node = plan["Node Type"].as_str().unwrap_or_default();
    let number = |name: &str| plan[name].as_f64().unwrap_or_default();
    if let Some(table) = plan["Relation Name"].as_str()
        && GROWING.contains(&table)
    {
        let rows = number("Actual Rows")
            + number("Rows Removed by Filter")
            + number("Rows Removed by Index Recheck");
        let touched = rows * number("Actual Loops");
        if node == "Seq Scan" || touched > most {
            found.push(format!("{node} on {table} that touches {touched} rows"));
        }
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        faults(child, most, found);
    }
}

#[test]
fn a_scan_is_seen_in_a_log() {
    let log = "2026-01-01 00:00:00 UTC [7] checkout@orders LOG:  duration: 1.2 ms  plan:\n\
               \t{\n\t  \"Query Text\": \"SELECT 1\",\n\t  \"Plan\": {\"Node Type\": \"Limit\", \
               \"Plans\": [{\"Node Type\": \"Seq Scan\", \"Relation Name\": \"sagas\"},\n\t\
               {\"Node Type\": \"Bitmap Heap Scan\", \"Relation Name\": \"orders\", \
               \"Actual Rows\": 1, \"Actual Loops\": 2, \"Rows Removed by Index Recheck\": 99}]}\n\
               \t}\n2026-01-01 00:00:01 UTC [7] LOG:  checkpoint\n";
    let runs = runs(log);
    assert_eq!(runs.len(), 1);
    assert_eq!(
        (runs[0].database.as_str(), runs[0].text.as_str()),
        ("orders", "SELECT 1")
    );
    let mut found = Vec::new();
    faults(&runs[0].plan, 199.0, &mut found);
    assert_eq!(found.len(), 2, "{found:?}");
    faults(&runs[0].plan, 200.0, &mut found);
    assert_eq!(found.len(), 3, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_stay_on_indexes_however_many_checkouts_have_ended() {
    let checkouts = std::env::var("PLANS_TEST_CHECKOUTS").map_or(CHECKOUTS, |n| {
        n.parse().expect("PLANS_TEST_CHECKOUTS is a number")
    });
    let system = System::start(
        "plans",
        Options {
            environment: EAGER,
            ..Options::default()
        },
    )
    .await;
    let sku = product();
    system.set_stock(&sku, 100).await;
    let first = cart(&sku, 1, 700);
    system.publish(&first).await;
    system.outcome(&first).await;

    let mut left = checkouts;
    while left > 0 {
        let now = left.min(FILLED_AT_ONCE);
        for (service, sql) in FILL {
            let sql = sql.replace("{n}", &now.to_string());
            system.execute(service, &sql).await;
        }
        left -= now;
    }
    for &service in SERVICES {
        system.execute(service, "ANALYZE").await;
        system
            .administer(
                service,
                "ALTER DATABASE \"{}\" SET session_preload_libraries = 'auto_explain';
                 ALTER DATABASE \"{}\" SET auto_explain.log_min_duration = 0;
                 ALTER DATABASE \"{}\" SET auto_explain.log_analyze = on;
                 ALTER DATABASE \"{}\" SET auto_explain.log_timing = off;
                 ALTER DATABASE \"{}\" SET auto_explain.log_format = 'json'",
            )
            .await;
    }
    let postgres = system.parts(PartKind::Postgres)[0];
    let path = postgres.process().expect("a process").log().to_owned();
    let begin = std::fs::metadata(&path).expect("a log").len();
    // Connections learn of it when they are opened.
    for &service in SERVICES {
        system.stop(service).await;
        system.start_service(service).await;
    }

    let (good, missing, declined) = (
        cart(&sku, 1, 700),
        cart(&sku, 500, 700),
        cart(&sku, 1, 1051),
    );
    system.publish_all(&[&good, &missing, &declined]).await;
    for cart in [&good, &missing, &declined] {
        system.outcome(cart).await;
    }
    system.record(&good, RecordType::OrderCreated).await;
    // Refused on the strength of a stock row that was kept, and that is compared.
    let again = cart(&sku, 500, 700);
    system.publish(&again).await;
    system.outcome(&again).await;
    // What is repeated is not new, as its service took it to be: so it reads.
    let repeated = [
        RecordType::ReserveInventory,
        RecordType::AuthorizePayment,
        RecordType::CreateOrder,
    ];
    for seen in system.recorder.all() {
        let is_repeated = |record| repeated.contains(&record);
        if seen.record_type().is_some_and(is_repeated) {
            system.publish_again(&seen).await;
        }
    }
    let order = contracts::ids::order_id(contracts::ids::checkout_id(good.event_id));
    for (service, path) in [
        ("orchestrator", format!("/checkouts/{}", good.cart_id)),
        ("orchestrator", format!("/sagas/{}", good.cart_id)),
        ("inventory", format!("/reservations/{}", good.cart_id)),
        ("payment", format!("/authorizations/{}", good.cart_id)),
        ("order", format!("/orders/{order}")),
    ] {
        assert_eq!(system.get_status(service, &path).await, 200, "{path}");
    }

    for (arguments, status) in operators(&good) {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let ran = run(&system, &arguments).await;
        assert_eq!(ran.status, Some(status), "{arguments:?}: {}", ran.errors);
    }

    // Its overview looks at the databases by itself.
    let _console = Console::start(&system, &[]).await;

    let read = || {
        let mut file = std::fs::File::open(&path).expect("a log");
        file.seek(SeekFrom::Start(begin)).expect("a place");
        let mut log = Vec::new();
        file.read_to_end(&mut log).expect("a log");
        runs(&String::from_utf8_lossy(&log))
    };
    let missing_in = |runs: &[Run]| -> Vec<String> {
        SEEN.iter()
            .flat_map(|(service, parts)| parts.iter().map(move |part| (*service, *part)))
            .filter(|(service, part)| {
                let database = system.database(service);
                let its = |run: &&Run| run.database == database && run.text.contains(part);
                !runs.iter().any(|run| its(&run))
            })
            .map(|(service, part)| format!("{service}: {part}"))
            .collect()
    };
    let mut missing = Vec::new();
    system
        .until("every kind of statement was run", async || {
            let now = missing_in(&read());
            if now != missing {
                eprintln!("not seen yet: {now:?}");
            }
            missing = now;
            missing.is_empty()
        })
        .await;

    let mut bad = std::collections::BTreeMap::new();
    for run in read() {
        let mut found = Vec::new();
        faults(&run.plan, MOST_TOUCHED, &mut found);
        if !found.is_empty() {
            bad.insert((run.database, run.text), found);
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}
