//! Records that nobody handles, that say too much, and that were put aside.

use std::time::Duration;

use audit::{Options as Look, Report, Rule};
use contracts::ids::{CheckoutId, EventId, GenericUuid, OrderId, checkout_id};
use contracts::messages::{CheckoutFailed, OrderCreated};
use contracts::{Message, Topic};
use integration_tests::carts::cart;
use integration_tests::{Options, System};
use uuid::Uuid;

use super::{Played, look, play, rules};

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
    let patient = Look {
        grace: Duration::from_secs(600),
        ..Look::default()
    };
    let report = audit::run(&target, &patient).await.expect("an audit");
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
