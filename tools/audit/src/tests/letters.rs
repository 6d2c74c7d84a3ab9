//! Dead letters, and which of them are poison.

use contracts::ids::{CartId, CommandId, GenericUuid};
use contracts::messages::{CartCheckedOut, SetStock};
use contracts::{Message, Topic};
use uuid::Uuid;

use crate::letters::DeadLetter;
use crate::rule::Rule;

use super::books::{ASKED_MS, cart, checkout, failed, ordered, published};
use super::{LATER, breaks, breaks_failed, broken, names};

fn letter(topic: Topic, code: &str, message: Option<Message>) -> DeadLetter {
    DeadLetter {
        topic,
        place: (0, 1),
        code: code.into(),
        detail: String::new(),
        headers: Vec::new(),
        message,
    }
}

#[test]
pub(super) fn poison_is_told_from_what_should_have_been_handled() {
    let cart: Message = published().into();
    let stock: Message = SetStock {
        command_id: CommandId::from_untyped_uuid(Uuid::from_u128(7)),
        product_id: String::new(),
        on_hand: 1,
    }
    .into();
    let carts = Topic::ShoppingCheckouts;
    let commands = Topic::InventoryCommands;
    for (topic, code, message, is_defect) in [
        (carts, "NOT_FRAMED", None, false),
        (carts, "UNKNOWN", None, false),
        (carts, "RECORD_TOO_LARGE", Some(cart.clone()), false),
        (commands, "CONTRACT_VIOLATED", Some(stock), false),
        (commands, "CONTRACT_VIOLATED", Some(failed()), true),
        (carts, "UNDECODABLE_DATUM", Some(cart.clone()), true),
        (carts, "HANDLER_PANICKED", Some(cart), true),
        (carts, "DATABASE_REJECTED", None, true),
    ] {
        let letter = letter(topic, code, message);
        let mut books = ordered();
        books.letters.add(&letter, false);
        let expected: &[Rule] = if is_defect { &[Rule::DEAD_LETTER] } else { &[] };
        assert_eq!(broken(&books, LATER), names(expected), "{code}");
        assert_eq!(
            books.letters.poison.contains_key(code),
            !is_defect,
            "{code}"
        );
        // A test that caused it may say so.
        let mut books = ordered();
        books.letters.add(&letter, true);
        assert_eq!(broken(&books, LATER), [""; 0], "{code}");
    }
}

#[test]
fn a_cart_is_refused_for_nothing_but_the_event_id_of_another_one() {
    let topic = Topic::ShoppingCheckouts;
    let refused = letter(topic, "CONTRACT_VIOLATED", Some(published().into()));
    let mut books = ordered();
    assert!(books.letters.add(&refused, false), "it is poison");
    assert_eq!(broken(&books, LATER), [Rule::DEAD_LETTER.name]);
    // The other one is read later, ...
    let other = CartCheckedOut {
        cart_id: CartId::from_untyped_uuid(Uuid::from_u128(99)),
        ..published()
    };
    books.note(other.into(), ASKED_MS + 70);
    assert_eq!(broken(&books, LATER), [""; 0]);
    // ... or is on its topic no more, or a test has caused it.
    let mut books = ordered();
    books.letters.add(&refused, false);
    books.window.begin_at(ASKED_MS - 1);
    assert_eq!(broken(&books, LATER), [""; 0]);
    let mut books = ordered();
    books.letters.add(&refused, true);
    assert_eq!(broken(&books, LATER), [""; 0]);
}

#[test]
fn a_cart_that_is_a_dead_letter_waits_for_no_outcome() {
    breaks_failed(
        |books| {
            let account = books.account(checkout(), cart());
            (account.failed, account.refused, account.saga) = (0, true, None);
        },
        &[],
    );
}

#[test]
fn an_event_id_of_two_carts_is_the_checkout_of_one() {
    let other = CartCheckedOut {
        cart_id: CartId::from_untyped_uuid(Uuid::from_u128(99)),
        ..published()
    };
    breaks(
        |books| {
            books.note(other.clone().into(), ASKED_MS);
            let letter = letter(
                Topic::ShoppingCheckouts,
                "CONTRACT_VIOLATED",
                Some(other.clone().into()),
            );
            books.letters.add(&letter, false);
            books.account(checkout(), cart()).refused = true;
        },
        &[],
    );
    // That the other is a dead letter is no excuse for losing this one.
    breaks_failed(
        |books| {
            books.note(other.clone().into(), ASKED_MS);
            let account = books.account(checkout(), cart());
            (account.failed, account.refused) = (0, true);
        },
        &[Rule::OUTCOME_MISSING],
    );
}
