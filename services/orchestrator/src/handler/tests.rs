//! Batches told without a database.

use std::time::Duration;

use contracts::ids::{CheckoutId, CommandId, CustomerId, EventId};
use contracts::messages::{
    CartCheckedOut, CartItem, InventoryReserved, InventoryUnavailable, StockSet, UnavailableReason,
};
use contracts::{ErrorCode, TraceContext, ids};
use flow::Step;

use super::*;

const CHECKOUTS: Home = Home {
    topic: Topic::ShoppingCheckouts,
    partition: 3,
};

fn id<K: GenericUuid>(n: u128) -> K {
    K::from_untyped_uuid(Uuid::from_u128(n))
}

fn now() -> Timestamp {
    Timestamp::from_second(1_750_000_000).unwrap()
}

fn request(cart: u128, event: u128) -> Message {
    CartCheckedOut {
        event_id: id::<EventId>(event),
        occurred_at: now(),
        cart_id: id(cart),
        customer_id: id::<CustomerId>(1),
        items: vec![CartItem {
            product_id: "tea".to_owned(),
            quantity: 2,
            unit_price: 450,
        }],
        subtotal: None,
        discount: None,
        total: 900,
        currency: "EUR".to_owned(),
    }
    .into()
}

fn reserved(cart: u128, event: u128) -> Message {
    let checkout_id = id::<CheckoutId>(event);
    InventoryReserved {
        command_id: ids::command_id(checkout_id, RecordType::ReserveInventory),
        checkout_id,
        cart_id: id(cart),
        reservation_id: ids::reservation_id(checkout_id),
        items: vec![],
        reserved_at: now(),
        expires_at: None,
    }
    .into()
}

fn unavailable(cart: u128, event: u128) -> Message {
    let checkout_id = id::<CheckoutId>(event);
    InventoryUnavailable {
        command_id: ids::command_id(checkout_id, RecordType::ReserveInventory),
        checkout_id,
        cart_id: id(cart),
        reason: UnavailableReason::OutOfStock,
        unavailable_items: vec![],
        checked_at: now(),
    }
    .into()
}

fn input(body: Body<Infallible>) -> Input<Infallible> {
    let topic = match &body {
        Body::Message(message) => message.record_type().topic(),
        Body::Timer(_) | Body::Answer(_) => Topic::ShoppingCheckouts,
    };
    let partition = 3;
    Input {
        offset: None,
        home: Home { topic, partition },
        now: now(),
        trace: TraceContext::new_root(),
        body,
    }
}

fn unbraked() -> Orchestrator {
    Orchestrator::new(Rules::default(), Arc::new(Brake::new(None)))
}

/// Handles a batch on the state; what it sends, by name.
fn batch(state: &mut State, messages: impl IntoIterator<Item = Message>) -> Vec<&'static str> {
    let orchestrator = unbraked();
    let mut out = Outbox::default();
    for message in messages {
        orchestrator
            .handle(state, &input(Body::Message(message)), &mut out)
            .unwrap();
    }
    out.messages()
        .iter()
        .map(|message| message.record_type().name())
        .collect()
}

/// The state as a later batch reads it: what was written is there.
fn committed(state: State) -> State {
    let written = state.sagas.into_written();
    let rows = written.new.into_iter().chain(written.changed);
    State {
        sagas: rows
            .map(|(cart, row)| (cart, state::Row { began: None, ..row }))
            .collect(),
        ..State::default()
    }
}

#[test]
fn it_consumes_every_reply_and_produces_every_command_of_the_flow() {
    for step in Step::ALL {
        let definition = step.definition();
        let mut replies = vec![
            definition.success.record,
            definition.compensation.acknowledged_by,
        ];
        replies.extend(definition.failures.iter().map(|failure| failure.record));
        for reply in replies {
            assert!(
                Orchestrator::CONSUMES.contains(&reply.topic()),
                "{}",
                reply.full_name()
            );
        }
        for command in [definition.command.record, definition.compensation.record] {
            assert!(
                Orchestrator::PRODUCES.contains(&command),
                "{}",
                command.full_name()
            );
        }
    }
}

#[test]
fn one_batch_may_hold_several_records_of_one_cart() {
    let mut state = State::default();
    let sent = batch(
        &mut state,
        [
            request(1, 10),
            request(2, 20),
            reserved(1, 10),
            request(1, 10),
        ],
    );
    assert_eq!(
        sent,
        ["ReserveInventory", "ReserveInventory", "AuthorizePayment"]
    );
    let written = state.sagas.into_written();
    assert_eq!(
        (written.new.len(), written.changed.len()),
        (2, 0),
        "each row once"
    );
    assert!(
        written
            .new
            .iter()
            .all(|(_, row)| row.began.map(|began| began.home) == Some(CHECKOUTS))
    );
}

#[test]
fn a_later_batch_changes_only_how_far_the_saga_is() {
    let mut state = State::default();
    batch(&mut state, [request(1, 10)]);
    let mut state = committed(state);
    assert_eq!(batch(&mut state, [reserved(1, 10)]), ["AuthorizePayment"]);
    let written = state.sagas.into_written();
    assert_eq!(written.new.len(), 0);
    assert_eq!(written.changed[0].1.began, None);
}

#[test]
fn a_new_attempt_is_written_whole() {
    let mut state = State::default();
    batch(&mut state, [request(1, 10), unavailable(1, 10)]);
    let mut state = committed(state);
    assert_eq!(batch(&mut state, [request(1, 11)]), ["ReserveInventory"]);
    let written = state.sagas.into_written();
    let began = written.changed[0].1.began;
    assert_eq!(began.map(|began| began.home), Some(CHECKOUTS));
}

#[test]
fn what_is_no_sagas_business_changes_nothing_and_is_counted() {
    let mut state = State::default();
    let stock_set = StockSet {
        command_id: id::<CommandId>(5),
        product_id: "tea".to_owned(),
        on_hand: 1,
        reserved: 0,
        set_at: now(),
    };
    assert!(batch(&mut state, [stock_set.into(), reserved(9, 90)]).is_empty());
    assert_eq!(state.sagas.iter().count(), 0);
    let tally: Vec<_> = state.observations.tally().into_iter().collect();
    assert_eq!(
        tally,
        [
            (("ignored", "not_for_sagas"), 1),
            (("ignored", "unknown_cart"), 1)
        ]
    );
}

#[test]
fn a_timer_that_fires_early_is_set_to_the_deadline() {
    let mut state = State::default();
    batch(&mut state, [request(1, 10)]);
    let cart = id::<CartId>(1);
    let deadline = state.sagas.get(&cart).unwrap().saga.due_at();
    state.sagas.get_mut(&cart).unwrap().wake_at = Some(now());
    let mut out = Outbox::default();
    let timer = input(Body::Timer(cart.into_untyped_uuid()));
    unbraked().handle(&mut state, &timer, &mut out).unwrap();
    assert!(out.messages().is_empty());
    assert_eq!(state.sagas.get(&cart).unwrap().wake_at, deadline);
}

/// A process that has just started does not know how its participants are.
#[test]
fn a_brake_holds_the_crowd_of_a_batch_back_but_stores_its_sagas() {
    let limits = crate::brake::controller::Limits {
        poll: Duration::from_secs(1),
        silence: Duration::from_secs(5),
        max_out: 10,
        probes_per_second: 1,
        ramp_per_second: 30,
    };
    let brake = Arc::new(Brake::new(Some(limits)));
    let orchestrator = Orchestrator::new(Rules::default(), brake);
    let (mut state, mut out) = (State::default(), Outbox::default());
    for n in 0..20 {
        let request = input(Body::Message(request(n, 100 + n)));
        orchestrator.handle(&mut state, &request, &mut out).unwrap();
    }
    assert_eq!(out.messages().len(), 3);
    let held = |n: u128| {
        let row = state.sagas.get(&id::<CartId>(n)).unwrap();
        row.wake_at.is_some() && row.saga.progress.state.waiting().unwrap().held
    };
    assert_eq!((0..20).filter(|n| held(*n)).count(), 17);
}

#[test]
fn a_batch_locks_each_cart_once_in_order() {
    let orchestrator = unbraked();
    let messages = [request(2, 20), reserved(1, 10), request(2, 21)];
    let mut inputs: Vec<_> = messages
        .into_iter()
        .map(|message| input(Body::Message(message)))
        .collect();
    inputs.push(input(Body::Timer(Uuid::from_u128(3))));
    let reads = orchestrator.reads(&inputs);
    let carts = format!("{:?}", reads[0].params[0]);
    let places: Vec<_> = (1..=3)
        .map(|n| carts.match_indices(&Uuid::from_u128(n).to_string()).count())
        .collect();
    assert_eq!(places, [1, 1, 1], "{carts}");
    // Besides, whose the two checkouts are; a batch without requests does not ask.
    assert_eq!(reads.len(), 2);
    assert_eq!(orchestrator.reads(&inputs[3..]).len(), 1);
}

#[test]
fn an_event_id_stands_for_one_cart() {
    let orchestrator = unbraked();
    let handle = |state: &mut State, request| {
        let mut out = Outbox::default();
        let input = input(Body::Message(request));
        orchestrator
            .handle(state, &input, &mut out)
            .map(|()| out.messages().len())
    };
    // In one batch, and in a later one, which reads it.
    let mut state = State::default();
    assert_eq!(handle(&mut state, request(1, 7)), Ok(1));
    let owners = state.owners.clone();
    for mut state in [
        state,
        State {
            owners,
            ..State::default()
        },
    ] {
        let refused = handle(&mut state, request(2, 7)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::ContractViolated);
        assert!(refused.detail.contains(&id::<CartId>(1).to_string()));
        assert!(state.sagas.get(&id(2)).is_none());
        assert!(handle(&mut state, request(1, 7)).is_ok(), "a repeat");
        assert!(
            handle(&mut state, request(2, 8)).is_ok(),
            "an id of its own"
        );
    }
}
