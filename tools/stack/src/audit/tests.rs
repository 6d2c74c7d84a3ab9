use contracts::RecordType;
use contracts::ids::{CartId, CheckoutId, GenericUuid};
use contracts::ids::{CustomerId, OrderId, event_id};
use contracts::messages::{FailureReason, OrderCreated};
use contracts::messages::{OrderCreatedItem, OrderStatus};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Authorization, Books, Order, Outcome, Reservation, Saga, Stock};

const PRODUCT: &str = "sku-1";

/// Books of one cart that was ordered: two pieces for 30.00 EUR.
fn ordered() -> (Books, CheckoutId) {
    let checkout = CheckoutId::from_untyped_uuid(Uuid::from_u128(1));
    let cart = CartId::from_untyped_uuid(Uuid::from_u128(2));
    let order_id = OrderId::from_untyped_uuid(Uuid::from_u128(3));
    let event = OrderCreated {
        event_id: event_id(checkout, RecordType::OrderCreated),
        order_id,
        checkout_id: checkout,
        cart_id: cart,
        customer_id: CustomerId::from_untyped_uuid(Uuid::from_u128(4)),
        total: 3_000,
        currency: "EUR".into(),
        status: OrderStatus::Created,
        items: vec![OrderCreatedItem {
            sku: PRODUCT.into(),
            quantity: 2,
            unit_price: 1_500,
        }],
        created_at: Timestamp::UNIX_EPOCH,
    };
    let pieces = super::books::Pieces::from([(PRODUCT.to_owned(), 2)]);
    let order = Order {
        cart_id: cart,
        state: "RECORDED".into(),
        order_id: Some(order_id.into_untyped_uuid()),
        total: Some(3_000),
        currency: Some("EUR".into()),
        pieces: pieces.clone(),
    };
    let authorization = Authorization {
        state: "AUTHORIZED".into(),
        amount: Some(3_000),
        currency: Some("EUR".into()),
    };
    let reservation = Reservation {
        state: "RESERVED".into(),
        pieces,
    };
    let stock = Stock {
        on_hand: 10,
        reserved: 2,
        in_live_reservations: 2,
    };
    let saga = Saga {
        checkout_id: checkout,
        state: "COMPLETED".into(),
    };
    let books = Books {
        checkouts: [(checkout, cart)].into(),
        outcomes: vec![(checkout, cart, Outcome::Created(Box::new(event)))],
        orders: [(checkout, order)].into(),
        authorizations: [(checkout, authorization)].into(),
        reservations: [(checkout, reservation)].into(),
        stock: [(PRODUCT.to_owned(), stock)].into(),
        sagas: [(cart, saga)].into(),
    };
    (books, checkout)
}

/// The rules that `change` breaks.
fn broken_by(change: impl Fn(&mut Books, CheckoutId)) -> Vec<&'static str> {
    let (mut books, checkout) = ordered();
    assert_eq!(books.violations(), []);
    change(&mut books, checkout);
    let mut rules: Vec<_> = books.violations().iter().map(|found| found.rule).collect();
    rules.dedup();
    rules
}

const ONE_OUTCOME: &str = "every checkout has exactly one outcome";
const NOTHING_HELD: &str = "nothing is held without an order";

#[test]
fn an_outcome_that_is_missing_or_doubled_is_found() {
    let missing = broken_by(|books, _| books.outcomes.clear());
    assert!(missing.contains(&ONE_OUTCOME) && missing.contains(&NOTHING_HELD));
    let doubled = broken_by(|books, _| books.outcomes.extend_from_within(..));
    assert_eq!(doubled[0], ONE_OUTCOME);
    let invented = broken_by(|books, _| books.checkouts.clear());
    assert_eq!(invented, [ONE_OUTCOME]);
}

#[test]
fn an_order_without_backing_is_found() {
    let rule = |what: &str| format!("every OrderCreated has its {what}");
    assert_eq!(broken_by(|books, _| books.orders.clear()), [rule("order")]);
    assert_eq!(
        broken_by(|books, _| books.authorizations.clear()),
        [rule("authorization")]
    );
    assert_eq!(
        broken_by(|books, _| books.reservations.clear()),
        [rule("reservation")]
    );
    let voided = broken_by(|books, checkout| {
        if let Some(held) = books.authorizations.get_mut(&checkout) {
            held.state = "VOIDED".into();
        }
    });
    assert_eq!(voided, [rule("authorization")]);
    let too_little = broken_by(|books, checkout| {
        if let Some(held) = books.authorizations.get_mut(&checkout) {
            held.amount = Some(2_999);
        }
    });
    assert_eq!(too_little, [rule("authorization")]);
    let other_goods = broken_by(|books, checkout| {
        if let Some(held) = books.reservations.get_mut(&checkout) {
            held.pieces.insert("sku-2".into(), 1);
        }
    });
    assert_eq!(other_goods, [rule("reservation")]);
}

#[test]
fn what_is_held_for_a_failed_checkout_is_found() {
    for state in ["REQUESTED", "AUTHORIZED", "VOIDING"] {
        let broken = broken_by(|books, checkout| {
            for outcome in &mut books.outcomes {
                outcome.2 = Outcome::Failed(FailureReason::OutOfStock);
            }
            books.orders.clear();
            books.reservations.clear();
            for saga in books.sagas.values_mut() {
                saga.state = "FAILED".into();
            }
            if let Some(held) = books.authorizations.get_mut(&checkout) {
                held.state = state.into();
            }
        });
        assert_eq!(broken, [NOTHING_HELD], "{state}");
    }
}

#[test]
fn stock_and_sagas_are_compared() {
    let stock = broken_by(|books, _| {
        for stock in books.stock.values_mut() {
            stock.reserved = 3;
        }
    });
    assert_eq!(stock, ["stock reserved is the sum of live reservations"]);
    let saga = broken_by(|books, _| {
        for saga in books.sagas.values_mut() {
            saga.state = "STUCK".into();
        }
    });
    assert_eq!(saga, ["every saga has ended as it was published"]);
    let two_orders = broken_by(|books, checkout| {
        let other = CheckoutId::from_untyped_uuid(Uuid::from_u128(9));
        let order = books.orders[&checkout].clone();
        books.orders.insert(other, order);
    });
    assert_eq!(two_orders, ["a cart has at most one order", NOTHING_HELD]);
}

#[test]
fn an_event_id_of_two_carts_is_the_checkout_of_the_one_that_ended() {
    let (mut books, checkout) = ordered();
    let owner = books.checkouts[&checkout];
    let other = CartId::from_untyped_uuid(Uuid::from_u128(99));
    for carts in [vec![other, owner], vec![owner, other]] {
        books.assign([(checkout, carts)].into());
        assert_eq!(books.checkouts[&checkout], owner);
        assert_eq!(books.violations(), []);
    }
    books.outcomes.clear();
    books.assign([(checkout, vec![other, owner])].into());
    assert_eq!(books.violations()[0].rule, ONE_OUTCOME);
}
