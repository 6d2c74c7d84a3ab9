//! Services that are killed while carts flow. Whatever the moment, every cart
//! ends once and the databases balance.

use contracts::Message;
use contracts::messages::SagaState;
use integration_tests::carts::cart;
use integration_tests::{Options, Outcome, SERVICES, System, product};

#[tokio::test(flavor = "multi_thread")]
async fn no_cart_is_lost_or_doubled_when_services_are_killed() {
    let system = System::start("killed", Options::default()).await;
    let sku = product();
    let scarce = product();
    system.set_stock(&sku, 1_000).await;
    system.set_stock(&scarce, 20).await;

    let carts: Vec<_> = (0..240)
        .map(|number| match number % 6 {
            0 => cart(&scarce, 1, 700),
            // Insufficient funds.
            1 => cart(&sku, 1, 1_051),
            _ => cart(&sku, 1, 700),
        })
        .collect();
    // Kill one service after each part of the carts, in turn, two rounds.
    let victims: Vec<&str> = SERVICES.iter().chain(SERVICES).copied().collect();
    let part = carts.len() / victims.len();
    for (victim, carts) in victims.iter().zip(carts.chunks(part)) {
        for cart in carts {
            system.publish(cart).await;
        }
        // Some of them are under way now.
        let first = &carts[0];
        system
            .recorder
            .wait_for("a cart under way", |seen| {
                seen.iter()
                    .any(|seen| {
                        seen.message.as_ref().is_some_and(|message| {
                            message.cart_id() == Some(first.cart_id)
                                && message.command_id().is_some()
                        })
                    })
                    .then_some(())
            })
            .await;
        system.kill(victim).await;
        system.start_service(victim).await;
    }
    let mut created = 0;
    for cart in &carts {
        match system.outcome(cart).await {
            Outcome::Created(_) => created += 1,
            Outcome::Failed(_) => {}
            Outcome::Rejected(rejected) => panic!("{rejected:?}"),
        }
    }
    assert_eq!(
        created,
        160 + 20,
        "all but the declined and those that found no stock"
    );
    system.assert_outcomes_once(&carts);
    system.assert_settled(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outsiders_read_each_outcome_once_however_often_the_orchestrator_dies() {
    let system = System::start("public_once", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 1_000).await;
    let mut carts = Vec::new();
    for _ in 0..4 {
        let wave: Vec<_> = (0..10).map(|_| cart(&sku, 1, 700)).collect();
        system.publish_all(&wave.iter().collect::<Vec<_>>()).await;
        // The first outcomes are out, and their row still holds them: whoever
        // takes over must know that they are.
        system.outcome(&wave[0]).await;
        system.kill("orchestrator").await;
        system.start_service("orchestrator").await;
        carts.extend(wave);
    }
    for cart in &carts {
        assert!(matches!(system.outcome(cart).await, Outcome::Created(_)));
    }
    system.assert_outcomes_once(&carts);
    system.assert_settled(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_published_again_does_not_come_after_a_newer_one() {
    // What is published stays stored until the partition's next batch.
    let options = Options {
        environment: &[("orchestrator", "SETTLE_AFTER_MS", "600000")],
        ..Options::default()
    };
    let system = System::start("snapshots", options).await;
    let sku = product();
    system.set_stock(&sku, 10).await;
    let declined = cart(&sku, 1, 1_051);
    system.publish(&declined).await;
    // The first is stored with the reply of the payment, the last with that of the
    // inventory, whose partitions are taken over first.
    system.snapshot(&declined, SagaState::Compensating).await;
    system.snapshot(&declined, SagaState::Failed).await;
    system.kill("orchestrator").await;
    let settles = [("SETTLE_AFTER_MS", "100")];
    system.add_instance_with("orchestrator", &settles).await;
    // The next one has published what is stored, and a cart after it.
    let ordered = cart(&sku, 1, 700);
    system.publish(&ordered).await;
    let carts = [declined.clone(), ordered];
    system.assert_settled(&carts).await;
    let published = system.recorder.of_cart(declined.cart_id);
    let mut snapshots = published.iter().filter_map(|message| match message {
        Message::SagaSnapshot(snapshot) => Some(snapshot.state),
        _ => None,
    });
    assert_eq!(snapshots.next_back(), Some(SagaState::Failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_share_the_work_and_one_takes_over() {
    let options = Options {
        instances: 2,
        ..Options::default()
    };
    let system = System::start("two_instances", options).await;
    let sku = product();
    system.set_stock(&sku, 1_000).await;
    let carts: Vec<_> = (0..120).map(|_| cart(&sku, 1, 700)).collect();
    for cart in &carts[..60] {
        system.publish(cart).await;
    }
    for service in SERVICES {
        system.kill(service).await;
    }
    for cart in &carts[60..] {
        system.publish(cart).await;
    }
    for cart in &carts {
        assert!(matches!(system.outcome(cart).await, Outcome::Created(_)));
    }
    system.assert_outcomes_once(&carts);
    system.assert_settled(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graceful_stop_leaves_nothing_to_publish_again() {
    let system = System::start("graceful", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 10).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));
    for service in SERVICES {
        system.stop(service).await;
        let left: i64 = system
            .query(
                service,
                "SELECT count(*) FROM progress WHERE outputs <> ''",
                &[],
            )
            .await[0]
            .get(0);
        assert_eq!(left, 0, "{service} has stopped with outputs in its rows");
    }
}
