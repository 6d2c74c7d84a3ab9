//! Rows that do not add up.

use audit::Rule;
use contracts::ids::{GenericUuid, checkout_id};
use integration_tests::{Options, System};

use super::{look, play, rules};

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
