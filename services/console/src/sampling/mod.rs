//! What the overview shows, looked at from time to time, so that a page is made from
//! what is known and costs nobody anything. What is away says why, and leaves the rest
//! alone; what is known says as of when, so that nobody takes an old number for a new
//! one.
//!
//! - `looks`: who looks at what, and how often.
//! - `services`: what services say of themselves by HTTP.
//! - `counts`, `prometheus`: what they count.

mod counts;
mod looks;
mod prometheus;
mod services;

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use operations::backlog::Backlog;
use operations::sagas::{Listed, Standing};
use serde::Deserialize;

use crate::options::Instance;
pub(crate) use counts::{Counters, Counts, KEPT, Key, of_outcome, quantile};
pub(crate) use looks::start;

/// What came of a look.
#[derive(Clone, Debug)]
pub(crate) struct Look<T> {
    /// What was found, or why nothing was.
    pub(crate) found: Result<T, String>,
    /// When the look began: what was found is as of then.
    pub(crate) at: Timestamp,
    /// How long it may be shown without a word that it is old.
    pub(crate) lasts: SignedDuration,
}

impl<T> Look<T> {
    /// Whether another look should have replaced this one by now.
    pub(crate) fn is_old(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) > self.lasts
    }
}

/// Something that is looked at: what came of the last look; absent before the first.
pub(crate) type Told<T> = Option<Look<T>>;

/// An instance of a service.
#[derive(Clone, Debug)]
pub(crate) struct InstanceSeen {
    pub(crate) instance: Instance,
    /// What it says of itself.
    pub(crate) about: Told<About>,
}

/// What an instance says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct About {
    pub(crate) version: String,
    pub(crate) since: Option<Timestamp>,
}

/// A participant and its brake, as the orchestrator shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Participant {
    pub(crate) participant: String,
    /// `OPEN`, `CLOSED_SILENT` and so on.
    pub(crate) state: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) permitted_per_second: Option<u32>,
    pub(crate) commands_out: u64,
    pub(crate) sagas_held: u64,
}

/// Dead letters that are open.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) letters: usize,
    /// Whether there are more.
    pub(crate) more: bool,
}

/// How many orchestrators have told what they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) told: usize,
    pub(crate) all: usize,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    pub(crate) instances: Vec<InstanceSeen>,
    pub(crate) counts: Counts,
    /// When an orchestrator last told what it counts, and how many of them did.
    pub(crate) counted: Told<Counted>,
    pub(crate) participants: Told<Vec<Participant>>,
    pub(crate) standing: Told<Vec<Standing>>,
    pub(crate) ended: Told<Vec<Listed>>,
    pub(crate) backlog: Told<Vec<Backlog>>,
    pub(crate) letters: Told<Open>,
}

/// What was seen last.
pub(crate) struct Seen(Mutex<Sight>);

impl Seen {
    /// Nothing yet of these instances, nor of anything else.
    pub(crate) fn new(instances: &[Instance]) -> Self {
        let unseen = |instance: &Instance| InstanceSeen {
            instance: instance.clone(),
            about: None,
        };
        Self(Mutex::new(Sight {
            instances: instances.iter().map(unseen).collect(),
            ..Sight::default()
        }))
    }

    /// A copy, for a page.
    pub(crate) fn now(&self) -> Sight {
        self.sight().clone()
    }

    /// Puts something down that was seen.
    fn put(&self, put: impl FnOnce(&mut Sight)) {
        put(&mut self.sight());
    }

    fn sight(&self) -> MutexGuard<'_, Sight> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_old_when_its_time_is_over() {
        let at = Timestamp::UNIX_EPOCH;
        let look = Look {
            found: Ok(()),
            at,
            lasts: SignedDuration::from_secs(10),
        };
        let after = |seconds| at + SignedDuration::from_secs(seconds);
        assert!(!look.is_old(after(10)));
        assert!(look.is_old(after(11)));
        assert!(!look.is_old(after(-60)), "the clock was set back");
    }
}
