//! Older and newer versions of the services on the same databases.

use integration_tests::carts::cart;
use integration_tests::{Options, Outcome, SERVICES, System, product};

/// As after a newer version was there, and as during an upgrade instance by instance.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_starts_on_a_database_that_a_newer_one_has_migrated() {
    let system = System::start("newer_migrations", Options::default()).await;
    for service in SERVICES {
        for history in ["refinery_schema_history", "runtime_schema_history"] {
            let newer = format!(
                "INSERT INTO {history} (version, name, applied_on, checksum)
                 SELECT max(version) + 1, 'newer', max(applied_on), '1' FROM {history}"
            );
            system.execute(service, &newer).await;
        }
        system.stop(service).await;
        system.start_service(service).await;
    }
    let sku = product();
    system.set_stock(&sku, 1).await;
    let cart = cart(&sku, 1, 700);
    system.publish(&cart).await;
    assert!(matches!(system.outcome(&cart).await, Outcome::Created(_)));
    system.assert_settled(&[cart]).await;
}
