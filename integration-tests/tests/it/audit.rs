//! The audit finds what is planted, on the real parts, and nothing else; also
//! while the system works, and by a user who may only read.

use std::collections::BTreeMap;
use std::time::Duration;

use audit::{Options as Look, Report, Rule};
use contracts::ids::{CheckoutId, EventId, GenericUuid, OrderId, checkout_id};
use contracts::messages::{CartCheckedOut, CheckoutFailed, OrderCreated};
use contracts::{Message, Topic};
use serde_json::Value;
use stack::{Progress, Service};
use tokio::process::Command;
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use integration_tests::carts::{again, cart};
use integration_tests::load::Load;
use integration_tests::{Options, Outcome, System, product};

/// The simulated gateway declines amounts that end so.
const DECLINED_PRICE: i64 = 1051;

/// Without grace: all that is open is a violation.
fn strict() -> Look {
    Look {
        grace: Duration::ZERO,
        second_look: Some(Duration::from_millis(100)),
        ..Look::default()
    }
}

async fn look(system: &System) -> Report {
    audit::run(&system.installation().audit_target(), &strict())
        .await
        .expect("an audit")
}

fn rules(report: &Report) -> Vec<&'static str> {
    let by_rule = report.by_rule().into_iter();
    by_rule.map(|(rule, _)| rule.name).collect()
}

/// An ordered cart, a declined one and one that was turned away.
struct Played {
    ordered: CartCheckedOut,
    order: OrderCreated,
    declined: CartCheckedOut,
    failure: CheckoutFailed,
}

async fn play(system: &System) -> Played {
    let sku = product();
    system.set_stock(&sku, 100).await;
    let ordered = cart(&sku, 2, 700);
    let declined = cart(&sku, 1, DECLINED_PRICE);
    system.publish_all(&[&ordered, &declined]).await;
    let Outcome::Created(order) = system.outcome(&ordered).await else {
        panic!("not ordered");
    };
    let Outcome::Failed(failure) = system.outcome(&declined).await else {
        panic!("not declined");
    };
    let rejected = again(&ordered);
    system.publish(&rejected).await;
    system
        .assert_settled(&[ordered.clone(), declined.clone(), rejected])
        .await;
    Played {
        ordered,
        order,
        declined,
        failure,
    }
}

/// Changes rows as nobody should, and changes them back.
struct Plant {
    service: &'static str,
    /// `$1` is the cart, and `{checkout}` stands for its checkout.
    plant: &'static str,
    undo: &'static str,
    /// In the declined cart instead of the ordered one.
    in_declined: bool,
    found: &'static [Rule],
}

const PLANTS: &[Plant] = &[
    Plant {
        service: "order",
        plant: "UPDATE orders SET total = total + 1 WHERE cart_id = $1",
        undo: "UPDATE orders SET total = total - 1 WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::ORDER_MISSING],
    },
    Plant {
        service: "order",
        plant: "UPDATE orders SET currency = 'USD' WHERE cart_id = $1",
        undo: "UPDATE orders SET currency = 'EUR' WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::ORDER_MISSING],
    },
    Plant {
        service: "order",
        plant: "UPDATE orders SET state = 'CANCELLED', cancel_command_id = checkout_id, cancel_reason = 'CHECKOUT_FAILED', cancelled_at = now() WHERE cart_id = $1",
        undo: "UPDATE orders SET state = 'RECORDED', cancel_command_id = NULL, cancel_reason = NULL, cancelled_at = NULL WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::ORDER_MISSING],
    },
    Plant {
        service: "order",
        plant: "UPDATE order_items SET unit_price = unit_price + 1 WHERE order_id IN (SELECT order_id FROM orders WHERE cart_id = $1)",
        undo: "UPDATE order_items SET unit_price = unit_price - 1 WHERE order_id IN (SELECT order_id FROM orders WHERE cart_id = $1)",
        in_declined: false,
        found: &[Rule::ORDER_MISSING],
    },
    Plant {
        service: "order",
        plant: "UPDATE order_items SET quantity = quantity + 1 WHERE order_id IN (SELECT order_id FROM orders WHERE cart_id = $1)",
        undo: "UPDATE order_items SET quantity = quantity - 1 WHERE order_id IN (SELECT order_id FROM orders WHERE cart_id = $1)",
        in_declined: false,
        found: &[Rule::ORDER_MISSING],
    },
    // An order that nobody was told of.
    Plant {
        service: "order",
        plant: "INSERT INTO orders (checkout_id, cart_id, state, create_command_id, answered_at, order_id, customer_id, total, currency, payment_authorization_id) VALUES ('{checkout}', $1, 'RECORDED', gen_random_uuid(), now(), gen_random_uuid(), gen_random_uuid(), 1051, 'EUR', gen_random_uuid())",
        undo: "DELETE FROM orders WHERE cart_id = $1",
        in_declined: true,
        found: &[Rule::HELD_WITHOUT_ORDER],
    },
    Plant {
        service: "payment",
        plant: "UPDATE authorizations SET state = 'VOIDED' WHERE cart_id = $1",
        undo: "UPDATE authorizations SET state = 'AUTHORIZED' WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::PAYMENT_MISSING],
    },
    Plant {
        service: "payment",
        plant: "UPDATE authorizations SET amount = amount - 1 WHERE cart_id = $1",
        undo: "UPDATE authorizations SET amount = amount + 1 WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::PAYMENT_MISSING],
    },
    Plant {
        service: "payment",
        plant: "UPDATE authorizations SET currency = 'USD' WHERE cart_id = $1",
        undo: "UPDATE authorizations SET currency = 'EUR' WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::PAYMENT_MISSING],
    },
    Plant {
        service: "payment",
        plant: "UPDATE authorizations SET state = 'AUTHORIZED' WHERE cart_id = $1",
        undo: "UPDATE authorizations SET state = 'DECLINED' WHERE cart_id = $1",
        in_declined: true,
        found: &[Rule::HELD_WITHOUT_ORDER],
    },
    Plant {
        service: "inventory",
        plant: "UPDATE reservation_items SET quantity = quantity + 1 WHERE checkout_id IN (SELECT checkout_id FROM reservations WHERE cart_id = $1)",
        undo: "UPDATE reservation_items SET quantity = quantity - 1 WHERE checkout_id IN (SELECT checkout_id FROM reservations WHERE cart_id = $1)",
        in_declined: false,
        found: &[Rule::STOCK_MISSING, Rule::STOCK_BALANCE],
    },
    // The row of the stock still says what it did, and does not balance any more.
    Plant {
        service: "inventory",
        plant: "UPDATE reservations SET state = 'RELEASED', release_command_id = checkout_id, release_reason = 'CHECKOUT_FAILED', released_at = now() WHERE cart_id = $1",
        undo: "UPDATE reservations SET state = 'RESERVED', release_command_id = NULL, release_reason = NULL, released_at = NULL WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::STOCK_MISSING, Rule::STOCK_BALANCE],
    },
    Plant {
        service: "inventory",
        plant: "UPDATE reservations SET state = 'RESERVED', release_command_id = NULL, release_reason = NULL, released_at = NULL WHERE cart_id = $1",
        undo: "UPDATE reservations SET state = 'RELEASED', release_command_id = checkout_id, release_reason = 'CHECKOUT_FAILED', released_at = now() WHERE cart_id = $1",
        in_declined: true,
        found: &[Rule::HELD_WITHOUT_ORDER, Rule::STOCK_BALANCE],
    },
    Plant {
        service: "inventory",
        plant: "UPDATE stock SET reserved = reserved + 1 WHERE $1::uuid IS NOT NULL",
        undo: "UPDATE stock SET reserved = reserved - 1 WHERE $1::uuid IS NOT NULL",
        in_declined: false,
        found: &[Rule::STOCK_BALANCE],
    },
    Plant {
        service: "orchestrator",
        plant: "UPDATE sagas SET state = 'STUCK' WHERE cart_id = $1",
        undo: "UPDATE sagas SET state = 'COMPLETED' WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::SAGA_AT_REST],
    },
    // The timers of a partition that nobody owns: nobody fires them.
    Plant {
        service: "orchestrator",
        plant: "UPDATE sagas SET wake_at = now() + interval '1 hour', home_partition = home_partition + 1000 WHERE cart_id = $1",
        undo: "UPDATE sagas SET wake_at = NULL, home_partition = home_partition - 1000 WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::TIMER],
    },
    // A saga that goes on may have a timer, but not one that is overdue.
    Plant {
        service: "orchestrator",
        plant: "UPDATE sagas SET state = 'IN_PROGRESS', wake_at = now() - interval '10 years', home_partition = home_partition + 1000 WHERE cart_id = $1",
        undo: "UPDATE sagas SET state = 'COMPLETED', wake_at = NULL, home_partition = home_partition - 1000 WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::SAGA_AT_REST, Rule::TIMER],
    },
    Plant {
        service: "payment",
        plant: "UPDATE authorizations SET wake_at = now() + interval '1 hour', home_partition = home_partition + 1000 WHERE cart_id = $1",
        undo: "UPDATE authorizations SET wake_at = NULL, home_partition = home_partition - 1000 WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::TIMER],
    },
    Plant {
        service: "inventory",
        plant: "UPDATE reservations SET wake_at = now() - interval '10 years', home_partition = home_partition + 1000 WHERE cart_id = $1",
        undo: "UPDATE reservations SET wake_at = NULL, home_partition = home_partition - 1000 WHERE cart_id = $1",
        in_declined: false,
        found: &[Rule::TIMER],
    },
    // A service keeps its position in memory and writes it, but never reads it.
    Plant {
        service: "order",
        plant: "UPDATE progress SET next_offset = next_offset - 1 WHERE next_offset > 0 AND $1::uuid IS NOT NULL",
        undo: "UPDATE progress SET next_offset = next_offset + 1 WHERE next_offset IS NOT NULL AND $1::uuid IS NOT NULL",
        in_declined: false,
        found: &[Rule::LAG],
    },
    Plant {
        service: "payment",
        plant: "UPDATE progress SET next_offset = next_offset + 1000 WHERE $1::uuid IS NOT NULL",
        undo: "UPDATE progress SET next_offset = next_offset - 1000 WHERE $1::uuid IS NOT NULL",
        in_declined: false,
        found: &[Rule::LAG],
    },
    Plant {
        service: "inventory",
        plant: "UPDATE progress SET outputs = 'message' WHERE topic = 'inventory.commands' AND $1::uuid IS NOT NULL",
        undo: "UPDATE progress SET outputs = '' WHERE $1::uuid IS NOT NULL",
        in_declined: false,
        found: &[Rule::OUTPUTS],
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_do_not_add_up_are_found() {
    let system = System::start("audit_rows", Options::default()).await;
    let played = play(&system).await;
    // The database itself refuses a timer of an authorization that is settled.
    let refusal = "ALTER TABLE authorizations DROP CONSTRAINT authorizations_check";
    system.execute("payment", refusal).await;
    for plant in PLANTS {
        let planted = if plant.in_declined {
            &played.declined
        } else {
            &played.ordered
        };
        let cart = planted.cart_id.into_untyped_uuid();
        let checkout = checkout_id(planted.event_id);
        let sql = plant.plant.replace("{checkout}", &checkout.to_string());
        system.query(plant.service, &sql, &[&cart]).await;
        let report = look(&system).await;
        let expected: Vec<_> = plant.found.iter().map(|rule| rule.name).collect();
        assert_eq!(rules(&report), expected, "{}: {report}", plant.plant);
        // What is about a checkout says so.
        let others = report
            .violations
            .iter()
            .filter_map(|found| found.checkout_id)
            .filter(|named| *named != checkout);
        assert_eq!(others.count(), 0, "blamed for {checkout}: {report}");
        // What this leaves behind, a later look finds.
        system.query(plant.service, plant.undo, &[&cart]).await;
    }
    let report = look(&system).await;
    assert!(report.violations.is_empty(), "not undone: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_nobody_handles_is_found() {
    let system = System::start("audit_unread", Options::default()).await;
    let Played { ordered, .. } = play(&system).await;
    system.stop("orchestrator").await;
    let waiting = cart(&ordered.items[0].product_id, 1, 700);
    system.publish(&waiting).await;
    let report = look(&system).await;
    assert_eq!(
        rules(&report),
        [Rule::OUTCOME_MISSING.name, Rule::LAG.name],
        "{report}"
    );
    assert_eq!(report.lost(), 1);
    assert_eq!(report.violations[0].cart_id, Some(waiting.cart_id));
    // With grace it is in flight.
    let target = system.installation().audit_target();
    let report = audit::run(&target, &Look::default())
        .await
        .expect("an audit");
    assert!(report.violations.is_empty(), "{report}");
    assert_eq!((report.in_flight, report.unread), (1, 1), "{report}");
    system.start_service("orchestrator").await;
    system.assert_settled(&[waiting]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_say_too_much_are_found() {
    let system = System::start("audit_records", Options::default()).await;
    let played = play(&system).await;
    let ordered = Some(checkout_id(played.ordered.event_id));
    let declined = Some(checkout_id(played.declined.event_id));

    // Each stays on its topic, so each look finds one rule more.
    let found = |report: &Report, rule: Rule, checkout: Option<CheckoutId>| {
        let mut of_rule = report.violations.iter().filter(|found| found.rule == rule);
        let named = of_rule.any(|found| found.checkout_id == checkout);
        assert!(named, "{} of {checkout:?}: {report}", rule.name);
    };
    system.publish_message(&played.order.clone().into()).await;
    let report = look(&system).await;
    found(&report, Rule::ORDER_CREATED_DOUBLED, ordered);
    assert_eq!(
        (report.violations.len(), report.duplicated()),
        (1, 1),
        "{report}"
    );

    system.publish_message(&played.failure.clone().into()).await;
    let report = look(&system).await;
    found(&report, Rule::OUTCOME_DOUBLED, declined);
    assert_eq!(
        (report.violations.len(), report.duplicated()),
        (2, 2),
        "{report}"
    );

    let contradiction = CheckoutFailed {
        checkout_id: played.order.checkout_id,
        cart_id: played.order.cart_id,
        ..played.failure.clone()
    };
    system.publish_message(&contradiction.into()).await;
    let report = look(&system).await;
    found(&report, Rule::CREATED_AND_FAILED, ordered);
    assert_eq!(
        (report.violations.len(), report.duplicated()),
        (3, 2),
        "{report}"
    );

    // A second order of the cart, of a checkout that nobody asked for.
    let second = OrderCreated {
        event_id: EventId::from_untyped_uuid(Uuid::new_v4()),
        checkout_id: CheckoutId::from_untyped_uuid(Uuid::new_v4()),
        order_id: OrderId::from_untyped_uuid(Uuid::new_v4()),
        ..played.order.clone()
    };
    let unasked = Some(second.checkout_id);
    system.publish_message(&second.into()).await;
    let report = look(&system).await;
    for rule in [
        Rule::OUTCOME_UNASKED,
        Rule::ORDER_MISSING,
        Rule::PAYMENT_MISSING,
        Rule::STOCK_MISSING,
    ] {
        found(&report, rule, unasked);
    }
    let two = |found: &&audit::Violation| found.rule == Rule::TWO_ORDERS;
    let two: Vec<_> = report.violations.iter().filter(two).collect();
    assert_eq!(two.len(), 1, "{report}");
    assert_eq!(two[0].cart_id, Some(played.ordered.cart_id), "{report}");
    assert_eq!(report.violations.len(), 8, "{report}");

    // One that is dearer than what was asked for.
    let dearer = OrderCreated {
        total: played.order.total + 1,
        ..played.order
    };
    system.publish_message(&dearer.into()).await;
    let report = look(&system).await;
    for rule in [
        Rule::ORDERED_OTHERWISE,
        Rule::ORDER_MISSING,
        Rule::PAYMENT_MISSING,
    ] {
        found(&report, rule, ordered);
    }
    assert_eq!(report.violations.len(), 11, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_is_no_poison_is_found() {
    let system = System::start("audit_letters", Options::default()).await;
    let played = play(&system).await;
    // Poison: counted.
    let garbage = Some(&b"garbage"[..]);
    system
        .publish_raw(Topic::ShoppingCheckouts, None, garbage, &[("marker", b"m")])
        .await;
    system.dead_letter(Topic::ShoppingCheckouts, "m").await;
    system.assert_settled(&[]).await;
    let report = look(&system).await;
    assert_eq!(report.dead_letters["NOT_FRAMED"], 1, "{report}");

    let dlq = system.names.dlq(Topic::OrderingCommands);
    system
        .bury(dlq, &[("k", b"garbage", "HANDLER_PANICKED")])
        .await;
    let report = look(&system).await;
    assert_eq!(rules(&report), [Rule::DEAD_LETTER.name], "{report}");

    // A cart that keeps its contract is refused for nothing but a shared event id.
    let refused = played.declined.clone().into();
    let refused = system.encode(&refused);
    let carts = system.names.dlq(Topic::ShoppingCheckouts);
    system
        .bury(carts, &[("k", &refused, "CONTRACT_VIOLATED")])
        .await;
    let report = look(&system).await;
    assert_eq!(rules(&report), [Rule::DEAD_LETTER.name], "{report}");
    assert_eq!(report.violations.len(), 2, "{report}");

    let commands = system.recorder.of_cart(played.ordered.cart_id);
    let create = commands
        .iter()
        .find(|message| matches!(message, Message::CreateOrder(_)));
    let create = system.encode(create.expect("a command"));
    system.bury(dlq, &[("k", &create, "NOT_FRAMED")]).await;
    let report = look(&system).await;
    assert_eq!(rules(&report), [Rule::DEAD_LETTER.name], "{report}");
    assert_eq!(report.violations.len(), 3, "{report}");
    let named = Some(checkout_id(played.ordered.event_id));
    assert!(
        report
            .violations
            .iter()
            .any(|found| found.checkout_id == named),
        "{report}"
    );

    // A test that caused them may pass them.
    let report = system
        .settle(|letter| letter.code != "NOT_FRAMED" || letter.message.is_some())
        .await;
    assert!(report.violations.is_empty(), "{report}");
    assert_eq!(report.dead_letters["HANDLER_PANICKED"], 1, "{report}");
}

/// Runs `checkoutctl audit` with the variables that `cargo stack up` writes:
/// its exit status and what it printed.
async fn checkoutctl(system: &System, arguments: &[&str]) -> (Option<i32>, String, String) {
    checkoutctl_as(system, &system.installation().databases, arguments).await
}

/// The same, with other URLs of the databases.
async fn checkoutctl_as(
    system: &System,
    databases: &BTreeMap<Service, String>,
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    let installation = system.installation();
    let binaries = stack::binaries(&Progress::detect()).await.expect("built");
    let mut command = Command::new(binaries.named("checkoutctl"));
    command
        .arg("audit")
        .args(arguments)
        .env("KAFKA_BOOTSTRAP_SERVERS", &installation.bootstrap_servers)
        .env("SCHEMA_REGISTRY_URL", &installation.registry_url)
        .env("TOPIC_PREFIX", &installation.topic_prefix);
    for (service, url) in databases {
        let name = format!("{}_DATABASE_URL", service.name().to_uppercase());
        command.env(name, url);
    }
    let output = command.output().await.expect("it runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_under_load_finds_nothing_but_carts_in_flight() {
    let system = System::start("audit_live", Options::default()).await;
    let audits = async {
        let begun = async || system.recorder.outcomes() > 0;
        system.until("carts are under way", begun).await;
        for _ in 0..3 {
            // The load machine may be slow: a cart that takes a minute is none
            // of the audit's faults.
            let (status, json, errors) =
                checkoutctl(&system, &["--json", "--grace-seconds", "600"]).await;
            assert_eq!(status, Some(0), "{json} {errors}");
            let report: Value = serde_json::from_str(&json).expect("one JSON object");
            for field in [
                "carts",
                "orders",
                "failed",
                "rejected",
                "in_flight",
                "abandoned",
                "lost",
                "duplicated",
            ] {
                assert!(report[field].is_u64(), "{field}: {json}");
            }
            assert!(report["dead_letters"].is_object(), "{json}");
            assert_eq!(report["violations"], Value::Array(Vec::new()), "{json}");
            assert!(report["carts"].as_u64() > Some(0), "{json}");
        }
        // Nobody answers for payment: carts pile up, and are named without grace.
        system.stop("payment").await;
        let open = async || {
            let (status, json, errors) = checkoutctl(
                &system,
                &["--json", "--grace-seconds", "0", "--second-look-ms", "10"],
            )
            .await;
            let report: Value = serde_json::from_str(&json)
                .unwrap_or_else(|error| panic!("{error}: {json} {errors}"));
            let violations = report["violations"].as_array().expect("a list").clone();
            violations.iter().any(|found| {
                found["rule"] == "outcome-missing"
                    && found["cart_id"].is_string()
                    && found["checkout_id"].is_string()
                    && found["detail"].is_string()
            }) && status == Some(1)
        };
        system.until("carts are open", open).await;
        system.start_service("payment").await;
    };
    let carts = system.load_during(Load::new(100, 20.0), audits).await;
    system.assert_settled(&carts).await;

    // At rest: a table, and what cannot be reached.
    let (status, table, errors) = checkoutctl(&system, &["--grace-seconds", "0"]).await;
    assert_eq!(status, Some(0), "{table} {errors}");
    assert!(table.contains("violations    0"), "{table}");
    let nowhere = "postgresql://order:secret@127.0.0.1:1/order";
    let (status, _, errors) = checkoutctl(&system, &["--order-database-url", nowhere]).await;
    assert_eq!(status, Some(2), "{errors}");
    assert!(errors.contains("order database"), "{errors}");
    assert!(!errors.contains("secret"), "{errors}");
    let (status, table, errors) = checkoutctl(&system, &["--order-database-url="]).await;
    assert_eq!(status, Some(0), "{errors}");
    assert!(
        table.contains("not looked at: the order database"),
        "{table}"
    );
    let (status, json, _) = checkoutctl(&system, &["--json", "--since", "0s"]).await;
    let report: Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(
        (status, report["carts"].as_u64()),
        (Some(0), Some(0)),
        "{json}"
    );
}

/// Makes a user who may only read, in every database: its URLs.
async fn reader(system: &System) -> BTreeMap<Service, String> {
    let reader = format!("reader_{}", Uuid::new_v4().simple());
    let create = format!("CREATE ROLE {reader} LOGIN PASSWORD '{reader}'");
    system.administer("order", &create).await;
    let mut urls = BTreeMap::new();
    for (service, url) in &system.installation().databases {
        let owner = system.database(service.name());
        let grants = format!(
            "GRANT CONNECT ON DATABASE \"{owner}\" TO {reader};
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {reader}"
        );
        system.execute(service.name(), &grants).await;
        let login = |user: &str| format!("//{user}:{user}@");
        urls.insert(*service, url.replace(&login(owner), &login(&reader)));
    }
    urls
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_needs_no_more_than_select() {
    let system = System::start("audit_reader", Options::default()).await;
    play(&system).await;
    let databases = reader(&system).await;
    // The user is really one who may not write.
    for url in databases.values() {
        let connected = tokio_postgres::connect(url, NoTls).await;
        let (client, connection) = connected.expect("a connection");
        tokio::spawn(connection);
        let written = client.batch_execute("UPDATE progress SET epoch = epoch");
        let refused = written.await.expect_err("it may not write");
        let code = refused.code();
        assert_eq!(code, Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{refused:?}");
    }
    let strictly = ["--json", "--grace-seconds", "0", "--second-look-ms", "100"];
    let (status, json, errors) = checkoutctl_as(&system, &databases, &strictly).await;
    assert_eq!(status, Some(0), "{json} {errors}");
    // It has seen what the owners see: without its rows, the order would be a violation.
    let report: Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(report["orders"], 1, "{json}");
    assert_eq!(report, look(&system).await.json());
}
