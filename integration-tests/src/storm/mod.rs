//! A storm: carts at a set rate, and faults of every kind meanwhile.
//!
//! - [`schedule`]: which faults, and when.
//! - `strike`: how each is done and undone.

mod schedule;
mod strike;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::load::Load;
use crate::{SERVICES, System};

pub use schedule::{Event, Fault, Scene, Target, schedule};

/// How large a storm is.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// Draws faults and carts.
    pub seed: u64,
    /// How long faults come.
    pub length: Duration,
    /// Carts a second.
    pub rate: f64,
    /// Faults a minute, about.
    pub faults_per_minute: f64,
    /// What there is to be struck.
    pub scene: Scene,
}

/// What a storm left behind.
#[derive(Debug)]
pub struct Aftermath {
    /// Carts published.
    pub carts: usize,
    /// The faults that came, by kind.
    pub faults: BTreeMap<&'static str, usize>,
    /// Services that ended by themselves: what each said last.
    pub ended: Vec<String>,
    /// What the audit says when all is quiet.
    pub report: audit::Report,
}

impl Storm {
    /// The faults, in order.
    pub fn schedule(&self) -> Vec<Event> {
        schedule(
            self.seed,
            self.length,
            self.faults_per_minute,
            self.scene,
            SERVICES,
        )
    }

    /// Lets it loose on a system with parts of its own, waits until all is quiet,
    /// and audits. `tell` is told of each fault as it begins.
    pub async fn rage(&self, system: &System, tell: &(dyn Fn(&Event) + Sync)) -> Aftermath {
        let events = self.schedule();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a number of carts"
        )]
        let carts = (self.length.as_secs_f64() * self.rate) as usize;
        let load = Load {
            seed: self.seed,
            ..Load::new(carts.max(1), self.rate)
        };
        let begin = Instant::now();
        // A target may take longer to come back than was planned for.
        let down: BTreeMap<Target, Mutex<()>> = events
            .iter()
            .map(|event| (event.target.overlap(), Mutex::default()))
            .collect();
        let strikes = join_all(events.iter().map(async |event| {
            sleep_until(begin + event.at).await;
            let _alone = down[&event.target.overlap()].lock().await;
            tell(event);
            strike::strike(system, event, self.seed).await;
        }));
        let (carts, _) = tokio::join!(system.load(load), strikes);
        let ended = strike::heal(system, self.scene.instances).await;
        let report = system.settle(strike::is_poison_of_ours).await;
        let mut faults = BTreeMap::new();
        for event in &events {
            *faults.entry(event.fault.name()).or_default() += 1;
        }
        Aftermath {
            carts: carts.len(),
            faults,
            ended,
            report,
        }
    }
}
