//! Records that come twice, late, early, out of order, or from somewhere else.

use std::collections::BTreeSet;
use std::time::Duration;

use contracts::ids::{AuthorizationId, CheckoutId, CommandId, GenericUuid, OrderId, ReservationId};
use contracts::messages::{
    CancelOrder, CancelReason, CartCheckedOut, InventoryReserved, OrderRecorded, PaymentAuthorized,
    ReleaseInventory, ReleaseReason, VoidAuthorization, VoidReason,
};
use contracts::{Message, RecordType, Topic, ids};
use flow::Step;
use integration_tests::carts::cart;
use integration_tests::load::Load;
use integration_tests::{
    Holdings, Options, Outcome, PATIENCE, Seen, System, participant, product, seed,
};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;
use uuid::Uuid;

const LOAD: Load = Load {
    carts: 100,
    rate: 15.0,
    seed: 1,
    products: 4,
};

/// Everything that was published for services to read.
fn inner_records(system: &System) -> Vec<Seen> {
    let inner = |seen: &Seen| {
        let topic = system.names.topic(&seen.topic);
        topic.is_some_and(Topic::is_consumed)
    };
    system.recorder.all().into_iter().filter(inner).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_published_again_twice_in_any_order_changes_nothing() {
    let mut random = StdRng::seed_from_u64(seed());
    let system = System::start("replayed", Options::default()).await;
    // First while sagas are under way, ...
    let repeats = async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let mut records = inner_records(&system);
            records.shuffle(&mut random);
            for record in records.iter().take(200) {
                system.publish_again(record).await;
            }
        }
    };
    let carts = system.load_during(LOAD, repeats).await;
    system.assert_settled(&carts).await;
    // ... then each of them when all have ended.
    let outcomes = system.public_messages().len();
    let mut records = inner_records(&system);
    records.extend(records.clone());
    records.shuffle(&mut random);
    assert!(records.len() > 1_000, "{} records", records.len());
    for chunk in records.chunks(200) {
        futures::future::join_all(chunk.iter().map(|seen| system.publish_again(seen))).await;
    }
    system.wait_consumed().await;
    system.assert_settled(&carts).await;
    assert_eq!(system.public_messages().len(), outcomes);
    system.assert_no_dead_letters();
}

/// An orchestrator for which a participant that pauses for a moment is late.
const LATE_SOON: &[(&str, &str, &str)] = &[
    ("orchestrator", "REPLY_WAIT_FIRST_MS", "200"),
    ("orchestrator", "REPLY_WAIT_MAX_MS", "400"),
    ("orchestrator", "REPLY_TRIES", "3"),
    ("orchestrator", "STUCK_AFTER_TRIES", "2"),
    ("orchestrator", "BRAKE", "off"),
];

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_come_after_their_deadline_are_undone() {
    let options = Options {
        environment: LATE_SOON,
        ..Options::default()
    };
    let system = System::start("late_answers", options).await;
    let pauses = async {
        for step in Step::ALL {
            let service = participant(*step).name();
            let late = async || {
                let successes = "reason=\"late_success\"";
                let ignored = "checkout_inputs_ignored_total";
                system.counted("orchestrator", 0, ignored, successes).await
            };
            let (doubts, successes) = (in_doubt(&system, *step).await, late().await);
            let begin = Instant::now();
            // Shorter than the session time-out: the commands that wait meanwhile
            // are carried out, too late.
            while in_doubt(&system, *step).await < doubts + 3 || late().await <= successes {
                assert!(begin.elapsed() < PATIENCE, "{service} is never late");
                system
                    .with_instance(service, 0, async |instance| {
                        instance.process.pause().expect("paused");
                        tokio::time::sleep(Duration::from_secs(3)).await;
                        instance.process.resume().expect("resumed");
                    })
                    .await;
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
    };
    // Few: those that are late send three commands a step and go on to be undone.
    let load = Load { rate: 5.0, ..LOAD };
    let carts = system.load_during(load, pauses).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}

/// How many sagas were in doubt about this step: declined carts are undone, too.
async fn in_doubt(system: &System, step: Step) -> i64 {
    let sql = "SELECT count(*) FROM saga_transitions \
               WHERE outcome = 'step_in_doubt' AND step = $1";
    let found = system.query("orchestrator", sql, &[&step.name()]).await;
    found[0].get(0)
}

/// What the participants would answer if all went well, in this order.
fn good_answers(cart: &CartCheckedOut, checkout_id: CheckoutId) -> [Message; 3] {
    let command = |record| ids::command_id(checkout_id, record);
    let cart_id = cart.cart_id;
    let now = Timestamp::now();
    [
        InventoryReserved {
            command_id: command(RecordType::ReserveInventory),
            checkout_id,
            cart_id,
            reservation_id: ReservationId::from_untyped_uuid(Uuid::new_v4()),
            items: Vec::new(),
            reserved_at: now,
            expires_at: None,
        }
        .into(),
        PaymentAuthorized {
            command_id: command(RecordType::AuthorizePayment),
            checkout_id,
            cart_id,
            authorization_id: AuthorizationId::from_untyped_uuid(Uuid::new_v4()),
            amount: cart.total,
            currency: cart.currency.clone(),
            authorized_at: now,
        }
        .into(),
        OrderRecorded {
            command_id: command(RecordType::CreateOrder),
            checkout_id,
            cart_id,
            order_id: OrderId::from_untyped_uuid(Uuid::new_v4()),
            recorded_at: now,
        }
        .into(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_come_before_their_saga_are_ignored_and_it_goes_its_way() {
    let system = System::start("early_answers", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 20).await;
    let carts: Vec<_> = (0..30).map(|_| cart(&sku, 1, 700)).collect();
    for cart in &carts {
        // The last first.
        for answer in good_answers(cart, ids::checkout_id(cart.event_id))
            .iter()
            .rev()
        {
            system.publish_message(answer).await;
        }
    }
    system.wait_consumed().await;
    system.publish_all(&carts.iter().collect::<Vec<_>>()).await;
    system.assert_settled(&carts).await;
    let mut created = 0;
    for cart in &carts {
        match system.outcome(cart).await {
            Outcome::Created(_) => created += 1,
            Outcome::Failed(_) => {}
            Outcome::Rejected(rejected) => panic!("{rejected:?}"),
        }
    }
    assert_eq!(created, 20, "as many as there was stock");
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_other_checkouts_and_commands_change_nothing() {
    let system = System::start("foreign_answers", Options::default()).await;
    let (sku, nowhere) = (product(), product());
    system.set_stock(&sku, 1_000).await;
    let mut random = StdRng::seed_from_u64(1);
    let mut carts = Vec::new();
    for number in 0..100 {
        let sku = if number % 4 == 0 { &nowhere } else { &sku };
        let cart = cart(sku, 1, 700);
        system.publish(&cart).await;
        // Of a checkout that nobody asked for, and of another cart's.
        let mut foreign = vec![CheckoutId::from_untyped_uuid(Uuid::new_v4())];
        if !carts.is_empty() {
            let other: &CartCheckedOut = &carts[random.random_range(0..carts.len())];
            foreign.push(ids::checkout_id(other.event_id));
        }
        for checkout in foreign {
            for answer in good_answers(&cart, checkout) {
                system.publish_message(&answer).await;
            }
        }
        // Of this checkout, to commands that nobody sent.
        for mut answer in good_answers(&cart, ids::checkout_id(cart.event_id)) {
            let unknown = CommandId::from_untyped_uuid(Uuid::new_v4());
            match &mut answer {
                Message::InventoryReserved(answer) => answer.command_id = unknown,
                Message::PaymentAuthorized(answer) => answer.command_id = unknown,
                Message::OrderRecorded(answer) => answer.command_id = unknown,
                _ => {}
            }
            system.publish_message(&answer).await;
        }
        carts.push(cart);
    }
    system.assert_settled(&carts).await;
    for (number, cart) in carts.iter().enumerate() {
        let created = matches!(system.outcome(cart).await, Outcome::Created(_));
        assert_eq!(created, number % 4 != 0, "cart {number}");
    }
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compensation_before_its_command_refuses_it_and_the_cart_fails() {
    let system = System::start("tombstones", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 1_000).await;
    let carts: Vec<_> = (0..45).map(|_| cart(&sku, 1, 700)).collect();
    for (number, cart) in carts.iter().enumerate() {
        let checkout_id = ids::checkout_id(cart.event_id);
        let command = |record| ids::command_id(checkout_id, record);
        let cart_id = cart.cart_id;
        let compensation: Message = match number % 3 {
            0 => ReleaseInventory {
                command_id: command(RecordType::ReleaseInventory),
                checkout_id,
                cart_id,
                reservation_id: None,
                reason: ReleaseReason::CheckoutFailed,
            }
            .into(),
            1 => VoidAuthorization {
                command_id: command(RecordType::VoidAuthorization),
                checkout_id,
                cart_id,
                authorization_id: None,
                reason: VoidReason::CheckoutFailed,
            }
            .into(),
            _ => CancelOrder {
                command_id: command(RecordType::CancelOrder),
                checkout_id,
                cart_id,
                order_id: None,
                reason: CancelReason::PaymentFailed,
            }
            .into(),
        };
        system.publish_message(&compensation).await;
    }
    system.wait_consumed().await;
    system.publish_all(&carts.iter().collect::<Vec<_>>()).await;
    system.assert_settled(&carts).await;
    for (number, cart) in carts.iter().enumerate() {
        let outcome = system.outcome(cart).await;
        assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
        let (released, voided) = (Some("RELEASED"), Some("VOIDED"));
        let held = match number % 3 {
            0 => Holdings::new(released, None, None),
            1 => Holdings::new(released, voided, None),
            _ => Holdings::new(released, voided, Some("CANCELLED")),
        };
        assert_eq!(system.holdings(cart).await, held);
    }
    assert_eq!(system.stock(&sku).await, (1_000, 0));
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_id_of_two_carts_is_refused_for_the_second() {
    let options = Options {
        instances: 2,
        ..Options::default()
    };
    let system = System::start("reused_event_ids", options).await;
    let sku = product();
    system.set_stock(&sku, 1_000).await;
    // One after the other, and at once, which is in different partitions as a rule.
    let early: Vec<_> = (0..10).map(|_| cart(&sku, 1, 700)).collect();
    system.publish_all(&early.iter().collect::<Vec<_>>()).await;
    system.assert_settled(&early).await;
    let first: Vec<_> = (0..40).map(|_| cart(&sku, 1, 700)).collect();
    let second = |first: &CartCheckedOut| CartCheckedOut {
        event_id: first.event_id,
        ..cart(&sku, 1, 700)
    };
    let pairs: Vec<_> = early
        .iter()
        .chain(&first)
        .map(|first| (first.clone(), second(first)))
        .collect();
    let all: Vec<_> = first
        .iter()
        .chain(pairs.iter().map(|(_, second)| second))
        .collect();
    system.publish_all(&all).await;

    let carts: Vec<_> = early.iter().chain(&first).cloned().collect();
    system.assert_settled(&carts).await;
    let dlq = system.names.dlq(Topic::ShoppingCheckouts).to_owned();
    for (first, second) in &pairs {
        assert!(matches!(system.outcome(first).await, Outcome::Created(_)));
        system.assert_one_outcome(first).await;
        let of_pair = [first, second].map(|cart| cart.cart_id.to_string());
        let dead = system
            .recorder
            .wait_for("the other one's dead letter", |seen| {
                seen.iter()
                    .find(|seen| {
                        let key = seen.key.as_deref().unwrap_or_default();
                        seen.topic == dlq && of_pair.iter().any(|cart| cart.as_bytes() == key)
                    })
                    .cloned()
            })
            .await;
        let header = |name: &str| dead.header(&format!("__connect.errors.exception.{name}"));
        assert_eq!(header("class.name").as_deref(), Some("CONTRACT_VIOLATED"));
        let why = header("message").expect("a reason");
        assert!(why.contains(&first.event_id.to_string()), "{why}");
    }
    assert_eq!(system.stock(&sku).await, (1_000, 50));
    // One can be published again.
    let seen = system.recorder.all();
    let dead = seen.iter().filter(|seen| seen.topic.ends_with(".dlq"));
    let dead: BTreeSet<_> = dead.map(|seen| seen.key.clone()).collect();
    assert_eq!(dead.len(), pairs.len());
}
