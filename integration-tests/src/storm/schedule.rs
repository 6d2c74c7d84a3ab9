//! Which faults a storm brings, and when: drawn from a seed, so that a storm can
//! be had again.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

/// The service that drives the sagas.
const ORCHESTRATOR: &str = "orchestrator";

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident = $name:literal, $lasts_ms:expr;)+) => {
        /// What is done to whom.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[$doc])* $fault,)+
        }

        impl Fault {
            /// Every one.
            pub const ALL: &'static [Fault] = &[$(Fault::$fault),+];

            /// How it is called in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Fault::$fault => $name,)+
                }
            }

            /// The shortest and longest time that it lasts, in ms; none for what
            /// is over at once.
            const fn lasts_ms(self) -> (u64, u64) {
                match self {
                    $(Fault::$fault => $lasts_ms,)+
                }
            }
        }
    };
}

/// What is over at once.
const AT_ONCE: (u64, u64) = (0, 0);
/// A hitch, or a restart.
const A_WHILE: (u64, u64) = (500, 6_000);
/// Long enough for a service to meet it some times.
const SOME_BATCHES: (u64, u64) = (2_000, 5_000);
/// Of an instance that joins, works and leaves.
const A_VISIT: (u64, u64) = (5_000, 15_000);

faults! {
    /// An instance of a service is killed, and started again after a while.
    KillInstance = "kill instance", A_WHILE;
    /// An instance is asked to stop, and started again after a while.
    StopInstance = "stop instance", A_WHILE;
    /// An instance is frozen for longer than its session of six seconds: it wakes
    /// as a zombie.
    FreezeInstance = "freeze instance", (8_000, 12_000);
    /// One more instance joins, and leaves after a while.
    AddInstance = "add instance", A_VISIT;
    /// One more instance joins, and dies at a point of one of its batches.
    DieInBatch = "die in a batch", A_VISIT;
    /// One more instance of a participant joins, and publishes what it has
    /// committed when the orchestrator no longer waits for it.
    DelayRecords = "delay records", A_VISIT;
    /// One more orchestrator joins, whose clock jumps to and fro.
    JumpClock = "jump clock", A_VISIT;
    /// A broker is killed, and started again after a while.
    KillBroker = "kill broker", A_WHILE;
    /// A broker is stopped in order, and started again after a while.
    StopBroker = "stop broker", A_WHILE;
    /// A broker is frozen for a while.
    FreezeBroker = "freeze broker", A_WHILE;
    /// PostgreSQL is killed, and started again after a while.
    KillPostgres = "kill PostgreSQL", A_WHILE;
    /// PostgreSQL is shut down in order, and started again after a while.
    StopPostgres = "stop PostgreSQL", A_WHILE;
    /// PostgreSQL is frozen for a while.
    FreezePostgres = "freeze PostgreSQL", A_WHILE;
    /// Every connection of the services to PostgreSQL is cut.
    CutConnections = "cut connections", AT_ONCE;
    /// Statements fail to be serialized, now and then.
    FailSerialization = "fail serialization", SOME_BATCHES;
    /// Somebody else takes a service's locks in the other order.
    Deadlock = "deadlock", SOME_BATCHES;
    /// Statements are slower than a service waits for, now and then.
    SlowStatements = "slow statements", SOME_BATCHES;
    /// Whatever changes rows finds the disk full.
    FillDisk = "fill disk", SOME_BATCHES;
    /// A service's user may not connect.
    RefuseConnections = "refuse connections", A_WHILE;
    /// A database only reads, as after a fail-over.
    ReadOnly = "read-only database", A_WHILE;
    /// Commits get lost on their way, or their answers do.
    LoseCommits = "lose commits", SOME_BATCHES;
    /// The schema registry is frozen for a while.
    FreezeRegistry = "freeze registry", A_WHILE;
    /// The schema registry cannot be reached for a while.
    CutRegistry = "cut registry", A_WHILE;
    /// The payment gateway answers 500, or carries out and then answers 500.
    BreakGateway = "break gateway", SOME_BATCHES;
    /// The payment gateway is silent for longer than it is waited for, and then
    /// does what it was asked.
    SilenceGateway = "silence gateway", SOME_BATCHES;
    /// The payment gateway does what it is asked, and its answers are lost.
    LoseGatewayAnswers = "lose gateway answers", SOME_BATCHES;
    /// Inner records are published again, byte for byte.
    RepeatRecords = "repeat records", AT_ONCE;
    /// Records that nobody can read are published.
    Poison = "poison", AT_ONCE;
    /// A topic that the services read gets one more partition.
    AddPartition = "add partition", AT_ONCE;
    /// A stranger's transaction on a public topic stays open for a while.
    HangTransaction = "hang transaction", SOME_BATCHES;
}

/// Whom a fault meets; one fault at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// An instance that was there from the beginning: service, number.
    Instance(&'static str, usize),
    /// The service that gets one more instance.
    Service(&'static str),
    /// A broker, by its number.
    Broker(usize),
    /// PostgreSQL, and with it all databases.
    Postgres,
    /// The database of a service.
    Database(&'static str),
    /// The schema registry.
    Registry,
    /// The payment gateway.
    Gateway,
    /// The topics.
    Topics,
    /// The readers of the public topics.
    Readers,
}

impl Target {
    /// What a fault here has to itself, in the order in which it is claimed. With few
    /// brokers one at a time is all that a cluster can bear, so all of them are one.
    pub(super) fn claims(&self, services: &[&'static str]) -> Vec<Target> {
        match self {
            Target::Broker(_) => vec![Target::Broker(0)],
            Target::Postgres => services.iter().copied().map(Target::Database).collect(),
            other => vec![other.clone()],
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
            Target::Database(service) => write!(f, "database of {service}"),
            Target::Registry => f.write_str("registry"),
            Target::Gateway => f.write_str("payment gateway"),
            Target::Topics => f.write_str("topics"),
            Target::Readers => f.write_str("readers of the public topics"),
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

impl Event {
    /// What is done to whom.
    pub(super) fn what(&self) -> String {
        format!("{}: {}", self.fault.name(), self.target)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.1} s  {}", self.at.as_secs_f64(), self.what())?;
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

/// So that what comes next meets a live target.
const RECOVERY: Duration = Duration::from_secs(3);

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
        let claims = target.claims(services);
        let is_free = |claim: &Target| busy.get(claim).is_none_or(|until| *until <= at);
        if claims.iter().all(is_free) && at + lasts <= length {
            for claim in claims {
                busy.insert(claim, at + lasts + RECOVERY);
            }
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
    let mut one_of = |services: &[&'static str]| {
        let service = services.choose(random).copied();
        service.unwrap_or(ORCHESTRATOR)
    };
    match fault {
        Fault::KillInstance | Fault::StopInstance | Fault::FreezeInstance => {
            let service = one_of(services);
            Target::Instance(service, random.random_range(0..scene.instances.max(1)))
        }
        Fault::AddInstance | Fault::DieInBatch => Target::Service(one_of(services)),
        Fault::DelayRecords => {
            let participants = services.iter().filter(|service| **service != ORCHESTRATOR);
            Target::Service(one_of(&participants.copied().collect::<Vec<_>>()))
        }
        Fault::JumpClock => Target::Service(ORCHESTRATOR),
        Fault::KillBroker | Fault::StopBroker | Fault::FreezeBroker => {
            Target::Broker(random.random_range(0..scene.brokers.max(1)))
        }
        Fault::KillPostgres
        | Fault::StopPostgres
        | Fault::FreezePostgres
        | Fault::CutConnections => Target::Postgres,
        Fault::FailSerialization
        | Fault::Deadlock
        | Fault::SlowStatements
        | Fault::FillDisk
        | Fault::RefuseConnections
        | Fault::ReadOnly
        | Fault::LoseCommits => Target::Database(one_of(services)),
        Fault::FreezeRegistry | Fault::CutRegistry => Target::Registry,
        Fault::BreakGateway | Fault::SilenceGateway | Fault::LoseGatewayAnswers => Target::Gateway,
        Fault::RepeatRecords | Fault::Poison | Fault::AddPartition => Target::Topics,
        Fault::HangTransaction => Target::Readers,
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
    const SERVICES: &[&str] = &[ORCHESTRATOR, "one", "two"];

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
                let claims = event.target.claims(SERVICES);
                for later in &events[index + 1..] {
                    let of_later = later.target.claims(SERVICES);
                    if claims.iter().any(|claim| of_later.contains(claim)) {
                        assert!(event.at + event.lasts <= later.at, "{event} / {later}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_server_and_its_databases_are_struck_in_turns_and_databases_side_by_side() {
        let claims = |target: Target| target.claims(SERVICES);
        assert!(claims(Target::Postgres).contains(&Target::Database("one")));
        assert_ne!(
            claims(Target::Database("one")),
            claims(Target::Database("two"))
        );
        assert_eq!(claims(Target::Broker(1)), claims(Target::Broker(2)));
    }
}
