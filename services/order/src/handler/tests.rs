//! Stories of one checkout or a few, told without a database.

mod model;
mod story;

use contracts::ids;
use contracts::messages::{
    CancelOrder, CreateOrder, OrderCancelled, OrderRecorded, OrderRejectReason, OrderRejected,
};

use self::story::{Story, cancel, cancel_of, cart, checkout, create, create_of, foreign, line};
use super::*;

#[test]
fn an_order_is_recorded_with_all_it_says() {
    let mut story = Story::new();
    let command = create(1);
    let recorded: OrderRecorded = story.one(command.clone());
    assert_eq!(recorded.order_id, ids::order_id(checkout(1)));
    assert_eq!(recorded.recorded_at.to_string(), "2026-03-01T12:00:00.123Z");
    let content = story.state.orders.get(&checkout(1)).unwrap().content();
    let content = content.unwrap();
    assert_eq!(content.items, command.items);
    assert_eq!((content.total, content.currency.as_str()), (2_000, "EUR"));
    assert_eq!(story.state_of(1), "RECORDED");
}

#[test]
fn a_repeated_creation_is_answered_as_before() {
    let mut story = Story::new();
    let recorded: OrderRecorded = story.one(create(1));
    let rejected: OrderRejected = story.one(create_of(2, 1));
    story.a_second_passes();
    assert_eq!(story.one::<OrderRecorded>(create(1)), recorded);
    assert_eq!(story.one::<OrderRejected>(create_of(2, 1)), rejected);
}

#[test]
fn a_cart_has_one_live_order() {
    let mut story = Story::new();
    story.one::<OrderRecorded>(create_of(1, 1));
    assert_eq!(
        story.rejected(create_of(2, 1)),
        OrderRejectReason::AlreadyOrdered
    );
    story.one::<OrderRecorded>(create_of(3, 3));
    // Once the first is cancelled, the cart is free. The second attempt was answered.
    story.one::<OrderCancelled>(cancel(1));
    assert_eq!(
        story.rejected(create_of(2, 1)),
        OrderRejectReason::AlreadyOrdered
    );
    story.one::<OrderRecorded>(create_of(4, 1));
    assert_eq!(
        story.rejected(create_of(5, 1)),
        OrderRejectReason::AlreadyOrdered
    );
}

#[test]
fn an_order_that_another_instance_has_just_recorded_is_tried_again() {
    // It was not among the rows, but its cart was: the insert will fail, and the batch
    // be repeated. Rejecting it would be wrong.
    let mut story = Story::new();
    story.state.live.insert(cart(1), checkout(1));
    story.one::<OrderRecorded>(create(1));
}

#[test]
fn a_cancellation_is_done_once() {
    let mut story = Story::new();
    let recorded: OrderRecorded = story.one(create(1));
    story.a_second_passes();
    let cancelled: OrderCancelled = story.one(cancel(1));
    assert_eq!(cancelled.order_id, Some(recorded.order_id));
    assert_eq!(story.state_of(1), "CANCELLED");
    story.a_second_passes();
    assert_eq!(story.one::<OrderCancelled>(cancel(1)), cancelled);
}

#[test]
fn a_creation_that_comes_after_its_cancellation_is_refused() {
    let mut story = Story::new();
    let cancelled: OrderCancelled = story.one(cancel(1));
    assert_eq!(cancelled.order_id, None);
    story.a_second_passes();
    let rejected: OrderRejected = story.one(create(1));
    assert_eq!(rejected.reason, OrderRejectReason::Cancelled);
    story.a_second_passes();
    assert_eq!(story.one::<OrderRejected>(create(1)), rejected);
    assert_eq!(story.one::<OrderCancelled>(cancel(1)), cancelled);
    assert_eq!(story.state_of(1), "CANCELLED");
    // The cart is not taken.
    story.one::<OrderRecorded>(create_of(2, 1));
}

#[test]
fn a_creation_repeated_after_its_cancellation_does_not_revive_the_order() {
    let mut story = Story::new();
    story.one::<OrderRecorded>(create(1));
    story.one::<OrderCancelled>(cancel(1));
    assert_eq!(story.rejected(create(1)), OrderRejectReason::Cancelled);
    assert_eq!(story.state_of(1), "CANCELLED");
}

#[test]
fn a_rejection_stays_the_same_after_a_cancellation() {
    // The two would share an id, and a consumer may have seen the first.
    let mut story = Story::new();
    story.one::<OrderRecorded>(create_of(1, 1));
    let rejected: OrderRejected = story.one(create_of(2, 1));
    let cancelled: OrderCancelled = story.one(cancel_of(2, 1));
    assert_eq!(cancelled.order_id, None);
    story.a_second_passes();
    assert_eq!(story.one::<OrderRejected>(create_of(2, 1)), rejected);
    // The order of the other checkout stands.
    assert_eq!(story.state_of(1), "RECORDED");
}

#[test]
fn what_cannot_be_an_order_is_rejected_and_remembered() {
    let mut story = Story::new();
    let nonsense = [
        CreateOrder {
            items: vec![],
            ..create(1)
        },
        CreateOrder {
            items: vec![line("tea", 0, 1)],
            ..create(2)
        },
        CreateOrder {
            items: vec![line("tea", 1, -1)],
            ..create(3)
        },
        CreateOrder {
            items: vec![line("te\0a", 1, 1)],
            ..create(4)
        },
        CreateOrder {
            items: vec![line(&"x".repeat(65), 1, 1)],
            ..create(5)
        },
        CreateOrder {
            items: vec![line("tea", 2, i64::MAX)],
            ..create(6)
        },
        CreateOrder {
            items: vec![line("tea", 1, i64::MAX), line("cup", 1, 1)],
            ..create(7)
        },
        CreateOrder {
            total: -1,
            ..create(8)
        },
        CreateOrder {
            currency: "eur".into(),
            ..create(9)
        },
        CreateOrder {
            currency: "EURO".into(),
            ..create(10)
        },
    ];
    for (command, number) in nonsense.into_iter().zip(1..) {
        let rejected: OrderRejected = story.one(command.clone());
        assert_eq!(rejected.reason, OrderRejectReason::Invalid, "{command:?}");
        assert_eq!(story.state_of(number), "REJECTED");
        story.a_second_passes();
        assert_eq!(story.one::<OrderRejected>(command), rejected);
        // The cart is not taken.
        story.one::<OrderRecorded>(create_of(100 + number, number));
    }
    // An order may cost nothing.
    story.one::<OrderRecorded>(CreateOrder {
        total: 0,
        ..create(50)
    });
}

#[test]
fn another_command_for_a_known_checkout_is_refused() {
    let mut story = Story::new();
    story.one::<OrderRecorded>(create(1));
    let detail = story.refused(CreateOrder {
        command_id: foreign(),
        ..create(1)
    });
    assert!(detail.contains(&foreign().to_string()), "{detail}");
    let detail = story.refused(create_of(1, 2));
    assert!(detail.contains(&cart(1).to_string()), "{detail}");
    story.refused(cancel_of(1, 2));
    assert_eq!(story.state_of(1), "RECORDED");
    story.one::<OrderCancelled>(cancel(1));
    story.refused(CancelOrder {
        command_id: foreign(),
        ..cancel(1)
    });
}

#[test]
fn a_record_of_another_topic_is_refused() {
    let mut story = Story::new();
    let recorded: OrderRecorded = story.one(create(1));
    let poison = story.input(recorded.into()).unwrap_err();
    assert_eq!(poison.code, ErrorCode::WrongRecordForTopic);
}

#[test]
fn a_cart_never_has_two_live_orders_whatever_comes_in_whatever_order() {
    let mut story = Story::new();
    // A fixed linear congruential sequence: the same run every time.
    let mut seed = 11_u64;
    let mut next = |limit: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % limit
    };
    for _ in 0..5_000 {
        let number = u128::from(next(60));
        let of = number % 7;
        let command: Message = if next(3) == 0 {
            cancel_of(number, of).into()
        } else {
            create_of(number, of).into()
        };
        story.input(command).unwrap();
        for of in 0..7 {
            let live: Vec<_> = story
                .state
                .orders
                .iter()
                .filter(|(_, order)| order.cart_id == cart(of) && order.state() == "RECORDED")
                .map(|(checkout, _)| *checkout)
                .collect();
            assert!(live.len() <= 1, "{live:?}");
            assert_eq!(story.state.live.get(&cart(of)), live.first());
        }
    }
}

#[test]
fn an_old_order_is_cancelled_before_the_new_one_is_written() {
    let mut story = Story::new();
    let old = Order {
        cart_id: cart(1),
        creation: Some(crate::state::Creation {
            command_id: create(1).command_id,
            at: story.now,
            answer: crate::state::Answer::Recorded,
        }),
        cancellation: None,
    };
    story.state.orders = [(checkout(1), old)].into_iter().collect();
    story.state.live.insert(cart(1), checkout(1));
    story.one::<OrderCancelled>(cancel(1));
    story.one::<OrderRecorded>(create_of(2, 1));
    let writes = Orders.writes(story.state);
    let verbs: Vec<_> = writes
        .iter()
        .map(|write| {
            assert!(Orders::STATEMENTS.contains(&write.text));
            write.text.split_whitespace().next().unwrap_or_default()
        })
        .collect();
    assert_eq!(verbs, ["UPDATE", "INSERT", "INSERT"]);
}

#[test]
fn a_batch_that_repeats_what_is_known_writes_nothing() {
    let mut story = Story::new();
    story.one::<OrderRecorded>(create(1));
    let known = story.state.orders.get(&checkout(1)).unwrap().clone();
    story.state.orders = [(checkout(1), known)].into_iter().collect();
    story.one::<OrderRecorded>(create(1));
    assert!(Orders.writes(story.state).is_empty());
}
