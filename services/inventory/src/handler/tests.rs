//! Stories of one checkout or a few, told without a database.

mod model;
mod story;

use contracts::TraceContext;
use contracts::ids::{CommandId, EventId};
use contracts::messages::{
    InventoryReleased, InventoryReserved, InventoryUnavailable, ReleaseInventory, ReleaseReason,
    ReservationExpired, ReserveInventory, StockSet, UnavailableItem, UnavailableReason,
};

use self::story::{HOME, Story, cart, checkout, release, reserve, set_stock};
use super::*;

#[test]
fn a_checkout_gets_all_its_items() {
    let mut story = Story::with_stock(&[("tea", 5), ("cup", 2)]);
    let command = reserve(1, &[("tea", 3), ("cup", 2)]);
    let reserved: InventoryReserved = story.one(command.clone());
    assert_eq!(reserved.items, command.items);
    assert_eq!(reserved.reservation_id, ids::reservation_id(checkout(1)));
    assert_eq!(reserved.reserved_at.to_string(), "2026-03-01T12:00:00.123Z");
    assert_eq!(reserved.expires_at, None);
    assert_eq!(story.stock("tea"), (5, 3));
    assert_eq!(story.stock("cup"), (2, 2));
}

#[test]
fn a_checkout_gets_nothing_when_one_item_is_missing() {
    let mut story = Story::with_stock(&[("tea", 5), ("cup", 2)]);
    let answer: InventoryUnavailable = story.one(reserve(1, &[("tea", 3), ("cup", 3), ("jar", 1)]));
    assert_eq!(answer.reason, UnavailableReason::OutOfStock);
    let missing = |product: &str, requested, available| UnavailableItem {
        product_id: product.to_owned(),
        requested,
        available,
    };
    assert_eq!(
        answer.unavailable_items,
        [missing("cup", 3, 2), missing("jar", 1, 0)]
    );
    assert_eq!(story.stock("tea"), (5, 0));
    assert_eq!(story.stock("cup"), (2, 0));
}

#[test]
fn lines_of_one_product_are_added_up() {
    let mut story = Story::with_stock(&[("tea", 5)]);
    let answer: InventoryUnavailable = story.one(reserve(1, &[("tea", 3), ("tea", 3)]));
    assert_eq!(answer.unavailable_items.len(), 1);
    assert_eq!(answer.unavailable_items[0].requested, 6);
    let answer: InventoryReserved = story.one(reserve(2, &[("tea", 3), ("tea", 2)]));
    assert_eq!(answer.items.len(), 2);
    assert_eq!(story.stock("tea"), (5, 5));
    story.one::<InventoryReleased>(release(2));
    assert_eq!(story.stock("tea"), (5, 0));
}

#[test]
fn the_last_piece_goes_to_whoever_comes_first() {
    let mut story = Story::with_stock(&[("tea", 1)]);
    story.one::<InventoryReserved>(reserve(1, &[("tea", 1)]));
    story.one::<InventoryUnavailable>(reserve(2, &[("tea", 1)]));
    story.one::<InventoryReleased>(release(1));
    // The second was answered already, and stays so.
    story.one::<InventoryUnavailable>(reserve(2, &[("tea", 1)]));
    story.one::<InventoryReserved>(reserve(3, &[("tea", 1)]));
    assert_eq!(story.stock("tea"), (1, 1));
}

#[test]
fn a_repeated_reserve_is_answered_as_before() {
    let mut story = Story::with_stock(&[("tea", 5)]).promising_for(60);
    let taken = story.all(reserve(1, &[("tea", 3)]));
    let refused = story.all(reserve(2, &[("tea", 3)]));
    story.seconds_pass(600);
    assert_eq!(story.all(reserve(1, &[("tea", 3)])), taken);
    assert_eq!(story.all(reserve(2, &[("tea", 3)])), refused);
    assert_eq!(story.stock("tea"), (5, 3));
    assert_eq!(
        taken[0].ce_id(),
        story.all(reserve(1, &[("tea", 3)]))[0].ce_id()
    );
}

#[test]
fn a_release_gives_back_exactly_once() {
    let mut story = Story::with_stock(&[("tea", 5)]);
    let reserved: InventoryReserved = story.one(reserve(1, &[("tea", 3)]));
    story.seconds_pass(1);
    let released: InventoryReleased = story.one(release(1));
    assert_eq!(released.reservation_id, Some(reserved.reservation_id));
    assert_eq!(released.items, reserved.items);
    assert_eq!(released.reason, ReleaseReason::CheckoutFailed);
    assert_eq!(story.stock("tea"), (5, 0));
    story.seconds_pass(1);
    assert_eq!(story.one::<InventoryReleased>(release(1)), released);
    assert_eq!(story.stock("tea"), (5, 0));
}

#[test]
fn a_reserve_that_comes_after_its_release_is_refused() {
    let mut story = Story::with_stock(&[("tea", 5)]);
    let released: InventoryReleased = story.one(release(1));
    assert_eq!(released.reservation_id, None);
    assert_eq!(released.items, []);
    story.seconds_pass(1);
    let refused: InventoryUnavailable = story.one(reserve(1, &[("tea", 3)]));
    assert_eq!(refused.reason, UnavailableReason::Released);
    assert_eq!(refused.unavailable_items, []);
    assert_eq!(story.stock("tea"), (5, 0));
    story.seconds_pass(1);
    assert_eq!(
        story.one::<InventoryUnavailable>(reserve(1, &[("tea", 3)])),
        refused
    );
    assert_eq!(story.one::<InventoryReleased>(release(1)), released);
}

#[test]
fn a_reserve_repeated_after_its_release_holds_nothing() {
    let mut story = Story::with_stock(&[("tea", 5)]);
    let command = reserve(1, &[("tea", 3)]);
    story.one::<InventoryReserved>(command.clone());
    story.one::<InventoryReleased>(release(1));
    let refused: InventoryUnavailable = story.one(command);
    assert_eq!(refused.reason, UnavailableReason::Released);
    assert_eq!(story.stock("tea"), (5, 0));
}

#[test]
fn an_answer_that_was_out_of_stock_stays_so_after_a_release() {
    // The two would share an id, and a consumer may have seen the first.
    let mut story = Story::with_stock(&[("tea", 1)]);
    let first = story.all(reserve(1, &[("tea", 3)]));
    let released: InventoryReleased = story.one(release(1));
    assert_eq!(released.reservation_id, None);
    assert_eq!(story.all(reserve(1, &[("tea", 3)])), first);
}

#[test]
fn a_release_stops_the_expiry() {
    let mut story = Story::with_stock(&[("tea", 5)]).promising_for(60);
    story.one::<InventoryReserved>(reserve(1, &[("tea", 3)]));
    story.one::<InventoryReleased>(release(1));
    story.seconds_pass(60);
    assert_eq!(story.timer(checkout(1)), []);
}

#[test]
fn an_expiry_is_told_once_and_holds_the_stock_on() {
    let mut story = Story::with_stock(&[("tea", 5)]).promising_for(60);
    let reserved: InventoryReserved = story.one(reserve(1, &[("tea", 3)]));
    let wake_at = |story: &Story| story.state.reservations.get(&checkout(1)).unwrap().wake_at;
    assert_eq!(wake_at(&story), reserved.expires_at);

    story.seconds_pass(59);
    assert_eq!(story.timer(checkout(1)), []);
    assert_eq!(wake_at(&story), reserved.expires_at);

    story.seconds_pass(1);
    let expired: ReservationExpired = match story.timer(checkout(1)).as_slice() {
        [Message::ReservationExpired(expired)] => expired.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(Some(expired.expired_at), reserved.expires_at);
    assert_eq!(expired.reservation_id, reserved.reservation_id);
    let id: EventId = ids::event_id(checkout(1), RecordType::ReservationExpired);
    assert_eq!(expired.event_id, id);
    assert_eq!(wake_at(&story), None);
    assert_eq!(story.stock("tea"), (5, 3));

    story.one::<InventoryReleased>(release(1));
    assert_eq!(story.stock("tea"), (5, 0));
}

#[test]
fn a_timer_of_a_checkout_that_is_not_known_does_nothing() {
    let mut story = Story::with_stock(&[]);
    assert_eq!(story.timer(checkout(9)), []);
}

#[test]
fn stock_is_created_set_and_answered() {
    let mut story = Story::with_stock(&[]);
    let set: StockSet = story.one(set_stock("tea", 7, 1));
    assert_eq!((set.on_hand, set.reserved), (7, 0));
    story.one::<InventoryReserved>(reserve(1, &[("tea", 3)]));
    // The same command again: the same answer, though 3 are reserved by now.
    story.seconds_pass(1);
    assert_eq!(story.one::<StockSet>(set_stock("tea", 7, 1)), set);
    let set: StockSet = story.one(set_stock("tea", 10, 2));
    assert_eq!((set.on_hand, set.reserved), (10, 3));
    assert_eq!(story.stock("tea"), (10, 3));
}

#[test]
fn stock_may_be_set_below_what_is_reserved() {
    let mut story = Story::with_stock(&[("tea", 5)]);
    story.one::<InventoryReserved>(reserve(1, &[("tea", 3)]));
    let set: StockSet = story.one(set_stock("tea", 2, 1));
    assert_eq!((set.on_hand, set.reserved), (2, 3));
    let answer: InventoryUnavailable = story.one(reserve(2, &[("tea", 1)]));
    assert_eq!(answer.unavailable_items[0].available, 0);
    story.one::<InventoryReleased>(release(1));
    story.one::<InventoryReserved>(reserve(3, &[("tea", 2)]));
    assert_eq!(story.stock("tea"), (2, 2));
}

#[test]
fn commands_that_break_their_contract_are_refused() {
    let mut story = Story::with_stock(&[("tea", i64::MAX)]);
    let long = "x".repeat(65);
    for (items, reason) in [
        (vec![], "empty"),
        (vec![("tea", 0)], "at least 1"),
        (vec![("tea", 1), ("tea", -1)], "at least 1"),
        (vec![("tea", i32::MAX), ("tea", 1)], "exceed"),
        (vec![("", 1)], "productId"),
        (vec![(long.as_str(), 1)], "productId"),
        (vec![("te\0a", 1)], "productId"),
    ] {
        let detail = story.refused(reserve(1, &items));
        assert!(detail.contains(reason), "{detail}");
    }
    let detail = story.refused(set_stock("tea", -1, 1));
    assert!(detail.contains("negative"), "{detail}");
    story.refused(set_stock(" ", 1, 1));
    // The longest product id and the largest quantity are fine.
    let longest = "ü".repeat(64);
    story.one::<StockSet>(set_stock(&longest, i64::MAX, 1));
    story.one::<InventoryReserved>(reserve(1, &[(&longest, i32::MAX)]));
}

#[test]
fn another_command_for_a_known_checkout_is_refused() {
    let mut story = Story::with_stock(&[("tea", 5)]);
    story.one::<InventoryReserved>(reserve(1, &[("tea", 3)]));
    let foreign = CommandId::from_untyped_uuid(Uuid::from_u128(77));
    let detail = story.refused(ReserveInventory {
        command_id: foreign,
        ..reserve(1, &[("tea", 1)])
    });
    assert!(detail.contains(&foreign.to_string()), "{detail}");
    story.one::<InventoryReleased>(release(1));
    story.refused(ReleaseInventory {
        command_id: foreign,
        ..release(1)
    });
    for other_cart in [
        Message::from(ReserveInventory {
            cart_id: cart(2),
            ..reserve(1, &[("tea", 3)])
        }),
        Message::from(ReleaseInventory {
            cart_id: cart(2),
            ..release(1)
        }),
    ] {
        let detail = story.refused(other_cart);
        assert!(detail.contains(&cart(1).to_string()), "{detail}");
    }
}

#[test]
fn a_record_of_another_topic_is_refused() {
    let mut story = Story::with_stock(&[]);
    let foreign = StockSet {
        command_id: CommandId::from_untyped_uuid(Uuid::nil()),
        product_id: "tea".into(),
        on_hand: 1,
        reserved: 0,
        set_at: story.now,
    };
    let poison = story.input(Body::Message(foreign.into())).unwrap_err();
    assert_eq!(poison.code, ErrorCode::WrongRecordForTopic);
}

#[test]
fn stock_is_conserved_whatever_comes_in_whatever_order() {
    let mut story = Story::with_stock(&[("tea", 40), ("cup", 25)]);
    // A fixed linear congruential sequence: the same run every time.
    let mut seed = 7_u64;
    let mut next = |limit: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % limit
    };
    for _ in 0..5_000 {
        let number = u128::from(next(40));
        if next(3) == 0 {
            story.all(release(number));
        } else {
            let tea = i32::try_from(number % 5).unwrap() + 1;
            story.all(reserve(number, &[("tea", tea), ("cup", 2)]));
        }
        let mut held = (0, 0);
        for (_, reservation) in story.state.reservations.iter() {
            if reservation.state() == "RESERVED" {
                for item in reservation.reserved_items() {
                    match item.product_id.as_str() {
                        "tea" => held.0 += i64::from(item.quantity),
                        _ => held.1 += i64::from(item.quantity),
                    }
                }
            }
        }
        assert_eq!((story.stock("tea").1, story.stock("cup").1), held);
        assert!(held.0 <= 40 && held.1 <= 25, "{held:?}");
    }
}

#[test]
fn a_batch_reads_what_it_may_touch_and_nothing_odd() {
    let inventory = Inventory::default();
    let input = |body| Input {
        offset: None,
        home: HOME,
        now: Timestamp::UNIX_EPOCH,
        trace: TraceContext::new_root(),
        body,
    };
    let batch = [
        input(Body::Message(
            reserve(2, &[("tea", 1), ("te\0a", 1)]).into(),
        )),
        input(Body::Message(release(1).into())),
        input(Body::Message(set_stock("cup", 1, 1).into())),
        input(Body::Timer(checkout(3).into_untyped_uuid())),
    ];
    let reads = inventory.reads(&batch);
    assert_eq!(reads.len(), 3);
    for read in &reads {
        assert!(Inventory::STATEMENTS.contains(&read.text));
    }
    let shown = format!("{:?}", reads[2].params);
    assert!(shown.contains(r#"["cup", "tea"]"#), "{shown}");
    assert!(!shown.contains("te\\0a"), "{shown}");
}

#[test]
fn a_batch_writes_each_row_once_and_nothing_else() {
    let mut story = Story::with_stock(&[("tea", 5), ("cup", 5)]);
    story.all(reserve(1, &[("tea", 1)]));
    story.all(reserve(1, &[("tea", 1)]));
    story.all(release(1));
    story.all(release(2));
    story.all(set_stock("jar", 1, 1));
    let writes = story.inventory.writes(story.state);
    let verbs: Vec<_> = writes
        .iter()
        .map(|write| {
            assert!(Inventory::STATEMENTS.contains(&write.text));
            let words: Vec<_> = write.text.split_whitespace().collect();
            match words.iter().position(|word| *word == "UPDATE") {
                Some(update) => format!("update {}", words[update + 1]),
                None => format!("insert {}", words[2]),
            }
        })
        .collect();
    assert_eq!(
        verbs,
        [
            "insert reservations",
            "insert reservation_items",
            "insert stock",
            "update stock"
        ]
    );
}
