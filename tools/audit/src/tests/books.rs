//! Books of checkouts that are right.

use contracts::ids::{CartId, CheckoutId, CustomerId, EventId, GenericUuid, OrderId, event_id};
use contracts::messages::{
    CartCheckedOut, CartItem, CheckoutFailed, FailureReason, OrderCreated, OrderCreatedItem,
    OrderStatus,
};
use contracts::{Message, RecordType, Topic};
use jiff::Timestamp;
use uuid::Uuid;

use crate::books::{
    Authorization, Books, Bought, Content, Order, Pieces, Read, Reservation, Saga, Stock, Timer,
};
use crate::positions::Position;

/// When the cart was published.
pub(super) const ASKED_MS: i64 = 1_000_000;

pub(super) fn checkout() -> CheckoutId {
    CheckoutId::from_untyped_uuid(Uuid::from_u128(1))
}

pub(super) fn cart() -> CartId {
    CartId::from_untyped_uuid(Uuid::from_u128(2))
}

pub(super) fn published() -> CartCheckedOut {
    CartCheckedOut {
        event_id: EventId::from_untyped_uuid(checkout().into_untyped_uuid()),
        occurred_at: Timestamp::UNIX_EPOCH,
        cart_id: cart(),
        customer_id: CustomerId::from_untyped_uuid(Uuid::from_u128(4)),
        items: vec![CartItem {
            product_id: "sku-1".into(),
            quantity: 2,
            unit_price: 1_500,
        }],
        subtotal: None,
        discount: None,
        total: 3_000,
        currency: "EUR".into(),
    }
}

pub(super) fn created(checkout: CheckoutId) -> Message {
    let line = |quantity| OrderCreatedItem {
        sku: "sku-1".into(),
        quantity,
        unit_price: 1_500,
    };
    OrderCreated {
        event_id: event_id(checkout, RecordType::OrderCreated),
        order_id: OrderId::from_untyped_uuid(Uuid::from_u128(3)),
        checkout_id: checkout,
        cart_id: cart(),
        customer_id: published().customer_id,
        total: 3_000,
        currency: "EUR".into(),
        status: OrderStatus::Created,
        items: vec![line(1), line(1)],
        created_at: Timestamp::UNIX_EPOCH,
    }
    .into()
}

pub(super) fn failed() -> Message {
    CheckoutFailed {
        event_id: event_id(checkout(), RecordType::CheckoutFailed),
        checkout_id: checkout(),
        cart_id: cart(),
        customer_id: published().customer_id,
        reason: FailureReason::OutOfStock,
        detail: String::new(),
        unavailable_items: Vec::new(),
        failed_at: Timestamp::UNIX_EPOCH,
    }
    .into()
}

/// Books of one cart that was ordered: two pieces for 30.00 EUR.
pub(super) fn ordered() -> Books {
    let mut books = Books {
        read: Read {
            orchestrator: true,
            inventory: true,
            payment: true,
            order: true,
        },
        ..Books::default()
    };
    books.note(published().into(), ASKED_MS);
    books.note(created(checkout()), ASKED_MS + 50);
    let pieces: Pieces = [("sku-1", 2)].into_iter().collect();
    let account = books.account(checkout(), cart());
    account.order = Some(Order {
        state: "RECORDED".into(),
        content: Some(Content {
            order_id: Uuid::from_u128(3),
            bought: Bought {
                customer: published().customer_id.into_untyped_uuid(),
                total: 3_000,
                currency: "EUR".into(),
                pieces,
                prices: [("sku-1", 1_500, 2)].into_iter().collect(),
            },
        }),
    });
    account.authorization = Some(Authorization {
        state: "AUTHORIZED".into(),
        amount: Some(3_000),
        currency: Some("EUR".into()),
        timer: Timer::None,
    });
    account.reservation = Some(Reservation {
        state: "RESERVED".into(),
        pieces,
        timer: Timer::Set,
    });
    account.saga = Some(Saga {
        state: "COMPLETED".into(),
        timer: Timer::None,
    });
    let stock = Stock {
        reserved: 2,
        in_live_reservations: 2,
    };
    books.stock.insert("sku-1".into(), stock);
    books.positions.push(Position {
        service: "order",
        topic: Topic::OrderingCommands,
        partition: 0,
        next_offset: Some(7),
        outputs_wait: false,
        found: None,
    });
    books
}

/// The same cart, refused by inventory.
pub(super) fn refused() -> Books {
    let mut books = ordered();
    let account = books.account(checkout(), cart());
    (account.created, account.failed) = (0, 1);
    (account.event, account.order) = (None, None);
    set(&mut account.saga, |saga| saga.state = "FAILED".into());
    set(&mut account.authorization, |held| {
        held.state = "VOIDED".into();
    });
    set(&mut account.reservation, |held| {
        (held.state, held.timer) = ("RELEASED".into(), Timer::None);
    });
    books
}

pub(super) fn set<T>(value: &mut Option<T>, change: impl FnOnce(&mut T)) {
    change(value.as_mut().expect("it is there"));
}
