//! What was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::books::Books;
use crate::positions::{Found, further_services};
use crate::rule::{Rule, Violation};
use crate::rules::{Patience, Standing};

/// Violations of one rule that are shown to people; the rest is counted.
const SHOWN_OF_A_RULE: usize = 10;

/// What was found. As JSON it is one object of these fields, and `lost` and
/// `duplicated`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// From when on carts were judged; `None`: all that there ever were.
    pub since: Option<Timestamp>,
    /// Checkouts that were asked for; a record published twice is one.
    pub carts: u64,
    /// Those that ended by an order.
    pub orders: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were turned away.
    pub rejected: u64,
    /// Those without an outcome that are younger than the grace period.
    pub in_flight: u64,
    /// Those that an operator has abandoned, and answers for.
    pub abandoned: u64,
    /// Records that wait to be handled, younger ones included; at most so many.
    pub unread: u64,
    /// Dead letters that are poison, by error code.
    pub dead_letters: BTreeMap<String, u64>,
    /// Databases that no address was given of: the rules about them were not
    /// applied.
    pub not_read: Vec<&'static str>,
    /// What does not add up, in order of the rules.
    pub violations: Vec<Violation>,
}

impl Report {
    pub(crate) fn of(books: &Books, patience: Patience, violations: Vec<Violation>) -> Self {
        let mut report = Self {
            since: books
                .window
                .0
                .and_then(|from| Timestamp::from_millisecond(from).ok()),
            dead_letters: books.letters.poison.clone(),
            violations,
            ..Self::default()
        };
        for (name, read) in [
            ("orchestrator", books.read.orchestrator),
            ("inventory", books.read.inventory),
            ("payment", books.read.payment),
            ("order", books.read.order),
        ] {
            if !read {
                report.not_read.push(name);
            }
        }
        let unread = further_services().into_iter();
        report
            .not_read
            .extend(unread.filter(|service| !books.has_read(service)));
        for account in books.accounts.values() {
            if !account.asked_at_ms.is_some_and(|at| books.window.holds(at)) {
                continue;
            }
            report.carts += 1;
            report.orders += u64::from(account.created > 0);
            report.failed += u64::from(account.failed > 0);
            report.rejected += u64::from(account.rejected > 0);
            match books.standing(account, patience) {
                Standing::InFlight => report.in_flight += 1,
                Standing::Abandoned => report.abandoned += 1,
                _ => {}
            }
        }
        for position in &books.positions {
            if let Some(Found::Unread { at_most, .. }) = position.found {
                report.unread += u64::try_from(at_most).unwrap_or(0);
            }
        }
        let place = |rule| Rule::ALL.iter().position(|known| *known == rule);
        report
            .violations
            .sort_by_cached_key(|found| (place(found.rule), found.clone()));
        report
    }

    /// Checkouts that were asked for and have no outcome.
    pub fn lost(&self) -> usize {
        self.concerned(&[Rule::OUTCOME_MISSING])
    }

    /// Checkouts and carts with more outcomes or orders than one.
    pub fn duplicated(&self) -> usize {
        self.concerned(&[
            Rule::OUTCOME_DOUBLED,
            Rule::ORDER_CREATED_DOUBLED,
            Rule::CREATED_AND_FAILED,
            Rule::TWO_ORDERS,
        ])
    }

    fn concerned(&self, rules: &[Rule]) -> usize {
        let of = |found: &&Violation| rules.contains(&found.rule);
        let concerned = self.violations.iter().filter(of);
        let concerned: BTreeSet<_> = concerned
            .map(|found| (found.cart_id, found.checkout_id))
            .collect();
        concerned.len()
    }

    /// Violations by rule, in order of the rules.
    pub fn by_rule(&self) -> Vec<(Rule, Vec<&Violation>)> {
        let mut by_rule: Vec<(Rule, Vec<&Violation>)> = Vec::new();
        for found in &self.violations {
            match by_rule.iter_mut().find(|(rule, _)| *rule == found.rule) {
                Some((_, of_rule)) => of_rule.push(found),
                None => by_rule.push((found.rule, vec![found])),
            }
        }
        by_rule
    }

    /// One object for programs.
    pub fn json(&self) -> Value {
        let mut json = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = json.as_object_mut() {
            fields.insert("lost".into(), self.lost().into());
            fields.insert("duplicated".into(), self.duplicated().into());
        }
        json
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(since) = self.since {
            writeln!(f, "since         {since}")?;
        }
        for (what, number) in [
            ("carts", self.carts),
            ("orders", self.orders),
            ("failed", self.failed),
            ("rejected", self.rejected),
            ("in flight", self.in_flight),
            ("abandoned", self.abandoned),
            ("unread", self.unread),
            ("dead letters", self.dead_letters.values().sum()),
            ("violations", self.violations.len() as u64),
        ] {
            writeln!(f, "{what:<13} {number}")?;
            if what == "dead letters" {
                for (code, number) in &self.dead_letters {
                    writeln!(f, "  {code:<22} {number}")?;
                }
            }
        }
        for service in &self.not_read {
            writeln!(
                f,
                "not looked at: the {service} database, no address was given"
            )?;
        }
        for (rule, found) in self.by_rule() {
            writeln!(
                f,
                "\n{} times not so: {} ({})",
                found.len(),
                rule.sentence,
                rule.name
            )?;
            for violation in found.iter().take(SHOWN_OF_A_RULE) {
                writeln!(f, "  {violation}")?;
            }
            if found.len() > SHOWN_OF_A_RULE {
                writeln!(f, "  ... and {} more", found.len() - SHOWN_OF_A_RULE)?;
            }
        }
        Ok(())
    }
}
