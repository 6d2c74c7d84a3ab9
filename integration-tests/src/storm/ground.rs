//! What a storm strikes: the system, on parts of its own, and a payment gateway.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::Scene;
use crate::gateway::{Gateway, Misbehaviour};
use crate::{EVERY, Options, System};

/// Faults that last for seconds have to be noticed within seconds.
const ENVIRONMENT: &[(&str, &str, &str)] = &[
    // A participant that is late by some seconds is given up, and its brake closes
    // later than that.
    ("orchestrator", "REPLY_WAIT_FIRST_MS", "500"),
    ("orchestrator", "REPLY_WAIT_MAX_MS", "1500"),
    ("orchestrator", "REPLY_TRIES", "3"),
    (EVERY, "DATABASE_TIMEOUT_MS", "2000"),
    (EVERY, "KAFKA_PROPERTIES", REFRESH),
    ("payment", "PAYMENT_GATEWAY", "stripe"),
    ("payment", "STRIPE_API_KEY", "sk_test_of_the_storm"),
    ("payment", "GATEWAY_TIMEOUT_MS", "1000"),
    ("payment", "GATEWAY_RETRY_MS", "100"),
];
/// New partitions are found so soon.
const REFRESH: &str = "topic.metadata.refresh.interval.ms=1000";

/// What a storm strikes.
pub struct Ground {
    /// The system, on parts of its own.
    pub system: System,
    /// The payment gateway that its payment service asks.
    pub gateway: Gateway,
}

impl Ground {
    /// Starts everything. The recorder remembers at least so many of the newest records.
    pub async fn start(name: &str, scene: Scene, remember: usize) -> Self {
        let gateway = Gateway::start(Misbehaviour::None).await;
        let options = Options {
            instances: u16::try_from(scene.instances).unwrap_or(u16::MAX),
            own_brokers: u16::try_from(scene.brokers).unwrap_or(u16::MAX),
            own_registry: true,
            environment: ENVIRONMENT,
            proxies: true,
            remember,
            ..Options::default()
        };
        let address = vec![("payment", "STRIPE_URL", gateway.url.clone())];
        Self {
            system: System::start_with(name, options, address).await,
            gateway,
        }
    }

    /// Where the gateway's books and those of the payment service differ.
    pub(super) async fn differences(&self) -> Vec<String> {
        let sql = "SELECT checkout_id, amount FROM authorizations WHERE state = 'AUTHORIZED'";
        let rows = self.system.query("payment", sql, &[]).await;
        let known: BTreeSet<(Uuid, i64)> =
            rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        let mut held = BTreeSet::new();
        let mut differences = Vec::new();
        for hold in self.gateway.holds() {
            if !held.insert(hold) || !known.contains(&hold) {
                let (checkout, amount) = hold;
                let what = format!("checkout {checkout}: the gateway holds {amount} in vain");
                differences.push(what);
            }
        }
        let missing = known.difference(&held);
        differences.extend(missing.map(|(checkout, amount)| {
            format!("checkout {checkout}: the gateway does not hold {amount}")
        }));
        differences
    }
}
