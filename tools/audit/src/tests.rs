//! Each rule is broken once, in books that are right otherwise.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use contracts::ids::{
    CartId, CheckoutId, CommandId, CustomerId, EventId, GenericUuid, OrderId, event_id,
};
use contracts::messages::{
    CartCheckedOut, CartItem, CheckoutFailed, FailureReason, OrderCreated, OrderCreatedItem,
    OrderStatus, SetStock,
};
use contracts::{Message, RecordType, Topic};
use jiff::Timestamp;
use uuid::Uuid;

use crate::books::{
    Authorization, Books, Bought, Content, Holding, Order, Pieces, Prices, Read, Reservation, Saga,
    Stock, Timer,
};
use crate::letters::DeadLetter;
use crate::positions::{Found, Position};
use crate::report::Report;
use crate::rule::Rule;
use crate::rules::Patience;

/// When the cart was published.
const ASKED_MS: i64 = 1_000_000;
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

fn checkout() -> CheckoutId {
    CheckoutId::from_untyped_uuid(Uuid::from_u128(1))
}

fn cart() -> CartId {
    CartId::from_untyped_uuid(Uuid::from_u128(2))
}

fn published() -> CartCheckedOut {
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

fn created(checkout: CheckoutId) -> Message {
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

fn failed() -> Message {
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
fn ordered() -> Books {
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
fn refused() -> Books {
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

fn set<T>(value: &mut Option<T>, change: impl FnOnce(&mut T)) {
    change(value.as_mut().expect("it is there"));
}

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
fn poison_is_told_from_what_should_have_been_handled() {
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
    poison_is_told_from_what_should_have_been_handled();
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
