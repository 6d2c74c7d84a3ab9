//! Which faults a storm brings, and when: drawn from a seed, so that a storm can
//! be had again.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// What is done to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// An instance of a service is killed, and started again after a while.
    KillInstance,
    /// An instance is asked to stop, and started again after a while.
    StopInstance,
    /// An instance is frozen for longer than its session: it wakes as a zombie.
    FreezeInstance,
    /// One more instance joins, and leaves after a while.
    AddInstance,
    /// A broker is killed, and started again after a while.
    KillBroker,
    /// A broker is stopped in order, and started again after a while.
    StopBroker,
    /// A broker is frozen for a while.
    FreezeBroker,
    /// PostgreSQL is killed, and started again after a while.
    KillPostgres,
    /// PostgreSQL is shut down, and started again after a while.
    StopPostgres,
    /// PostgreSQL is frozen for a while.
    FreezePostgres,
    /// Every connection of the services to PostgreSQL is cut.
    CutConnections,
    /// The schema registry is frozen for a while.
    FreezeRegistry,
    /// Inner records are published again, byte for byte.
    RepeatRecords,
    /// Records that nobody can read are published.
    Poison,
}

impl Fault {
    /// Every one.
    pub const ALL: &'static [Fault] = &[
        Fault::KillInstance,
        Fault::StopInstance,
        Fault::FreezeInstance,
        Fault::AddInstance,
        Fault::KillBroker,
        Fault::StopBroker,
        Fault::FreezeBroker,
        Fault::KillPostgres,
        Fault::StopPostgres,
        Fault::FreezePostgres,
        Fault::CutConnections,
        Fault::FreezeRegistry,
        Fault::RepeatRecords,
        Fault::Poison,
    ];

    /// How it is called in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::KillInstance => "kill instance",
            Fault::StopInstance => "stop instance",
            Fault::FreezeInstance => "freeze instance",
            Fault::AddInstance => "add instance",
            Fault::KillBroker => "kill broker",
            Fault::StopBroker => "stop broker",
            Fault::FreezeBroker => "freeze broker",
            Fault::KillPostgres => "kill PostgreSQL",
            Fault::StopPostgres => "stop PostgreSQL",
            Fault::FreezePostgres => "freeze PostgreSQL",
            Fault::CutConnections => "cut connections",
            Fault::FreezeRegistry => "freeze registry",
            Fault::RepeatRecords => "repeat records",
            Fault::Poison => "poison",
        }
    }

    /// The shortest and longest time that it lasts, in ms; none for what is over
    /// at once.
    const fn lasts_ms(self) -> (u64, u64) {
        match self {
            // Longer than the session time-out of six seconds.
            Fault::FreezeInstance => (8_000, 12_000),
            Fault::AddInstance => (5_000, 15_000),
            Fault::CutConnections | Fault::RepeatRecords | Fault::Poison => (0, 0),
            _ => (500, 6_000),
        }
    }
}

/// Whom a fault meets; one fault at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// An instance that was there from the beginning: service, number.
    Instance(&'static str, usize),
    /// The service that gets one more instance.
    Service(&'static str),
    /// A broker, by its number. With few brokers one at a time is all that a
    /// cluster can bear, so all of them are one target when it comes to overlaps.
    Broker(usize),
    /// PostgreSQL.
    Postgres,
    /// The schema registry.
    Registry,
    /// The topics.
    Topics,
}

impl Target {
    /// Those that share this bear one fault at a time.
    pub(super) fn overlap(&self) -> Target {
        match self {
            Target::Broker(_) => Target::Broker(0),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Instance(service, number) => write!(f, "{service} {}", number + 1),
            Target::Service(service) => f.write_str(service),
            Target::Broker(number) => write!(f, "broker {}", number + 1),
            Target::Postgres => f.write_str("PostgreSQL"),
            Target::Registry => f.write_str("registry"),
            Target::Topics => f.write_str("topics"),
        }
    }
}

/// One fault of a storm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it begins, from the beginning of the storm.
    pub at: Duration,
    /// What is done.
    pub fault: Fault,
    /// To whom.
    pub target: Target,
    /// How long it lasts.
    pub lasts: Duration,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>6.1} s  {}: {}",
            self.at.as_secs_f64(),
            self.fault.name(),
            self.target
        )?;
        if self.lasts > Duration::ZERO {
            write!(f, ", for {:.1} s", self.lasts.as_secs_f64())?;
        }
        Ok(())
    }
}

/// What there is to be struck.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Instances of each service.
    pub instances: usize,
    /// Brokers.
    pub brokers: usize,
}

/// The faults of a storm of this length: about so many a minute, every kind before
/// any comes again, none on a target that is down already, all over at its end.
pub fn schedule(
    seed: u64,
    length: Duration,
    faults_per_minute: f64,
    scene: Scene,
    services: &[&'static str],
) -> Vec<Event> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut busy: BTreeMap<Target, Duration> = BTreeMap::new();
    let mut events = Vec::new();
    let mut left: Vec<Fault> = Vec::new();
    let pause = Duration::from_secs_f64(60.0 / faults_per_minute.max(0.01));
    let mut at = pause.mul_f64(random.random_range(0.2..0.8));
    while at < length {
        if left.is_empty() {
            left = Fault::ALL.to_vec();
        }
        let fault = left.swap_remove(random.random_range(0..left.len()));
        let (shortest, longest) = fault.lasts_ms();
        let lasts = Duration::from_millis(random.random_range(shortest..=longest));
        let target = target(fault, scene, services, &mut random);
        let key = target.overlap();
        let free = busy.get(&key).is_none_or(|until| *until <= at);
        if free && at + lasts <= length {
            // A moment to recover, so that what comes next meets a live target.
            busy.insert(key, at + lasts + Duration::from_secs(3));
            events.push(Event {
                at,
                fault,
                target,
                lasts,
            });
        } else {
            // Later, then.
            left.push(fault);
        }
        at += pause.mul_f64(random.random_range(0.5..1.5));
    }
    events
}

fn target(fault: Fault, scene: Scene, services: &[&'static str], random: &mut StdRng) -> Target {
    match fault {
        Fault::KillInstance | Fault::StopInstance | Fault::FreezeInstance => Target::Instance(
            services.choose(random).copied().unwrap_or("orchestrator"),
            random.random_range(0..scene.instances.max(1)),
        ),
        Fault::AddInstance => {
            Target::Service(services.choose(random).copied().unwrap_or("orchestrator"))
        }
        Fault::KillBroker | Fault::StopBroker | Fault::FreezeBroker => {
            Target::Broker(random.random_range(0..scene.brokers.max(1)))
        }
        Fault::KillPostgres
        | Fault::StopPostgres
        | Fault::FreezePostgres
        | Fault::CutConnections => Target::Postgres,
        Fault::FreezeRegistry => Target::Registry,
        Fault::RepeatRecords | Fault::Poison => Target::Topics,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SCENE: Scene = Scene {
        instances: 2,
        brokers: 3,
    };
    const SERVICES: &[&str] = &["one", "two"];

    fn storm(seed: u64) -> Vec<Event> {
        schedule(seed, Duration::from_secs(600), 30.0, SCENE, SERVICES)
    }

    #[test]
    fn a_seed_gives_the_same_storm_and_another_another() {
        assert_eq!(storm(7), storm(7));
        assert_ne!(storm(7), storm(8));
    }

    #[test]
    fn every_kind_of_fault_comes_and_all_are_over_at_the_end() {
        for seed in 0..50 {
            let events = storm(seed);
            let kinds: BTreeSet<_> = events.iter().map(|event| event.fault).collect();
            assert_eq!(kinds.len(), Fault::ALL.len(), "seed {seed}");
            assert!(events.len() > 150, "{}", events.len());
            for event in &events {
                assert!(
                    event.at + event.lasts <= Duration::from_secs(600),
                    "{event}"
                );
            }
        }
    }

    #[test]
    fn no_target_is_struck_while_it_is_down_and_brokers_one_at_a_time() {
        for seed in 0..50 {
            let events = storm(seed);
            for (index, event) in events.iter().enumerate() {
                for later in &events[index + 1..] {
                    let brokers = matches!(
                        (&event.target, &later.target),
                        (Target::Broker(_), Target::Broker(_))
                    );
                    if event.target == later.target || brokers {
                        assert!(event.at + event.lasts <= later.at, "{event} / {later}");
                    }
                }
            }
        }
    }
}
