//! Carts that decode but make no sense, and unusual ones that do.

use crate::story::{Story, request};
use contracts::{
    Message,
    messages::{CartCheckedOut, CartItem, FailureReason},
};
use flow::{Outcome, Rules, validation::validate};

fn item(product_id: &str, quantity: i32, unit_price: i64) -> CartItem {
    CartItem {
        product_id: product_id.to_owned(),
        quantity,
        unit_price,
    }
}

/// The one line costs what the cart costs.
fn cart(items: Vec<CartItem>, total: i64) -> CartCheckedOut {
    CartCheckedOut {
        items,
        total,
        subtotal: None,
        discount: None,
        ..request(1)
    }
}

#[test]
fn a_cart_that_makes_no_sense_fails_with_the_field_named_and_sends_no_command() {
    let fine = || cart(vec![item("tea", 1, 5)], 5);
    let absurd = [
        ("items is empty", cart(vec![], 0)),
        (
            "items has 501 entries",
            cart(vec![item("tea", 1, 0); 501], 0),
        ),
        ("items[0].productId", cart(vec![item("", 1, 5)], 5)),
        ("items[0].productId", cart(vec![item("   ", 1, 5)], 5)),
        (
            "items[0].productId",
            cart(vec![item(&"x".repeat(65), 1, 5)], 5),
        ),
        ("items[0].productId", cart(vec![item("a\0b", 1, 5)], 5)),
        (
            "items[1].quantity is 0",
            cart(vec![item("tea", 1, 5), item("cup", 0, 5)], 5),
        ),
        (
            "items[0].quantity is -1",
            cart(vec![item("tea", -1, 5)], -5),
        ),
        (
            "items[0].unitPrice is -5",
            cart(vec![item("tea", 1, -5)], -5),
        ),
        (
            "items[0]: the sum",
            cart(vec![item("tea", 2, i64::MAX)], -2),
        ),
        (
            "items[1]: the sum",
            cart(vec![item("tea", 1, i64::MAX), item("cup", 1, 1)], i64::MIN),
        ),
        (
            "items[1].quantity",
            cart(vec![item("tea", i32::MAX, 0), item("tea", 1, 0)], 0),
        ),
        (
            "subtotal is 4",
            CartCheckedOut {
                subtotal: Some(4),
                ..fine()
            },
        ),
        (
            "discount is -1",
            CartCheckedOut {
                discount: Some(-1),
                total: 6,
                ..fine()
            },
        ),
        (
            "discount is 6",
            CartCheckedOut {
                discount: Some(6),
                total: -1,
                ..fine()
            },
        ),
        (
            "discount is -9223372036854775808",
            CartCheckedOut {
                discount: Some(i64::MIN),
                ..fine()
            },
        ),
        ("total is 4", CartCheckedOut { total: 4, ..fine() }),
        (
            "total is 5",
            CartCheckedOut {
                discount: Some(1),
                ..fine()
            },
        ),
        (
            "currency is \"EURO\"",
            CartCheckedOut {
                currency: "EURO".to_owned(),
                ..fine()
            },
        ),
        (
            "currency is \"eur\"",
            CartCheckedOut {
                currency: "eur".to_owned(),
                ..fine()
            },
        ),
    ];
    for (field, request) in absurd {
        let mut story = Story::new();
        assert_eq!(story.message(request), ["CheckoutFailed"], "{field}");
        assert_eq!(story.outcome, Outcome::Failed(FailureReason::InvalidCart));
        let Message::CheckoutFailed(failed) = &story.sent[0] else {
            panic!("{:?}", story.sent)
        };
        assert!(
            failed.detail.starts_with(field),
            "{field}: {}",
            failed.detail
        );
        assert!(
            story.saga().cart.items.is_empty(),
            "an absurd cart is not kept"
        );
    }
}

#[test]
fn unusual_carts_that_make_sense_are_accepted() {
    let rules = Rules::default();
    let sensible = [
        cart(vec![item("tea", 1, 0)], 0),
        cart(vec![item("tea", 1, i64::MAX)], i64::MAX),
        cart(vec![item("tea", i32::MAX, 1)], i64::from(i32::MAX)),
        cart(vec![item("tea", 1, 5), item("tea", 2, 4)], 13),
        cart(vec![item(&"é".repeat(64), 1, 5)], 5),
        cart(vec![item("tea", 1, 1); 500], 500),
        CartCheckedOut {
            discount: Some(5),
            ..cart(vec![item("tea", 1, 5)], 0)
        },
    ];
    for request in sensible {
        validate(&request, &rules).unwrap();
    }
}

#[test]
fn an_absurd_cart_can_be_corrected_and_checked_out_again() {
    let mut story = Story::new();
    story.message(cart(vec![], 0));
    assert_eq!(story.checked_out(2), ["ReserveInventory"]);
}

#[test]
fn a_free_cart_is_authorized_like_any_other() {
    let mut story = Story::new();
    story.message(cart(vec![item("tea", 1, 0)], 0));
    story.answered(contracts::RecordType::InventoryReserved);
    let Message::AuthorizePayment(pay) = &story.sent[0] else {
        panic!("{:?}", story.sent)
    };
    assert_eq!(pay.amount, 0);
}
