//! What looks wrong and is not, or not yet.

use crate::books::Books;
use crate::report::Report;
use crate::rule::Rule;

use super::books::{ASKED_MS, cart, checkout, ordered, set};
use super::{LATER, SOON, breaks, breaks_failed, broken, names};

#[test]
fn what_is_young_and_open_is_in_flight() {
    let mut books = ordered();
    let account = books.account(checkout(), cart());
    (account.created, account.event) = (0, None);
    set(&mut account.saga, |saga| saga.state = "IN_PROGRESS".into());
    assert_eq!(broken(&books, SOON), [""; 0]);
    assert_eq!(Report::of(&books, SOON, Vec::new()).in_flight, 1);
    assert_eq!(
        broken(&books, LATER),
        names(&[Rule::OUTCOME_MISSING, Rule::HELD_WITHOUT_ORDER])
    );
    assert_eq!(Report::of(&books, LATER, Vec::new()).in_flight, 0);
}

#[test]
fn an_abandoned_saga_is_reported_and_no_violation() {
    breaks_failed(
        |books| {
            let account = books.account(checkout(), cart());
            account.failed = 0;
            set(&mut account.saga, |saga| saga.state = "ABANDONED".into());
            set(&mut account.reservation, |held| {
                held.state = "RESERVED".into()
            });
            assert_eq!(Report::of(books, LATER, Vec::new()).abandoned, 1);
        },
        &[],
    );
}

#[test]
fn what_retention_removed_is_no_violation() {
    // Rows that served only to recognise repeats.
    breaks_failed(
        |books| {
            let account = books.account(checkout(), cart());
            (account.saga, account.authorization, account.reservation) = (None, None, None);
        },
        &[],
    );
    breaks(|books| books.account(checkout(), cart()).saga = None, &[]);
    // Records older than what the topics hold: the cart, and then its outcome.
    breaks(
        |books| {
            books.window.begin_at(ASKED_MS + 1);
            books.account(checkout(), cart()).asked_at_ms = None;
        },
        &[],
    );
    let forgotten = |books: &mut Books| {
        books.window.begin_at(ASKED_MS + 100);
        let account = books.account(checkout(), cart());
        (account.created, account.event) = (0, None);
        account.asked_at_ms = None;
    };
    breaks(forgotten, &[]);
    // The four databases still have to agree about it.
    breaks(
        |books| {
            forgotten(books);
            books.account(checkout(), cart()).authorization = None;
        },
        &[Rule::PAYMENT_MISSING],
    );
    breaks(
        |books| {
            forgotten(books);
            books.account(checkout(), cart()).order = None;
        },
        &[Rule::HELD_WITHOUT_ORDER],
    );
}

#[test]
fn a_database_that_was_not_read_is_not_judged() {
    let mut books = ordered();
    books.read.order = false;
    books.account(checkout(), cart()).order = None;
    assert_eq!(broken(&books, LATER), [""; 0]);
    // Further participants are not read here at all.
    let others = Report::of(&ordered(), LATER, Vec::new()).not_read;
    let not_read = Report::of(&books, LATER, Vec::new()).not_read;
    assert_eq!(not_read, [vec!["order"], others].concat());
}
