//! How each fault is done, and undone.

use std::time::Duration;

use audit::DeadLetter;
use contracts::Topic;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stack::{Part, PartKind, Process, ProcessState, Service};
use tokio::time::sleep;

use super::schedule::{Event, Fault, Target};
use crate::{PATIENCE, SERVICES, System};

/// Inner records that are published again at once.
const REPEATED: usize = 50;
/// The key of records that nobody can read.
const POISON_KEY: &[u8] = b"a-storms-poison";
/// Poison records at once.
const POISONED: usize = 3;
/// The limit of a graceful stop; then the instance is killed, as an init system
/// would.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Does one fault and undoes it.
pub(super) async fn strike(system: &System, event: &Event, seed: u64) {
    match (&event.target, event.fault) {
        (Target::Instance(service, number), fault) => {
            let instance = system.instance(service, *number).await;
            process(&instance.process, fault, event.lasts).await;
        }
        (Target::Service(service), _) => {
            let added = system.add_instance(service).await;
            sleep(event.lasts).await;
            stop(&added.process).await;
        }
        (Target::Broker(number), fault) => {
            let brokers = system.parts(PartKind::Kafka);
            part(brokers[*number], fault, event.lasts).await;
        }
        (Target::Postgres, Fault::CutConnections) => cut_connections(system).await,
        (Target::Postgres, fault) => {
            part(system.parts(PartKind::Postgres)[0], fault, event.lasts).await;
        }
        (Target::Registry, fault) => {
            part(system.parts(PartKind::Registry)[0], fault, event.lasts).await;
        }
        (Target::Topics, Fault::Poison) => poison(system).await,
        (Target::Topics, _) => repeat(system, seed ^ event.at.as_nanos() as u64).await,
    }
}

async fn part(part: &Part, fault: Fault, lasts: Duration) {
    let of = part.process().expect("parts of the system's own");
    process(of, fault, lasts).await;
    part.wait_ready(PATIENCE)
        .await
        .unwrap_or_else(|error| panic!("{} does not come back: {error}", part.name));
}

async fn process(process: &Process, fault: Fault, lasts: Duration) {
    match fault {
        Fault::FreezeInstance
        | Fault::FreezeBroker
        | Fault::FreezePostgres
        | Fault::FreezeRegistry => {
            process.pause().expect("frozen");
            sleep(lasts).await;
            process.resume().expect("thawed");
            return;
        }
        Fault::StopInstance | Fault::StopBroker | Fault::StopPostgres => stop(process).await,
        _ => kill(process).await,
    }
    sleep(lasts).await;
    start(process).await;
}

async fn kill(process: &Process) {
    process.kill9().expect("killed");
    process.wait_ended(PATIENCE).await.expect("it ended");
}

async fn stop(process: &Process) {
    process.terminate().expect("asked to stop");
    if process.wait_ended(STOP_LIMIT).await.is_err() {
        kill(process).await;
    }
}

/// Starts what has ended; it may have to wait for others that are away.
async fn start(process: &Process) {
    if matches!(process.state(), ProcessState::Ended(_)) {
        process.start_again().await.expect("started");
    }
}

/// After the storm: starts what ended by itself, and tells what that was. Those of
/// the `first` instances of a service stay to the end; those that joined have left.
pub(super) async fn heal(system: &System, first: usize) -> Vec<String> {
    let mut ended = Vec::new();
    for service in SERVICES {
        for instance in system.instances(service).await.iter().take(first) {
            if let ProcessState::Ended(status) = instance.process.state() {
                ended.push(format!("{}: {status}", instance.process.spec().name));
                start(&instance.process).await;
            }
        }
    }
    for service in SERVICES {
        for instance in system.instances(service).await {
            if instance.process.pid().is_some() {
                instance.wait_ready(PATIENCE).await.expect("ready again");
            }
        }
    }
    ended
}

async fn cut_connections(system: &System) {
    for service in Service::ALL {
        // A server that is just coming back may refuse: then nothing is left to cut.
        if let Ok(client) = system.installation().connect(*service).await {
            let _ = client
                .execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                    &[],
                )
                .await;
        }
    }
}

/// Publishes some of the inner records that were seen once more, byte for byte.
async fn repeat(system: &System, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let inner: Vec<_> = system
        .recorder
        .all()
        .into_iter()
        .filter_map(|seen| {
            let topic = system.names.topic(&seen.topic)?;
            (topic.is_consumed() && seen.message.is_some()).then_some((topic, seen))
        })
        .collect();
    if inner.is_empty() {
        return;
    }
    for _ in 0..REPEATED {
        let (topic, seen) = &inner[random.random_range(0..inner.len())];
        let headers: Vec<(&str, &[u8])> = seen
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let (key, payload) = (seen.key.as_deref(), seen.payload.as_deref());
        system.publish_raw(*topic, key, payload, &headers).await;
    }
}

async fn poison(system: &System) {
    for topic in Topic::ALL.iter().filter(|topic| topic.is_consumed()) {
        for _ in 0..POISONED {
            let bytes: &[u8] = b"\x00\xff\xff\xff\xffnobody can read this";
            system
                .publish_raw(*topic, Some(POISON_KEY), Some(bytes), &[])
                .await;
        }
    }
}

/// Whether a dead letter is one that a storm has published.
pub(super) fn is_poison_of_ours(letter: &DeadLetter) -> bool {
    letter.message.is_none()
}
