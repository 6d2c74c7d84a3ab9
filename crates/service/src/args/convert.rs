//! From flags to the settings of the other crates.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use contracts::{RegistryConfig, TopicNames};
use runtime::{KafkaSettings, Settings};

use super::{CommonArgs, HttpArgs};

impl CommonArgs {
    /// The settings of the message loop of the service of this name.
    pub(crate) fn settings(&self, service: &str) -> Settings {
        let limits = &self.limits;
        Settings {
            max_batch_records: limits.max_batch_records as usize,
            bulk_from_records: limits.bulk_from_records as usize,
            bulk_linger: Duration::from_millis(limits.bulk_linger_ms),
            max_cached_rows: limits.max_cached_rows as usize,
            max_unacknowledged_records: limits.max_unacknowledged_records as usize,
            max_message_bytes: limits.max_message_bytes as usize,
            public_transactions: limits.public_transactions,
            transaction_timeout: Duration::from_millis(limits.transaction_timeout_ms),
            transaction_gather: Duration::from_millis(limits.transaction_gather_ms),
            transaction_warn_after: Duration::from_millis(limits.transaction_warn_after_ms),
            readers_check_interval: Duration::from_millis(limits.readers_check_interval_ms),
            timer_tick: Duration::from_millis(limits.timer_tick_ms),
            settle_after: Duration::from_millis(limits.settle_after_ms),
            offset_commit_interval: Duration::from_millis(limits.offset_commit_interval_ms),
            max_calls_running: limits.max_calls_running as usize,
            max_calls_waiting: limits.max_calls_waiting as usize,
            database_timeout: Duration::from_millis(self.database.database_timeout_ms),
            backoff_first: Duration::from_millis(limits.backoff_first_ms),
            backoff_max: Duration::from_millis(limits.backoff_max_ms),
            drain_timeout: Duration::from_millis(limits.drain_timeout_ms),
            session_timeout: Duration::from_millis(limits.session_timeout_ms),
            rejoin_timeout: Duration::from_millis(limits.rejoin_timeout_ms),
            delivery_timeout: Duration::from_millis(limits.delivery_timeout_ms),
            prefetch_bytes: limits.prefetch_bytes as usize,
            export_traces: self.telemetry.otlp_endpoint.is_some(),
            ..Settings::new(self.kafka_settings(service))
        }
    }

    fn kafka_settings(&self, service: &str) -> KafkaSettings {
        let prefix = &self.kafka.topic_prefix;
        KafkaSettings {
            bootstrap_servers: self.kafka.kafka_bootstrap_servers.clone(),
            group_id: self
                .kafka
                .consumer_group
                .clone()
                .unwrap_or_else(|| format!("{prefix}checkout-{service}")),
            client_id: format!("checkout-{service}"),
            properties: self.kafka_properties(),
        }
    }

    /// The further properties, `NAME=VALUE` taken apart; validation has refused those
    /// that are not of this form.
    fn kafka_properties(&self) -> Vec<(String, String)> {
        self.kafka
            .kafka_properties
            .iter()
            .filter_map(|property| property.trim().split_once('='))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect()
    }

    /// The topics of this installation.
    pub(crate) fn topic_names(&self) -> TopicNames {
        TopicNames::new(&self.kafka.topic_prefix)
    }

    /// How to reach the registry.
    pub(crate) fn registry_config(&self) -> RegistryConfig {
        let registry = &self.registry;
        RegistryConfig {
            urls: registry
                .schema_registry_url
                .iter()
                .map(|url| url.trim().trim_end_matches('/').to_owned())
                .filter(|url| !url.is_empty())
                .collect(),
            timeout: Duration::from_millis(registry.schema_registry_timeout_ms),
            basic_auth: registry.schema_registry_user.clone().map(|user| {
                (
                    user,
                    registry
                        .schema_registry_password
                        .clone()
                        .unwrap_or_default(),
                )
            }),
            ..RegistryConfig::default()
        }
    }

    /// Where the service of this name serves HTTP.
    pub(crate) fn http_address(&self, service: &str) -> SocketAddr {
        address(&self.http, service)
    }
}

/// Where the program of this name serves HTTP.
pub(crate) fn address(http: &HttpArgs, program: &str) -> SocketAddr {
    let usual = || SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), own_port(program));
    http.http_listen.unwrap_or_else(usual)
}

/// The port of a service where none is configured; a free one for a name not known here.
fn own_port(service: &str) -> u16 {
    match service {
        "console" => 8090,
        "orchestrator" => 8080,
        "inventory" => 8081,
        "payment" => 8082,
        "order" => 8083,
        _ => 0,
    }
}
