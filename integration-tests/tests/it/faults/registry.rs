//! A schema registry that is away: what is known goes on, the rest waits.

use contracts::messages::CartCheckedOut;
use contracts::{RecordType, Registry, Topic};
use integration_tests::carts::cart;
use integration_tests::load::Load;
use integration_tests::{Network, Options, Outcome, PATIENCE, SERVICES, System, product};

const LOAD: Load = Load {
    carts: 60,
    rate: 15.0,
    seed: 1,
    products: 4,
};

/// The body of `/readyz`, where the service answers at all.
async fn readiness(system: &System, service: &str) -> Option<(u16, String)> {
    let url = system.url(service, "/readyz").await;
    let response = system.http.get(url).send().await.ok()?;
    Some((response.status().as_u16(), response.text().await.ok()?))
}

#[tokio::test(flavor = "multi_thread")]
async fn services_that_start_without_a_registry_wait_for_it_and_say_so() {
    let options = Options {
        proxies: true,
        ..Options::default()
    };
    let system = System::start("registry_at_start", options).await;
    let sku = product();
    system.set_stock(&sku, 1_000).await;
    for service in SERVICES {
        system.stop(service).await;
    }
    system.proxies().registry.set(Network::Down);
    for service in SERVICES {
        system
            .with_instance(service, 0, async |instance| {
                instance.process.start_again().await.expect("it starts");
            })
            .await;
    }
    let carts: Vec<CartCheckedOut> = (0..30).map(|_| cart(&sku, 1, 700)).collect();
    system.publish_all(&carts.iter().collect::<Vec<_>>()).await;
    for service in SERVICES {
        system
            .until(&format!("{service} is not ready"), async || {
                let Some((status, body)) = readiness(&system, service).await else {
                    return false;
                };
                assert_eq!(status, 503, "{service} is ready without schemas: {body}");
                body.contains("schema ids not resolved yet")
            })
            .await;
        system
            .until_logged(service, "schema ids are not resolved; trying again")
            .await;
        // The first letter would come as a surprise if it began to count by then.
        let exposed = system.get_text(service, "/metrics").await;
        let letters = exposed
            .lines()
            .filter(|line| line.starts_with("saga_dead_letters_total{"));
        let counts: Vec<_> = letters.map(|line| line.ends_with(" 0")).collect();
        assert!(
            !counts.is_empty() && counts.iter().all(|none| *none),
            "dead letters are counted from 0: {exposed}"
        );
        let url = system.proxies().registry.address();
        assert!(
            system.log(service, 0).await.contains(&url),
            "it names {url}"
        );
    }
    for cart in &carts {
        assert!(system.recorder.of_cart(cart.cart_id).len() == 1, "it waits");
    }

    system.proxies().registry.set(Network::Up);
    for service in SERVICES {
        system
            .with_instance(service, 0, async |instance| {
                instance.wait_ready(PATIENCE).await.expect("ready");
            })
            .await;
    }
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn known_schemas_go_on_without_the_registry_and_a_new_one_waits() {
    let options = Options {
        proxies: true,
        ..Options::default()
    };
    let system = System::start("registry_at_run_time", options).await;
    // A record of every kind is yet to come: what the services were built with,
    // they must know from the start.
    system.proxies().registry.set(Network::Down);
    let carts = system.load(LOAD).await;
    system.assert_settled(&carts).await;

    // Somebody else publishes with a schema of his own.
    let registry = Registry::new(&system.registry).expect("a client");
    let subject = system.names.subject(RecordType::CartCheckedOut);
    let mut schema: serde_json::Value =
        serde_json::from_str(RecordType::CartCheckedOut.schema_json()).expect("JSON");
    let wrapping = serde_json::json!({"name": "giftWrap", "type": "boolean", "default": false});
    let fields = schema["fields"].as_array_mut().expect("fields");
    fields.push(wrapping);
    let id = registry
        .register(&subject, &schema.to_string())
        .await
        .expect("compatible");
    let sku = product();
    system.set_stock(&sku, 10).await;
    let unknown = cart(&sku, 1, 700);
    let mut value = system.encode(&unknown.clone().into());
    value[1..5].copy_from_slice(&id.to_be_bytes());
    value.push(1);
    let key = unknown.cart_id.to_string();
    system
        .publish_raw(
            Topic::ShoppingCheckouts,
            Some(key.as_bytes()),
            Some(&value),
            &[],
        )
        .await;
    system
        .until_logged("orchestrator", "the schema registry is not available")
        .await;
    system.record(&unknown, RecordType::CartCheckedOut).await;
    assert_eq!(
        system.recorder.of_cart(unknown.cart_id).len(),
        1,
        "nothing but the request itself"
    );
    system.assert_no_dead_letters();

    system.proxies().registry.set(Network::Up);
    assert!(matches!(
        system.outcome(&unknown).await,
        Outcome::Created(_)
    ));
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}
