//! The flow as a cart service, a customer and a downstream team see it.

use contracts::messages::{FailureReason, RejectionReason};
use flow::Step;

use integration_tests::carts::{again, cart};
use integration_tests::{Holdings, Outcome, System, product};

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_becomes_one_order_with_its_stock_and_its_money() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 10).await;
    let cart = cart(&sku, 3, 1_200);
    system.publish(&cart).await;

    let Outcome::Created(order) = system.outcome(&cart).await else {
        panic!("no order");
    };
    assert_eq!(order.cart_id, cart.cart_id);
    assert_eq!(order.customer_id, cart.customer_id);
    assert_eq!((order.total, order.currency.as_str()), (3_600, "EUR"));
    assert_eq!(order.items.len(), 1);
    assert_eq!(
        (order.items[0].sku.as_str(), order.items[0].quantity),
        (sku.as_str(), 3)
    );
    assert_eq!(
        system.holdings(&cart).await,
        Holdings::new(Some("RESERVED"), Some("AUTHORIZED"), Some("RECORDED"))
    );
    assert_eq!(system.stock(&sku).await, (10, 3));
    let status = system.status(&cart).await;
    assert_eq!(status["orderId"], order.order_id.to_string());
    let served = system
        .get_json("order", &format!("/orders/{}", order.order_id))
        .await;
    assert_eq!(served["total"], 3_600);
    system.assert_one_outcome(&cart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_out_of_stock_fails_and_holds_nothing() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 2).await;
    let cart = cart(&sku, 3, 1_200);
    system.publish(&cart).await;

    let Outcome::Failed(failed) = system.outcome(&cart).await else {
        panic!("it did not fail");
    };
    assert_eq!(failed.reason, FailureReason::OutOfStock);
    assert_eq!(failed.unavailable_items[0].product_id, sku);
    assert_eq!(failed.unavailable_items[0].available, 2);
    assert_eq!(
        system.holdings(&cart).await,
        Holdings::new(Some("UNAVAILABLE"), None, None)
    );
    assert_eq!(system.stock(&sku).await, (2, 0));
    system.assert_one_outcome(&cart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_payment_gives_the_stock_back() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    // 51 in the last two digits: insufficient funds at the simulated gateway.
    let cart = cart(&sku, 1, 1_051);
    system.publish(&cart).await;

    let Outcome::Failed(failed) = system.outcome(&cart).await else {
        panic!("it did not fail");
    };
    assert_eq!(failed.reason, FailureReason::PaymentDeclined);
    assert_eq!(
        system.holdings(&cart).await,
        Holdings::new(Some("RELEASED"), Some("DECLINED"), None)
    );
    assert_eq!(system.stock(&sku).await, (5, 0));
    system.assert_one_outcome(&cart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_twice_is_one_checkout() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    system.publish(&cart).await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));
    system.publish(&cart).await;
    system.quiesce(&cart).await;
    system.assert_one_outcome(&cart).await;
    assert_eq!(system.stock(&sku).await, (5, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_checkout_of_an_ordered_cart_is_rejected_and_disturbs_nothing() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let first = cart(&sku, 1, 700);
    system.publish(&first).await;
    assert!(matches!(system.outcome(&first).await, Outcome::Created(_)));

    let second = again(&first);
    system.publish(&second).await;
    let Outcome::Rejected(rejected) = system.outcome(&second).await else {
        panic!("it was not rejected");
    };
    assert_eq!(rejected.reason, RejectionReason::AlreadyOrdered);
    // Delivered again, the rejected event stays rejected, without a word.
    system.publish(&second).await;
    system.quiesce(&first).await;
    system.assert_one_outcome(&first).await;
    system.assert_one_outcome(&second).await;
    assert_eq!(system.stock(&sku).await, (5, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_cart_may_be_checked_out_again() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 0).await;
    let first = cart(&sku, 1, 700);
    system.publish(&first).await;
    assert!(matches!(system.outcome(&first).await, Outcome::Failed(_)));

    system.set_stock(&sku, 1).await;
    let second = again(&first);
    system.publish(&second).await;
    assert!(matches!(system.outcome(&second).await, Outcome::Created(_)));
    // The event of the failed attempt, delivered late, starts nothing.
    system.publish(&first).await;
    system.quiesce(&first).await;
    system.assert_one_outcome(&first).await;
    system.assert_one_outcome(&second).await;
    assert_eq!(system.stock(&sku).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn carts_that_compete_for_the_last_pieces_never_oversell() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 7).await;
    let carts: Vec<_> = (0..20).map(|_| cart(&sku, 1, 700)).collect();
    for cart in &carts {
        system.publish(cart).await;
    }
    let mut created = 0;
    for cart in &carts {
        created += usize::from(matches!(system.outcome(cart).await, Outcome::Created(_)));
    }
    assert_eq!(created, 7);
    assert_eq!(system.stock(&sku).await, (7, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_runs_through_every_hop() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 1, 700);
    let trace = contracts::TraceContext::new_root();
    system.publish_traced(&cart, &trace).await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));
    let what = "CartCheckedOut, a command and a reply of each step, OrderCreated";
    let records = system
        .recorder
        .wait_for(what, |seen| {
            let of_cart = seen.iter().filter(|seen| {
                seen.message.as_ref().and_then(contracts::Message::cart_id) == Some(cart.cart_id)
            });
            let mut records: Vec<_> = of_cart.cloned().collect();
            // A command that was sent again counts once.
            records.sort_by_key(|record| record.header("ce_id"));
            records.dedup_by_key(|record| record.header("ce_id"));
            (records.len() == 2 + 2 * Step::ALL.len()).then_some(records)
        })
        .await;
    system.assert_traced(&cart, &trace);
    for record in &records {
        assert_eq!(
            record.key.as_deref(),
            Some(cart.cart_id.to_string().as_bytes())
        );
        assert_eq!(record.header("ce_specversion").as_deref(), Some("1.0"));
    }
}
