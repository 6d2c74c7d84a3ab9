//! A storm: carts at a set rate, and faults of every kind meanwhile.
//!
//! - [`schedule`]: which faults, and when.
//! - `strike`: how each is done and undone.
//! - [`Ground`]: what is struck.
//! - [`Watch`]: how far it is.
//! - [`Summary`]: what it came to, also when the storm itself broke down.

mod ground;
mod schedule;
mod strike;
mod summary;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::load::Load;
use crate::{PATIENCE, SERVICES};

pub use ground::Ground;
pub use schedule::{Event, Fault, Scene, Target, schedule};
pub use summary::Summary;
pub use watch::Watch;

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
    /// Money that the gateway holds and payment does not know of, or the other way
    /// round.
    pub gateway: Vec<String>,
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

    /// Lets it loose, waits until all is quiet, and audits. `watch` knows how far it is.
    pub async fn rage(&self, ground: &Ground, watch: &Arc<Watch>) -> Aftermath {
        let system = &ground.system;
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
        watch.rages_for(self.length);
        let begin = Instant::now();
        // A target may take longer to come back than was planned for.
        let down: BTreeMap<Target, Mutex<()>> = events
            .iter()
            .flat_map(|event| event.target.claims(SERVICES))
            .map(|claim| (claim, Mutex::default()))
            .collect();
        let strikes = join_all(events.iter().map(async |event| {
            sleep_until(begin + event.at).await;
            let mut alone = Vec::new();
            // In one order, so that nobody waits for whom he keeps waiting.
            for claim in event.target.claims(SERVICES) {
                alone.push(down[&claim].lock().await);
            }
            watch.begins(event);
            strike::strike(ground, event, self.seed).await;
            watch.is_over(event);
        }));
        let (carts, _) = tokio::join!(system.load(load), strikes);
        watch.settles("all instances are ready");
        let ended = strike::heal(system, self.scene.instances).await;
        let report = watch
            .settle(system, PATIENCE)
            .await
            .unwrap_or_else(|error| panic!("no audit: {error}"));
        Aftermath {
            carts: carts.len(),
            faults: watch.faults(),
            ended,
            gateway: ground.differences().await,
            report,
        }
    }
}
