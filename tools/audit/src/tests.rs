//! Each rule is broken once, in books that are right otherwise.

mod books;
mod lenience;
mod letters;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use contracts::ids::{CheckoutId, GenericUuid};
use uuid::Uuid;

use crate::books::{Books, Bought, Holding, Pieces, Prices, Timer};
use crate::positions::Found;
use crate::report::Report;
use crate::rule::Rule;
use crate::rules::Patience;

use books::{ASKED_MS, cart, checkout, created, failed, ordered, published, refused, set};

/// The grace period is long over.
const LATER: Patience = Patience {
    now_ms: ASKED_MS + 100_000,
    grace: Duration::from_secs(60),
};
/// It is not.
const SOON: Patience = Patience {
    now_ms: ASKED_MS + 1_000,
    grace: Duration::from_secs(60),
};

thread_local! {
    /// The rules that were seen broken by the test that runs on this thread.
    static BROKEN: RefCell<BTreeSet<Rule>> = RefCell::default();
}

fn broken(books: &Books, patience: Patience) -> Vec<&'static str> {
    let found = books.violations(patience);
    BROKEN.with_borrow_mut(|broken| broken.extend(found.iter().map(|found| found.rule)));
    let report = Report::of(books, patience, found);
    let rules = report.by_rule().into_iter();
    rules.map(|(rule, _)| rule.name).collect()
}

fn names(rules: &[Rule]) -> Vec<&'static str> {
    rules.iter().map(|rule| rule.name).collect()
}

/// The rules that `change` breaks in books of a checkout that was ordered.
#[track_caller]
fn breaks(change: impl FnOnce(&mut Books), rules: &[Rule]) {
    let mut books = ordered();
    assert_eq!(broken(&books, LATER), [""; 0]);
    change(&mut books);
    assert_eq!(broken(&books, LATER), names(rules));
}

/// The same for a checkout that failed.
#[track_caller]
fn breaks_failed(change: impl FnOnce(&mut Books), rules: &[Rule]) {
    let mut books = refused();
    assert_eq!(broken(&books, LATER), [""; 0]);
    change(&mut books);
    assert_eq!(broken(&books, LATER), names(rules));
}

#[test]
fn outcomes_that_are_missing_doubled_or_unasked() {
    breaks(
        |books| {
            let account = books.account(checkout(), cart());
            (account.created, account.event) = (0, None);
        },
        &[Rule::OUTCOME_MISSING, Rule::HELD_WITHOUT_ORDER],
    );
    breaks(
        |books| books.note(created(checkout()), ASKED_MS + 60),
        &[Rule::ORDER_CREATED_DOUBLED],
    );
    breaks(
        |books| books.note(failed(), ASKED_MS + 60),
        &[Rule::CREATED_AND_FAILED],
    );
    breaks_failed(
        |books| books.note(failed(), ASKED_MS + 60),
        &[Rule::OUTCOME_DOUBLED],
    );
    breaks(
        |books| books.account(checkout(), cart()).asked_at_ms = None,
        &[Rule::OUTCOME_UNASKED],
    );
}

#[test]
fn a_record_published_twice_is_one_checkout() {
    breaks(|books| books.note(published().into(), ASKED_MS + 60), &[]);
}

#[test]
fn a_second_order_of_a_cart() {
    let other = CheckoutId::from_untyped_uuid(Uuid::from_u128(9));
    breaks(
        |books| {
            let account = books.accounts[&checkout()].clone();
            books.accounts.insert(other, account);
        },
        &[Rule::TWO_ORDERS],
    );
}

/// What services agree on, and nobody asked for.
#[test]
fn an_order_of_something_else() {
    let others: [fn(&mut Bought); 5] = [
        |bought| bought.customer = Uuid::from_u128(5),
        |bought| bought.total = 2_999,
        |bought| bought.currency = "USD".into(),
        |bought| bought.pieces = Pieces::default(),
        |bought| bought.prices = Prices::default(),
    ];
    for other in others {
        breaks(
            |books| set(&mut books.account(checkout(), cart()).asked, other),
            &[Rule::ORDERED_OTHERWISE],
        );
    }
}

#[test]
fn an_order_that_is_not_backed() {
    breaks(
        |books| books.account(checkout(), cart()).order = None,
        &[Rule::ORDER_MISSING],
    );
    breaks(
        |books| {
            set(&mut books.account(checkout(), cart()).order, |order| {
                set(&mut order.content, |content| content.bought.total = 2_999);
            });
        },
        &[Rule::ORDER_MISSING],
    );
    breaks(
        |books| {
            set(&mut books.account(checkout(), cart()).order, |order| {
                order.state = "CANCELLED".into();
            });
        },
        &[Rule::ORDER_MISSING],
    );
    breaks(
        |books| {
            set(
                &mut books.account(checkout(), cart()).authorization,
                |held| {
                    held.state = "VOIDED".into();
                },
            );
        },
        &[Rule::PAYMENT_MISSING],
    );
    breaks(
        |books| {
            set(
                &mut books.account(checkout(), cart()).authorization,
                |held| {
                    held.amount = Some(2_999);
                },
            );
        },
        &[Rule::PAYMENT_MISSING],
    );
    breaks(
        |books| {
            set(
                &mut books.account(checkout(), cart()).authorization,
                |held| {
                    held.currency = Some("USD".into());
                },
            );
        },
        &[Rule::PAYMENT_MISSING],
    );
    breaks(
        |books| books.account(checkout(), cart()).reservation = None,
        &[Rule::STOCK_MISSING],
    );
    breaks(
        |books| {
            set(&mut books.account(checkout(), cart()).reservation, |held| {
                (held.state, held.timer) = ("RELEASED".into(), Timer::None);
            });
        },
        &[Rule::STOCK_MISSING],
    );
    breaks(
        |books| {
            set(&mut books.account(checkout(), cart()).reservation, |held| {
                held.pieces = [("sku-1", 1)].into_iter().collect();
            });
        },
        &[Rule::STOCK_MISSING],
    );
}

#[test]
fn an_order_that_a_further_participant_does_not_back() {
    let further = |books: &mut Books, row: Option<&str>| {
        books.others.push("loyalty");
        let row = row.map(|state| Holding {
            service: "loyalty",
            state: state.into(),
            is_held: state == "EARNED",
        });
        books.account(checkout(), cart()).others.extend(row);
    };
    breaks(|books| further(books, Some("EARNED")), &[]);
    breaks(|books| further(books, None), &[Rule::HOLDING_MISSING]);
    breaks(
        |books| further(books, Some("REVOKED")),
        &[Rule::HOLDING_MISSING],
    );
    // Held for a checkout that failed, it is one thing too much.
    breaks_failed(|books| further(books, Some("REVOKED")), &[]);
    breaks_failed(
        |books| further(books, Some("EARNED")),
        &[Rule::HELD_WITHOUT_ORDER],
    );
}

#[test]
fn what_is_held_for_a_failed_checkout() {
    for state in ["REQUESTED", "AUTHORIZED", "VOIDING"] {
        breaks_failed(
            |books| {
                set(
                    &mut books.account(checkout(), cart()).authorization,
                    |held| {
                        held.state = state.into();
                    },
                );
            },
            &[Rule::HELD_WITHOUT_ORDER],
        );
    }
    breaks_failed(
        |books| {
            set(&mut books.account(checkout(), cart()).reservation, |held| {
                held.state = "RESERVED".into();
            });
        },
        &[Rule::HELD_WITHOUT_ORDER],
    );
    let order = ordered().accounts[&checkout()].order.clone();
    breaks_failed(
        |books| books.account(checkout(), cart()).order = order,
        &[Rule::HELD_WITHOUT_ORDER],
    );
}

#[test]
fn stock_sagas_and_timers() {
    breaks(
        |books| {
            for stock in books.stock.values_mut() {
                stock.reserved = 3;
            }
        },
        &[Rule::STOCK_BALANCE],
    );
    breaks(
        |books| {
            set(&mut books.account(checkout(), cart()).saga, |saga| {
                saga.state = "STUCK".into();
            });
        },
        &[Rule::SAGA_AT_REST],
    );
    breaks(
        |books| {
            set(&mut books.account(checkout(), cart()).saga, |saga| {
                saga.timer = Timer::Set;
            });
        },
        &[Rule::TIMER],
    );
    // One that goes on may have a timer, as long as it is not overdue.
    for (timer, rules) in [
        (Timer::Set, &[Rule::SAGA_AT_REST][..]),
        (Timer::Overdue, &[Rule::SAGA_AT_REST, Rule::TIMER][..]),
    ] {
        breaks(
            |books| {
                set(&mut books.account(checkout(), cart()).saga, |saga| {
                    (saga.state, saga.timer) = ("IN_PROGRESS".into(), timer);
                });
            },
            rules,
        );
    }
    breaks(
        |books| {
            set(
                &mut books.account(checkout(), cart()).authorization,
                |held| {
                    held.timer = Timer::Set;
                },
            );
        },
        &[Rule::TIMER],
    );
    breaks(
        |books| {
            set(&mut books.account(checkout(), cart()).reservation, |held| {
                held.timer = Timer::Overdue;
            });
        },
        &[Rule::TIMER],
    );
}

#[test]
fn records_and_messages_that_wait() {
    let unread = |at_ms| Found::Unread {
        offset: 7,
        at_ms,
        at_most: 3,
    };
    breaks(
        |books| books.positions[0].found = Some(unread(ASKED_MS)),
        &[Rule::LAG],
    );
    breaks(
        |books| books.positions[0].found = Some(unread(LATER.now_ms - 59_000)),
        &[],
    );
    breaks(
        |books| books.positions[0].found = Some(Found::Outside { low: 9, high: 12 }),
        &[Rule::LAG],
    );
    breaks(
        |books| books.positions[0].outputs_wait = true,
        &[Rule::OUTPUTS],
    );
}

#[test]
fn what_is_lost_and_doubled_is_counted() {
    let mut books = ordered();
    books.note(created(checkout()), ASKED_MS + 60);
    books.note(failed(), ASKED_MS + 70);
    let other = CheckoutId::from_untyped_uuid(Uuid::from_u128(9));
    books.account(other, cart()).asked_at_ms = Some(ASKED_MS);
    let report = Report::of(&books, LATER, books.violations(LATER));
    assert_eq!((report.lost(), report.duplicated()), (1, 1));
    let json = report.json();
    assert_eq!((&json["lost"], &json["duplicated"]), (&1.into(), &1.into()));
    let first = &json["violations"][0];
    assert_eq!(first["rule"], "outcome-missing");
    assert_eq!(first["checkout_id"], other.to_string());
    let shown = report.to_string();
    assert!(shown.contains(Rule::OUTCOME_MISSING.sentence), "{shown}");
}

#[test]
fn every_rule_is_broken_by_one_of_these_tests() {
    outcomes_that_are_missing_doubled_or_unasked();
    a_second_order_of_a_cart();
    an_order_of_something_else();
    an_order_that_is_not_backed();
    an_order_that_a_further_participant_does_not_back();
    what_is_held_for_a_failed_checkout();
    stock_sagas_and_timers();
    records_and_messages_that_wait();
    letters::poison_is_told_from_what_should_have_been_handled();
    let broken = BROKEN.take();
    let never = Rule::ALL.iter().filter(|rule| !broken.contains(rule));
    assert_eq!(names(&never.copied().collect::<Vec<_>>()), [""; 0]);
}

#[test]
fn the_readme_lists_every_rule() {
    let readme = include_str!("../../../README.md");
    for rule in Rule::ALL {
        let line = format!("| `{}` | {} |", rule.name, rule.sentence);
        assert!(readme.contains(&line), "README.md lacks this line:\n{line}");
    }
}
