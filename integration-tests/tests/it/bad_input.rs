//! Input that is wrong in every way that a topic allows. Each ends as the
//! contract says, and the carts beside it flow on.

use contracts::ids::{CheckoutId, CommandId, GenericUuid, OrderId, ReservationId};
use contracts::messages::{
    CartCheckedOut, CartItem, FailureReason, InventoryReserved, OrderRecorded, RejectionReason,
    ReleaseInventory, ReleaseReason, ReservationItem, ReserveInventory,
};
use contracts::{DLQ_CODE, DLQ_DETAIL, DLQ_HEADERS, DLQ_OFFSET, DLQ_TOPIC};
use contracts::{Message, RecordType, Topic};
use jiff::Timestamp;
use uuid::Uuid;

use integration_tests::carts::{again, cart};
use integration_tests::{Holdings, Options, Outcome, Seen, System, product};

/// Fails unless a dead letter of `shopping.checkouts` has this code and is otherwise what
/// was published.
fn assert_unchanged(
    system: &System,
    dead: &Seen,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[(&str, &[u8])],
    code: &str,
) {
    assert_eq!(dead.payload.as_deref(), value, "the bytes are unchanged");
    assert_eq!(dead.key.as_deref(), key, "the key is unchanged");
    let published: Vec<(&str, &[u8])> = dead
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with(DLQ_HEADERS))
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    assert_eq!(published, headers, "the headers are unchanged");
    assert_eq!(dead.header(DLQ_CODE).as_deref(), Some(code));
    assert_eq!(
        dead.header(DLQ_TOPIC).as_deref(),
        Some(system.names.name(Topic::ShoppingCheckouts))
    );
    assert!(dead.header(DLQ_OFFSET).is_some());
    assert!(dead.header(DLQ_DETAIL).is_some_and(|text| !text.is_empty()));
}

/// Publishes `key` and `value` on `shopping.checkouts`, expects them in its
/// dead-letter topic with this code and unchanged, and a good cart behind them
/// to be ordered.
async fn dies_alone(key: Option<&[u8]>, value: Option<&[u8]>, code: &str) {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 1).await;
    let marker = Uuid::new_v4().to_string();
    let headers = [("marker", marker.as_bytes())];
    system
        .publish_raw(Topic::ShoppingCheckouts, key, value, &headers)
        .await;
    let good = cart(&sku, 1, 700);
    system.publish(&good).await;

    let dead = system.dead_letter(Topic::ShoppingCheckouts, &marker).await;
    assert_unchanged(system, &dead, key, value, &headers, code);
    assert!(matches!(system.outcome(&good).await, Outcome::Created(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_bytes() {
    dies_alone(Some(b"key"), Some(b"{\"cartId\": 1}"), "NOT_FRAMED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_schema_id() {
    let value = [0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3];
    dies_alone(Some(b"key"), Some(&value), "UNKNOWN_SCHEMA_ID").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_id_that_no_registry_gives() {
    let value = [0, 0x80, 0, 0, 0, 1, 2, 3];
    dies_alone(Some(b"key"), Some(&value), "UNKNOWN_SCHEMA_ID").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_value() {
    dies_alone(Some(b"key"), None, "NULL_VALUE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_one_megabyte() {
    let value = vec![7_u8; 1_000_000];
    dies_alone(Some(b"key"), Some(&value), "NOT_FRAMED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datum_that_ends_early() {
    let system = System::shared().await;
    let value = system.encode(&cart(&product(), 1, 700).into());
    dies_alone(
        Some(b"key"),
        Some(&value[..value.len() - 3]),
        "UNDECODABLE_DATUM",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_id_on_the_wrong_topic() {
    let system = System::shared().await;
    let reply = OrderRecorded {
        command_id: CommandId::from_untyped_uuid(Uuid::new_v4()),
        checkout_id: CheckoutId::from_untyped_uuid(Uuid::new_v4()),
        cart_id: cart("x", 1, 1).cart_id,
        order_id: OrderId::from_untyped_uuid(Uuid::new_v4()),
        recorded_at: Timestamp::now(),
    };
    let value = system.encode(&reply.into());
    dies_alone(Some(b"key"), Some(&value), "WRONG_RECORD_FOR_TOPIC").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_key_is_no_fault() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 1, 700);
    let value = system.encode(&cart.clone().into());
    system
        .publish_raw(Topic::ShoppingCheckouts, None, Some(&value), &[])
        .await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));
}

/// A header that is no text.
const BYTES: &[u8] = &[0, 0xff];

/// The parts of batches in which carts were taken in, in the order of their records: the
/// time of the batch, and the carts that were committed in one transaction. An entry of the
/// history is never changed, so its row tells which transaction wrote it.
const PARTS: &str = "
SELECT at::text, count(*) FROM saga_transitions
WHERE record_type = 'shopping.CartCheckedOut'
GROUP BY at, xmin::text ORDER BY min(record_offset)";

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_database_refuses_is_found_by_halving_its_batch_and_dies_alone() {
    let system = System::start("halved", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 20).await;
    // All in one partition, and there before the orchestrator is: it reads them at once,
    // and nothing else with them.
    system.wait_consumed().await;
    system.stop("orchestrator").await;
    let mut carts: Vec<_> = (0..11).map(|_| cart(&sku, 1, 700)).collect();
    let key: Option<&[u8]> = Some(b"one partition");
    for cart in &carts {
        let value = system.encode(&cart.clone().into());
        let marker = cart.cart_id.to_string();
        let headers = [("marker", marker.as_bytes()), ("bytes", BYTES)];
        system
            .publish_raw(Topic::ShoppingCheckouts, key, Some(&value), &headers)
            .await;
    }
    let bad = carts.remove(5);
    let id = bad.cart_id.to_string();
    let refuse = format!("ALTER TABLE sagas ADD CONSTRAINT not_this_one CHECK (cart_id <> '{id}')");
    system.execute("orchestrator", &refuse).await;
    system.start_service("orchestrator").await;

    let dead = system.dead_letter(Topic::ShoppingCheckouts, &id).await;
    let value = system.encode(&bad.clone().into());
    let headers = [("marker", id.as_bytes()), ("bytes", BYTES)];
    let code = "DATABASE_REJECTED";
    assert_unchanged(&system, &dead, key, Some(&value), &headers, code);
    let why = dead.header(DLQ_DETAIL).expect("a reason");
    assert!(why.contains("23514, not_this_one"), "{why}");
    for cart in &carts {
        assert!(matches!(system.outcome(cart).await, Outcome::Created(_)));
    }

    // One batch. Its first five went well. The other six began with the bad one, and were
    // halved again and again: the two behind it, and the last three.
    let parts = system.query("orchestrator", PARTS, &[]).await;
    let parts: Vec<(String, i64)> = parts.iter().map(|row| (row.get(0), row.get(1))).collect();
    let at = parts[0].0.clone();
    let expected = [5, 2, 3].map(|carts| (at.clone(), carts));
    assert_eq!(parts, expected);

    // No other record is a dead letter, and nothing was done for the bad one.
    let of_bad = Some(bad.cart_id);
    system
        .assert_settled_but(&carts, move |letter| {
            let cart = letter.message.as_ref().and_then(Message::cart_id);
            letter.code == code && cart == of_bad
        })
        .await;
    let (letters, rejected) = ("saga_dead_letters_total", format!("code=\"{code}\""));
    let counted = system.counted("orchestrator", 0, letters, &rejected);
    assert_eq!(counted.await, 1.0);
    system
        .until_logged("orchestrator", "a record could not be handled; it is on")
        .await;
    assert_eq!(system.holdings(&bad).await, Holdings::default());
    assert_eq!(system.stock(&sku).await, (20, 10));
    let status = format!("/checkouts/{id}");
    assert_eq!(system.get_status("orchestrator", &status).await, 404);
}

/// Publishes a cart that decodes but makes no sense.
async fn is_invalid(change: impl FnOnce(&mut CartCheckedOut), names: &str) {
    let system = System::shared().await;
    let mut cart = cart(&product(), 2, 700);
    change(&mut cart);
    system.publish(&cart).await;
    let Outcome::Failed(failed) = system.outcome(&cart).await else {
        panic!("it did not fail");
    };
    assert_eq!(failed.reason, FailureReason::InvalidCart);
    assert!(
        failed.detail.contains(names),
        "«{}» does not name {names}",
        failed.detail
    );
    assert_eq!(system.holdings(&cart).await, Holdings::default());
    system.assert_one_outcome(&cart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_without_items() {
    is_invalid(|cart| cart.items.clear(), "items").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_no_database_can_store_is_an_invalid_cart() {
    // PostgreSQL cannot store the character U+0000; it is never asked to.
    is_invalid(
        |cart| cart.items[0].product_id = "nul\u{0}character".to_owned(),
        "productId",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quantity_of_zero() {
    is_invalid(
        |cart| {
            cart.items[0].quantity = 0;
            cart.total = 0;
        },
        "quantity",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_quantity() {
    is_invalid(
        |cart| {
            cart.items[0].quantity = -2;
            cart.total = -1_400;
        },
        "quantity",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_negative_price() {
    is_invalid(
        |cart| {
            cart.items[0].unit_price = -700;
            cart.total = -1_400;
        },
        "unitPrice",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_that_overflows() {
    is_invalid(|cart| cart.items[0].unit_price = i64::MAX, "unitPrice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_that_overflows() {
    is_invalid(
        |cart| {
            let item = CartItem {
                product_id: product(),
                quantity: 1,
                unit_price: i64::MAX - 1,
            };
            cart.items = vec![item.clone(), item];
            cart.total = i64::MAX;
        },
        "",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_that_is_not_the_sum() {
    is_invalid(|cart| cart.total += 1, "total").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_currency() {
    is_invalid(|cart| cart.currency = "XQQ".into(), "currency").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_checkout_of_a_cart_in_flight() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let first = cart(&sku, 1, 700);
    let second = again(&first);
    // One producer, one key, one partition: the second is read while the first
    // is under way, or in the same batch.
    system.publish_all(&[&first, &second]).await;
    let Outcome::Rejected(rejected) = system.outcome(&second).await else {
        panic!("it was not rejected");
    };
    assert!(matches!(
        rejected.reason,
        RejectionReason::CheckoutInProgress | RejectionReason::AlreadyOrdered
    ));
    assert_eq!(
        rejected.current_checkout_id.into_untyped_uuid(),
        first.event_id.into_untyped_uuid()
    );
    assert!(matches!(system.outcome(&first).await, Outcome::Created(_)));
    system.assert_one_outcome(&first).await;
    system.assert_one_outcome(&second).await;
    assert_eq!(system.stock(&sku).await, (5, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_for_an_unknown_cart_changes_nothing() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 1).await;
    let unknown = cart(&sku, 1, 700);
    system
        .publish_message(&reserved(&unknown, CommandId::from_untyped_uuid(Uuid::new_v4())).into())
        .await;
    // A cart with the same key is in the same partitions, so it comes after.
    let good = cart(&sku, 1, 700);
    system.publish(&good).await;
    assert!(matches!(system.outcome(&good).await, Outcome::Created(_)));
    assert_eq!(system.recorder.of_cart(unknown.cart_id).len(), 1);
    assert_eq!(
        system
            .get_status("orchestrator", &format!("/checkouts/{}", unknown.cart_id))
            .await,
        404
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_with_a_foreign_command_id_changes_nothing() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 5, 700);
    // "Reserved", says somebody, while inventory says that there is not enough.
    system.publish(&cart).await;
    system
        .publish_message(&reserved(&cart, CommandId::from_untyped_uuid(Uuid::new_v4())).into())
        .await;
    let Outcome::Failed(failed) = system.outcome(&cart).await else {
        panic!("a foreign reply was believed");
    };
    assert_eq!(failed.reason, FailureReason::OutOfStock);
    system.quiesce(&cart).await;
    assert!(
        !system
            .recorder
            .of_cart(cart.cart_id)
            .iter()
            .any(|message| message.record_type() == RecordType::AuthorizePayment)
    );
}

fn reserved(cart: &CartCheckedOut, command_id: CommandId) -> InventoryReserved {
    InventoryReserved {
        command_id,
        checkout_id: contracts::ids::checkout_id(cart.event_id),
        cart_id: cart.cart_id,
        reservation_id: ReservationId::from_untyped_uuid(Uuid::new_v4()),
        items: Vec::new(),
        reserved_at: Timestamp::now(),
        expires_at: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_before_its_reserve_leaves_a_tombstone() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let cart = cart(&sku, 1, 700);
    let checkout_id = contracts::ids::checkout_id(cart.event_id);
    let command = |record| contracts::ids::command_id(checkout_id, record);
    let release = ReleaseInventory {
        command_id: command(RecordType::ReleaseInventory),
        checkout_id,
        cart_id: cart.cart_id,
        reservation_id: None,
        reason: ReleaseReason::CheckoutFailed,
    };
    let reserve = ReserveInventory {
        command_id: command(RecordType::ReserveInventory),
        checkout_id,
        cart_id: cart.cart_id,
        customer_id: None,
        items: vec![ReservationItem {
            product_id: sku.clone(),
            quantity: 1,
        }],
    };
    system.publish_message(&release.into()).await;
    system.publish_message(&reserve.into()).await;
    let replies = system
        .recorder
        .wait_for("two replies", |seen| {
            let mut replies: Vec<Message> = seen
                .iter()
                .filter_map(|seen| seen.message.clone())
                .filter(|message| {
                    message.cart_id() == Some(cart.cart_id)
                        && message.record_type().topic() == Topic::InventoryEvents
                })
                .collect();
            // Each is in another partition.
            replies.sort_by_key(|reply| reply.record_type() != RecordType::InventoryReleased);
            (replies.len() == 2).then_some(replies)
        })
        .await;
    assert_eq!(replies[0].record_type(), RecordType::InventoryReleased);
    assert_eq!(replies[1].record_type(), RecordType::InventoryUnavailable);
    assert_eq!(system.stock(&sku).await, (5, 0));
    assert_eq!(
        system.holdings(&cart).await,
        Holdings::new(Some("RELEASED"), None, None)
    );
}
