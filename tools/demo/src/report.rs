//! What is printed at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use audit::Violation;
use serde_json::{Value, json};
use stack::{Addresses, Service, State};

use crate::carts::{Ending, Kind};
use crate::cli::Output;

/// Violations of one rule that are printed; the rest is only counted.
const SHOWN_OF_A_RULE: usize = 5;

/// What came of the carts.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Carts published.
    pub(crate) carts: BTreeMap<Kind, u64>,
    /// How their checkouts ended.
    pub(crate) endings: BTreeMap<(Kind, Ending), u64>,
    /// From publishing to reading the outcome.
    pub(crate) latencies: Vec<Duration>,
    /// From the first cart to the last outcome.
    pub(crate) duration: Duration,
    /// Checkouts that ended otherwise than they should.
    pub(crate) surprises: Vec<Violation>,
}

impl Results {
    fn count(&self, which: impl Fn(Ending) -> bool) -> u64 {
        let counted = self
            .endings
            .iter()
            .filter(|((_, ending), _)| which(*ending));
        counted.map(|(_, count)| count).sum()
    }

    fn created(&self) -> u64 {
        self.count(|ending| matches!(ending, Ending::Created))
    }

    fn failed(&self) -> u64 {
        self.count(|ending| matches!(ending, Ending::Failed(_)))
    }

    fn rejected(&self) -> u64 {
        self.count(|ending| matches!(ending, Ending::Rejected(_)))
    }

    fn ended(&self) -> u64 {
        self.count(|_| true)
    }

    /// The latency that this share of checkouts does not exceed; in
    /// milliseconds.
    fn percentile_ms(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        // Rounded down on purpose; a share of 1 is the last one.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let index = (last as f64 * share) as usize;
        sorted.get(index).map_or(0.0, |d| d.as_secs_f64() * 1_000.0)
    }

    fn per_second(&self) -> f64 {
        self.ended() as f64 / self.duration.as_secs_f64().max(0.001)
    }

    /// The table of outcomes.
    pub(crate) fn print(&self, output: Output) {
        output.line("");
        output.line(format!(
            "{:<18} {:>7}  CHECKOUTS ENDED AS",
            "CARTS", "NUMBER"
        ));
        for (kind, carts) in &self.carts {
            let mut name = kind.to_string();
            let mut number = carts.to_string();
            for ((_, ending), count) in self.endings.iter().filter(|((of, _), _)| of == kind) {
                output.line(format!("{name:<18} {number:>7}  {count:>7} {ending}"));
                (name, number) = (String::new(), String::new());
            }
            if !name.is_empty() {
                output.line(format!("{name:<18} {number:>7}  none ended"));
            }
        }
        let carts: u64 = self.carts.values().sum();
        output.line(format!(
            "{:<18} {carts:>7}  {:>7} in {:.1} s: {:.0} a second, half within {:.0} ms, 99 % within {:.0} ms",
            "all",
            self.ended(),
            self.duration.as_secs_f64(),
            self.per_second(),
            self.percentile_ms(0.5),
            self.percentile_ms(0.99),
        ));
    }

    /// The figures for programs.
    pub(crate) fn json(&self, violations: &[Violation], elapsed: Duration) -> Value {
        json!({
            "carts": self.carts.values().sum::<u64>(),
            "order_created": self.created(),
            "checkout_failed": self.failed(),
            "checkout_rejected": self.rejected(),
            "violations": violations.len(),
            "elapsed_seconds": rounded(elapsed.as_secs_f64()),
            "carts_seconds": rounded(self.duration.as_secs_f64()),
            "checkouts_per_second": rounded(self.per_second()),
            "latency_p50_ms": rounded(self.percentile_ms(0.5)),
            "latency_p99_ms": rounded(self.percentile_ms(0.99)),
        })
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Whether everything adds up, and if not, why.
pub(crate) fn print_violations(violations: &[Violation], output: Output) {
    output.line("");
    if violations.is_empty() {
        output.line(
            "Everything adds up: each checkout has one outcome; each OrderCreated has its order, \
             its authorization and its reservation; nothing is held without an order; stock \
             reserved is the sum of live reservations; every record is handled.",
        );
        return;
    }
    output.line(format!("{} VIOLATIONS", violations.len()));
    let mut by_rule = BTreeMap::<_, Vec<&Violation>>::new();
    for violation in violations {
        by_rule.entry(violation.rule).or_default().push(violation);
    }
    for (rule, found) in by_rule {
        output.line(format!("{} times not so: {}", found.len(), rule.sentence));
        for violation in found.iter().take(SHOWN_OF_A_RULE) {
            output.line(format!("  {violation}"));
        }
        if found.len() > SHOWN_OF_A_RULE {
            output.line("  ...");
        }
    }
    output.line("Look closer with --keep: topics, databases and logs then stay.");
}

/// How to connect to what was left running.
pub(crate) fn print_connections(state: &State, folder: &str, output: Output) {
    let names = state.installation.topics();
    let orders = names.name(contracts::Topic::OrderingOrders);
    let Addresses {
        bootstrap_servers,
        registry_url,
        ..
    } = &state.addresses;
    output.line("");
    output.line("Everything runs on:");
    output.line(format!("  Kafka            {bootstrap_servers}"));
    output.line(format!("  schema registry  {registry_url}"));
    for service in Service::ALL {
        let url = state.installation.database_url(*service);
        output.line(format!("  {service:<16} {}", state.http_url(*service)));
        output.line(format!("  {:<16} {url}", ""));
    }
    output.line("");
    output.line(format!(
        "Orders:    kcat -C -e -b {bootstrap_servers} -t {orders} -s value=avro -r {registry_url}"
    ));
    output.line(format!("Variables: {folder}/stack.env"));
    output.line(format!("Stop:      cargo stack down --dir {folder}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let rejected = Ending::Rejected(contracts::messages::RejectionReason::AlreadyOrdered);
        Results {
            carts: [(Kind::Fine, 3), (Kind::CheckedOutAgain, 1)].into(),
            endings: [
                ((Kind::Fine, Ending::Created), 3),
                ((Kind::CheckedOutAgain, Ending::Created), 1),
                ((Kind::CheckedOutAgain, rejected), 1),
            ]
            .into(),
            latencies: (1..=100).map(Duration::from_millis).collect(),
            duration: Duration::from_secs(2),
            surprises: Vec::new(),
        }
    }

    #[test]
    fn figures_for_programs() {
        let json = results().json(&[], Duration::from_secs(9));
        assert_eq!(json["carts"], 4);
        assert_eq!(json["order_created"], 4);
        assert_eq!(json["checkout_failed"], 0);
        assert_eq!(json["checkout_rejected"], 1);
        assert_eq!(json["violations"], 0);
        assert_eq!(json["elapsed_seconds"], 9.0);
    }

    #[test]
    fn percentiles() {
        assert!((results().percentile_ms(0.99) - 99.0).abs() < 0.01);
        assert!((Results::default().percentile_ms(0.5)).abs() < 0.01);
    }
}
