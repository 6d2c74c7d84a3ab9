//! What it takes to decide a whole saga, from the cart to its outcome:
//! `cargo bench -p flow`.

use contracts::Message;
use contracts::ids::{self, CartId, CustomerId, EventId, GenericUuid};
use contracts::messages::{
    AuthorizationVoided, CartCheckedOut, CartItem, InventoryReleased, InventoryReserved,
    OrderRecorded, OrderRejectReason, OrderRejected, PaymentAuthorized,
};
use divan::{Bencher, black_box};
use flow::{Brakes, Input, Rules, Saga, State, next};
use jiff::Timestamp;
use uuid::Uuid;

fn main() {
    divan::main();
}

/// The inputs of a saga whose order is created, or refused by the order service: then
/// everything before is undone.
fn inputs(is_created: bool) -> Vec<Message> {
    let rules = Rules::default();
    let mut inputs: Vec<Message> = vec![cart().into()];
    let mut saga = None;
    let mut next_input = 0;
    while let Some(input) = inputs.get(next_input).cloned() {
        next_input += 1;
        let (after, sent) = step(saga, &input, &rules);
        saga = after;
        inputs.extend(sent.iter().filter_map(|sent| answer(sent, is_created)));
    }
    let state = saga.map(|saga| saga.progress.state);
    let ended = match is_created {
        true => matches!(state, Some(State::Completed)),
        false => matches!(state, Some(State::Failed)),
    };
    assert!(ended, "the saga ended in {state:?}");
    inputs
}

fn step(saga: Option<Saga>, message: &Message, rules: &Rules) -> (Option<Saga>, Vec<Message>) {
    let input = Input::of(message).expect("an input of a saga");
    let turn = next(saga, &input, at(), rules, Brakes::default());
    (turn.saga, turn.messages)
}

fn at() -> Timestamp {
    Timestamp::from_second(1_750_000_000).unwrap_or_default()
}

/// A cart of three lines.
fn cart() -> CartCheckedOut {
    let item = |product_id: &str, unit_price| CartItem {
        product_id: product_id.to_owned(),
        quantity: 1,
        unit_price,
    };
    CartCheckedOut {
        event_id: EventId::from_untyped_uuid(Uuid::from_u128(0x7f0c_1f2a)),
        occurred_at: at(),
        cart_id: CartId::from_untyped_uuid(Uuid::from_u128(0xca27)),
        customer_id: CustomerId::from_untyped_uuid(Uuid::from_u128(0xc057)),
        items: vec![item("tea", 450), item("cup", 1_200), item("pot", 2_350)],
        subtotal: None,
        discount: None,
        total: 4_000,
        currency: "EUR".to_owned(),
    }
}

/// What a participant answers.
fn answer(command: &Message, is_created: bool) -> Option<Message> {
    Some(match command {
        Message::ReserveInventory(command) => InventoryReserved {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            reservation_id: ids::reservation_id(command.checkout_id),
            items: command.items.clone(),
            reserved_at: at(),
            expires_at: None,
        }
        .into(),
        Message::AuthorizePayment(command) => PaymentAuthorized {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            authorization_id: ids::authorization_id(command.checkout_id),
            amount: command.amount,
            currency: command.currency.clone(),
            authorized_at: at(),
        }
        .into(),
        Message::CreateOrder(command) if is_created => OrderRecorded {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            order_id: ids::order_id(command.checkout_id),
            recorded_at: at(),
        }
        .into(),
        Message::CreateOrder(command) => OrderRejected {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            reason: OrderRejectReason::Invalid,
            rejected_at: at(),
        }
        .into(),
        Message::VoidAuthorization(command) => AuthorizationVoided {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            authorization_id: command.authorization_id,
            voided_at: at(),
        }
        .into(),
        Message::ReleaseInventory(command) => InventoryReleased {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            reservation_id: command.reservation_id,
            reason: command.reason,
            items: Vec::new(),
            released_at: at(),
        }
        .into(),
        _ => return None,
    })
}

fn play(bencher: Bencher<'_, '_>, is_created: bool) {
    let (inputs, rules) = (inputs(is_created), Rules::default());
    bencher.bench_local(|| {
        let mut saga = None;
        for input in black_box(&inputs) {
            let (after, sent) = step(saga, input, &rules);
            black_box(sent);
            saga = after;
        }
        saga
    });
}

/// Four inputs, five messages.
#[divan::bench]
fn completed(bencher: Bencher<'_, '_>) {
    play(bencher, true);
}

/// The order is refused after stock and money were held: both are given up.
#[divan::bench]
fn compensated(bencher: Bencher<'_, '_>) {
    play(bencher, false);
}

/// What the database keeps of a saga in flight, written and read.
#[divan::bench]
fn stored(bencher: Bencher<'_, '_>) {
    let rules = Rules::default();
    let (saga, _) = step(None, &cart().into(), &rules);
    let saga = saga.expect("a saga begins");
    bencher.bench_local(|| {
        let text = serde_json::to_string(black_box(&saga)).expect("a saga is written");
        serde_json::from_str::<Saga>(&text).expect("a saga is read")
    });
}
