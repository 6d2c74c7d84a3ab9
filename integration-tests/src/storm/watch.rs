//! How far a storm is, for whoever watches it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::schedule::Event;
use super::strike;
use crate::System;

/// Longer words about what is waited for are cut off.
const WORDS: usize = 160;

type Telling = Box<dyn Fn(&Event) + Send + Sync>;

/// How far a storm is.
pub struct Watch {
    tell: Telling,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    phase: Phase,
    faults: BTreeMap<&'static str, usize>,
    under_way: Vec<String>,
}

#[derive(Default)]
enum Phase {
    /// Parts and services start.
    #[default]
    Starts,
    /// Faults come, since then and for so long.
    Rages(Instant, Duration),
    /// It is over, and this is waited for.
    Settles(Instant, String),
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    /// `tell` is told of each fault as it begins.
    pub fn new(tell: impl Fn(&Event) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            tell: Box::new(tell),
            seen: Mutex::default(),
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rages_for(&self, length: Duration) {
        self.seen().phase = Phase::Rages(Instant::now(), length);
    }

    pub(super) fn begins(&self, event: &Event) {
        (self.tell)(event);
        let mut seen = self.seen();
        *seen.faults.entry(event.fault.name()).or_default() += 1;
        seen.under_way.push(event.what());
    }

    pub(super) fn is_over(&self, event: &Event) {
        let what = event.what();
        let mut seen = self.seen();
        if let Some(place) = seen.under_way.iter().position(|other| *other == what) {
            seen.under_way.remove(place);
        }
    }

    /// The storm is over, and this is waited for.
    pub(super) fn settles(&self, waits_for: &str) {
        let mut seen = self.seen();
        let since = match seen.phase {
            Phase::Settles(since, _) => since,
            _ => Instant::now(),
        };
        seen.phase = Phase::Settles(since, waits_for.to_owned());
    }

    /// Waits until everything is at rest, at most for `limit`, and audits.
    ///
    /// # Errors
    /// When Kafka, the registry or a database cannot be read.
    pub async fn settle(
        self: &Arc<Self>,
        system: &System,
        limit: Duration,
    ) -> audit::Result<audit::Report> {
        let watch = Arc::clone(self);
        let tell = move |waits_for: &str| watch.settles(waits_for);
        self.settles("the audit");
        system
            .try_settle(strike::is_poison_of_ours, tell, limit)
            .await
    }

    /// The faults so far, by kind.
    pub fn faults(&self) -> BTreeMap<&'static str, usize> {
        self.seen().faults.clone()
    }

    /// One line about it: `published` carts, `ended` ones.
    pub fn line(&self, published: usize, ended: usize) -> String {
        let seen = self.seen();
        let faults: usize = seen.faults.values().sum();
        let figures = format!("{published} carts published, {ended} ended, {faults} faults");
        match &seen.phase {
            Phase::Starts => "the parts and the services start".to_owned(),
            Phase::Rages(since, length) => {
                let elapsed = since.elapsed();
                let under_way = match seen.under_way.as_slice() {
                    [] => "none now".to_owned(),
                    some => format!("now {}", some.join(", ")),
                };
                let left = match length.checked_sub(elapsed) {
                    Some(left) => format!("{} s to go", left.as_secs()),
                    None => "the last ones are being mended".to_owned(),
                };
                format!("{} s, {left}: {figures}, {under_way}", elapsed.as_secs())
            }
            Phase::Settles(since, waits_for) => {
                let words: String = waits_for.chars().take(WORDS).collect();
                let elapsed = since.elapsed().as_secs();
                format!("settling for {elapsed} s: {figures}; waits for {words}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::{Fault, Target};
    use super::*;

    #[test]
    fn a_line_tells_what_happens_and_what_is_waited_for() {
        let watch = Watch::new(|_| ());
        assert!(watch.line(0, 0).contains("start"));
        watch.rages_for(Duration::from_secs(600));
        let event = Event {
            at: Duration::ZERO,
            fault: Fault::KillBroker,
            target: Target::Broker(0),
            lasts: Duration::from_secs(1),
        };
        watch.begins(&event);
        let line = watch.line(20, 17);
        assert!(
            line.contains("20 carts published, 17 ended, 1 faults"),
            "{line}"
        );
        assert!(
            line.contains("s to go") && line.contains("kill broker: broker 1"),
            "{line}"
        );
        watch.is_over(&event);
        assert!(watch.line(20, 17).ends_with("none now"));
        watch.settles("3 lag (inventory)");
        let line = watch.line(20, 17);
        assert!(
            line.contains("1 faults; waits for 3 lag (inventory)"),
            "{line}"
        );
    }
}
