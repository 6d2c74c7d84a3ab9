//! What a storm came to, also when the storm itself broke down.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::Aftermath;

/// What a storm came to.
#[derive(Debug)]
pub struct Summary {
    /// Carts published.
    pub carts: usize,
    /// The faults that came, by kind.
    pub faults: BTreeMap<&'static str, usize>,
    /// Carts published without an outcome that anybody saw; tells how many are lost
    /// where no audit could be made.
    pub open: usize,
    /// What the audit says; none where it could not be made.
    pub report: Option<audit::Report>,
    /// Services that ended by themselves.
    pub ended: Vec<String>,
    /// Where the gateway's books and the payment service's differ.
    pub gateway: Vec<String>,
    /// Why the storm broke down, where it did.
    pub broke_down: Option<String>,
}

impl Summary {
    /// Of a storm that came to its end.
    pub fn of(aftermath: Aftermath) -> Self {
        Self {
            carts: aftermath.carts,
            faults: aftermath.faults,
            open: 0,
            report: Some(aftermath.report),
            ended: aftermath.ended,
            gateway: aftermath.gateway,
            broke_down: None,
        }
    }

    /// Checkouts without an outcome, and carts that are not even on their topic.
    fn lost(&self) -> usize {
        let audited = self.report.as_ref().map(audit::Report::lost);
        audited.map_or(self.open, |lost| lost + self.vanished())
    }

    /// Carts published that the audit has not seen.
    fn vanished(&self) -> usize {
        let seen = |report: &audit::Report| usize::try_from(report.carts).unwrap_or(usize::MAX);
        let report = self.report.as_ref();
        report.map_or(0, |report| self.carts.saturating_sub(seen(report)))
    }

    fn duplicated(&self) -> usize {
        self.report.as_ref().map_or(0, audit::Report::duplicated)
    }

    /// Everything that should not be. A storm that broke down has shown nothing, and is
    /// one by itself.
    pub fn violations(&self) -> usize {
        let audited = self.report.as_ref().map(|report| report.violations.len());
        audited.unwrap_or(0)
            + self.vanished()
            + self.ended.len()
            + self.gateway.len()
            + usize::from(self.broke_down.is_some())
    }

    /// The figures for scripts.
    pub fn json(&self) -> Value {
        let report = self.report.as_ref();
        json!({
            "carts": self.carts,
            "checkouts": report.map(|report| report.carts),
            "faults": self.faults.values().sum::<usize>(),
            "faults_by_kind": self.faults,
            "orders": report.map(|report| report.orders),
            "failed": report.map(|report| report.failed),
            "rejected": report.map(|report| report.rejected),
            "lost": self.lost(),
            "duplicated": self.duplicated(),
            "violations": self.violations(),
            "found": report.map(|report| &report.violations),
            "ended": self.ended,
            "gateway": self.gateway,
            "broke_down": self.broke_down,
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.report {
            Some(report) => writeln!(f, "{report}")?,
            None => writeln!(f, "no audit could be made")?,
        }
        for ended in &self.ended {
            writeln!(f, "a service ended by itself: {ended}")?;
        }
        for difference in &self.gateway {
            writeln!(f, "the books differ: {difference}")?;
        }
        if let Some(why) = &self.broke_down {
            writeln!(f, "the storm broke down: {why}")?;
        }
        write!(
            f,
            "{} carts, {} faults, {} lost, {} doubled, {} violations",
            self.carts,
            self.faults.values().sum::<usize>(),
            self.lost(),
            self.duplicated(),
            self.violations()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_that_broke_down_is_a_violation_and_has_its_figures() {
        let summary = Summary {
            carts: 30,
            faults: BTreeMap::from([("kill broker", 2), ("poison", 1)]),
            open: 4,
            report: None,
            ended: Vec::new(),
            gateway: Vec::new(),
            broke_down: Some("kafka does not come back".to_owned()),
        };
        let json = summary.json();
        for (name, figure) in [
            ("carts", 30),
            ("faults", 3),
            ("lost", 4),
            ("duplicated", 0),
            ("violations", 1),
        ] {
            assert_eq!(json[name], figure, "{name}: {json}");
        }
        assert_eq!(json["broke_down"], "kafka does not come back");
        let shown = summary.to_string();
        assert!(
            shown.contains("no audit") && shown.contains("kafka does not"),
            "{shown}"
        );
    }
}
