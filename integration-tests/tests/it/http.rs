//! What operators and customers read over HTTP.

use uuid::Uuid;

use integration_tests::carts::cart;
use integration_tests::{Outcome, PATIENCE, SERVICES, System, product};

#[tokio::test(flavor = "multi_thread")]
async fn every_service_is_alive_ready_and_measured() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));
    for service in SERVICES {
        assert_eq!(system.get_status(service, "/livez").await, 200, "{service}");
        system
            .until(&format!("{service} is ready"), async || {
                system.get_status(service, "/readyz").await == 200
            })
            .await;
        let metrics = system.get_text(service, "/metrics").await;
        for name in [
            "saga_inputs_total",
            "saga_batch_inputs",
            "saga_message_age_seconds",
            "saga_outputs_total",
            "saga_partitions_owned",
        ] {
            assert!(metrics.contains(name), "{service} does not measure {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_to_be_not_there() {
    let system = System::shared().await;
    let nobody = Uuid::new_v4();
    for (service, path) in [
        ("orchestrator", format!("/checkouts/{nobody}")),
        ("order", format!("/orders/{nobody}")),
        ("inventory", format!("/stock/{nobody}")),
    ] {
        assert_eq!(system.get_status(service, &path).await, 404, "{path}");
    }
    for (service, path) in [
        ("orchestrator", "/checkouts/nonsense"),
        ("order", "/orders/nonsense"),
    ] {
        assert_eq!(system.get_status(service, path).await, 400, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_can_watch_the_checkout() {
    let system = System::shared().await;
    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));
    let path = format!("/checkouts/{}/events", cart.cart_id);
    let url = system.url("orchestrator", &path).await;
    let events = tokio::time::timeout(PATIENCE, async {
        let response = system.http.get(url).send().await.expect("an answer");
        assert_eq!(
            response.headers()["content-type"].to_str().expect("text"),
            "text/event-stream"
        );
        // The stream ends by itself with the terminal status.
        response.text().await.expect("a stream")
    })
    .await
    .expect("the stream ends");
    let last = events
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .next_back()
        .expect("an event");
    let status: serde_json::Value = serde_json::from_str(last).expect("JSON");
    assert_eq!(status["cartId"], cart.cart_id.to_string());
    assert!(status["orderId"].is_string(), "{status}");
}
