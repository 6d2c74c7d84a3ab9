//! What Kafka clients send and receive, from librdkafka's own statistics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use rdkafka::Statistics;

/// How often librdkafka reports; `KAFKA_PROPERTIES` may say otherwise.
pub(crate) const STATISTICS_INTERVAL_MS: &str = "5000";

const REQUESTS: &str = "saga_kafka_requests_total";
const BYTES: &str = "saga_kafka_bytes_total";
const TAKEN: &str = "saga_kafka_statistics_timestamp_seconds";

/// Names and units, for `/metrics`.
pub(crate) fn describe() {
    describe_counter!(
        REQUESTS,
        "Requests sent to Kafka's brokers, by client (consumer, producer, bulk producer, lane) and type"
    );
    describe_counter!(
        BYTES,
        "Bytes exchanged with Kafka's brokers, by client and direction (sent, received)"
    );
    describe_gauge!(
        TAKEN,
        "When a client's figures above were taken, in seconds since 1970, by client"
    );
}

/// One client. Its totals begin at zero whenever it is made anew; the metrics do not.
pub(crate) struct Traffic {
    client: &'static str,
    before: Mutex<BTreeMap<String, u64>>,
}

impl Traffic {
    pub(crate) fn of(client: &'static str) -> Self {
        Self {
            client,
            before: Mutex::default(),
        }
    }

    /// Adds what is new in these totals.
    pub(crate) fn tell(&self, statistics: &Statistics) {
        let mut requests: BTreeMap<&str, u64> = BTreeMap::new();
        for (kind, sent) in statistics.brokers.values().flat_map(|broker| &broker.req) {
            *requests.entry(kind).or_default() += u64::try_from(*sent).unwrap_or(0);
        }
        for (kind, total) in requests.into_iter().filter(|(_, total)| *total > 0) {
            let more = self.more(kind, total);
            counter!(REQUESTS, "client" => self.client, "request" => kind.to_owned())
                .increment(more);
        }
        for (direction, total) in [
            ("sent", statistics.tx_bytes),
            ("received", statistics.rx_bytes),
        ] {
            let more = self.more(direction, u64::try_from(total).unwrap_or(0));
            counter!(BYTES, "client" => self.client, "direction" => direction).increment(more);
        }
        gauge!(TAKEN, "client" => self.client).set(Timestamp::now().as_duration().as_secs_f64());
    }

    fn more(&self, of: &str, total: u64) -> u64 {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        let last = before.insert(of.to_owned(), total).unwrap_or(0);
        total.saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::statistics::Broker;

    fn statistics(fetches: &[i64], sent: i64) -> Statistics {
        let brokers = fetches.iter().enumerate().map(|(id, fetches)| {
            let broker = Broker {
                req: [("Fetch".to_owned(), *fetches), ("Heartbeat".to_owned(), 0)].into(),
                ..Broker::default()
            };
            (id.to_string(), broker)
        });
        Statistics {
            brokers: brokers.collect(),
            tx_bytes: sent,
            ..Statistics::default()
        }
    }

    #[test]
    fn totals_of_all_brokers_are_counted_once_and_a_new_client_goes_on() {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            let first = Traffic::of("consumer");
            first.tell(&statistics(&[3, 4], 100));
            first.tell(&statistics(&[5, 4], 150));
            Traffic::of("consumer").tell(&statistics(&[2], 10));
        });
        let text = recorder.handle().render();
        let has = |line: &str| text.lines().any(|found| found == line);
        assert!(
            has(r#"saga_kafka_requests_total{client="consumer",request="Fetch"} 11"#),
            "{text}"
        );
        assert!(
            has(r#"saga_kafka_bytes_total{client="consumer",direction="sent"} 160"#),
            "{text}"
        );
        assert!(!text.contains("Heartbeat"), "{text}");
    }
}
