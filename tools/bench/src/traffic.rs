//! What Kafka's clients send: those of the services, by their metrics, and ours.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rdkafka::consumer::ConsumerContext;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::{ClientContext, Statistics};

use crate::scrape;

/// How often clients tell what they have sent. Between two readings of a run there are
/// some of these, and telling more often would show in what is measured.
pub(crate) const STATISTICS_INTERVAL_MS: &str = "2000";

/// What one client has sent until some moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Totals {
    /// In seconds since 1970.
    at: f64,
    /// By type.
    requests: BTreeMap<String, f64>,
    /// In both directions.
    bytes: f64,
}

/// By client.
pub(crate) type Traffic = BTreeMap<String, Totals>;

/// Of one second.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rates {
    /// By type.
    pub(crate) requests: BTreeMap<String, f64>,
    /// In both directions.
    pub(crate) bytes: f64,
}

impl Totals {
    /// What this client sent in a second since an earlier moment; nothing when its
    /// figures have not been taken anew, or began again.
    fn since(&self, before: &Self) -> Rates {
        let seconds = self.at - before.at;
        if seconds <= 0.0 || before.at <= 0.0 {
            return Rates::default();
        }
        let rate = |now: f64, before: f64| (now - before).max(0.0) / seconds;
        let requests = self.requests.iter().map(|(kind, sent)| {
            let sent_before = before.requests.get(kind).copied().unwrap_or(0.0);
            (kind.clone(), rate(*sent, sent_before))
        });
        Rates {
            requests: requests.collect(),
            bytes: rate(self.bytes, before.bytes),
        }
    }
}

/// What clients sent in a second, together, those whose name begins so.
pub(crate) fn rates(before: &Traffic, after: &Traffic, of: &str) -> Rates {
    let mut all = Rates::default();
    for (name, totals) in after.iter().filter(|(name, _)| name.starts_with(of)) {
        let Some(before) = before.get(name) else {
            continue;
        };
        let one = totals.since(before);
        all.bytes += one.bytes;
        for (kind, rate) in one.requests {
            *all.requests.entry(kind).or_default() += rate;
        }
    }
    all
}

/// Puts a sample, by its labels and value, into a client's totals.
type Add<'a> = &'a dyn Fn(&mut Totals, &BTreeMap<&str, &str>, f64);

/// The clients of an instance, by its metrics.
pub(crate) fn of_instance(name: &str, text: &str) -> Traffic {
    let mut traffic = Traffic::new();
    let mut each = |metric: &str, add: Add<'_>| {
        for (labels, value) in scrape::samples(text, metric) {
            if let Some(client) = labels.get("client") {
                let totals = traffic.entry(format!("{name}/{client}")).or_default();
                add(totals, &labels, value);
            }
        }
    };
    each("saga_kafka_requests_total", &|totals, labels, value| {
        let kind = labels.get("request").copied().unwrap_or_default();
        *totals.requests.entry(kind.to_owned()).or_default() += value;
    });
    each("saga_kafka_bytes_total", &|totals, _, value| {
        totals.bytes += value;
    });
    each(
        "saga_kafka_statistics_timestamp_seconds",
        &|totals, _, value| {
            totals.at = value;
        },
    );
    traffic
}

/// A client of ours that keeps what it was last told.
#[derive(Debug, Default)]
pub(crate) struct Observed(Mutex<Totals>);

impl Observed {
    /// What it has sent until it was last told.
    pub(crate) fn totals(&self) -> Totals {
        let totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.clone()
    }
}

impl ClientContext for Observed {
    fn stats(&self, statistics: Statistics) {
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        let number = |count: i64| count as f64;
        let mut totals = Totals {
            at: Timestamp::now().as_duration().as_secs_f64(),
            requests: BTreeMap::new(),
            bytes: number(statistics.tx_bytes + statistics.rx_bytes),
        };
        for (kind, sent) in statistics.brokers.values().flat_map(|broker| &broker.req) {
            *totals.requests.entry(kind.clone()).or_default() += number(*sent);
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = totals;
    }
}

impl ConsumerContext for Observed {}

impl ProducerContext for Observed {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(at: f64, produced: f64, bytes: f64) -> String {
        format!(
            "saga_kafka_requests_total{{client=\"producer\",request=\"Produce\"}} {produced}\n\
             saga_kafka_bytes_total{{client=\"producer\",direction=\"sent\"}} {bytes}\n\
             saga_kafka_bytes_total{{client=\"producer\",direction=\"received\"}} {bytes}\n\
             saga_kafka_statistics_timestamp_seconds{{client=\"producer\"}} {at}\n"
        )
    }

    #[test]
    fn rates_are_of_the_time_between_the_figures() {
        let before = of_instance("order/0", &metrics(1_000.0, 10.0, 500.0));
        let after = of_instance("order/0", &metrics(1_004.0, 50.0, 700.0));
        let rates = rates(&before, &after, "order/");
        assert!((rates.requests["Produce"] - 10.0).abs() < 1e-9, "{rates:?}");
        assert!((rates.bytes - 100.0).abs() < 1e-9, "{rates:?}");
        assert_eq!(
            super::rates(&before, &after, "payment/"),
            Rates::default(),
            "another service's"
        );
    }

    #[test]
    fn figures_that_were_not_taken_anew_say_nothing() {
        let before = of_instance("order/0", &metrics(1_000.0, 10.0, 500.0));
        assert_eq!(rates(&before, &before, ""), Rates::default());
        let without = of_instance("order/0", "");
        assert_eq!(rates(&without, &before, ""), Rates::default());
    }
}
