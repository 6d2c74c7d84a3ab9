//! How each fault is done, and undone.
//!
//! - `processes`: parts and instances that die, stop, hang and join.
//! - `databases`: a server that refuses, fails or is slow.
//! - `topics`: records, partitions and transactions.

mod databases;
mod processes;
mod topics;

use std::time::Duration;

use audit::DeadLetter;
use rand::SeedableRng;
use rand::rngs::StdRng;
use stack::PartKind;
use tokio::time::{sleep, timeout};

use super::schedule::{Event, Fault, Target};
use crate::gateway::Misbehaviour;
use crate::storm::Ground;
use crate::{Network, System};

pub(super) use processes::heal;

/// Longer than the payment service of a storm waits for an answer.
const GATEWAY_IS_LATE: Duration = Duration::from_millis(1_500);

/// How much longer than planned the gateway misbehaves at most, until somebody has met it.
const MET_WITHIN: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Does one fault and undoes it. What it leaves open is drawn from the storm's seed.
pub(super) async fn strike(ground: &Ground, event: &Event, seed: u64) {
    let system = &ground.system;
    let mut random = StdRng::seed_from_u64(seed ^ event.at.as_nanos() as u64);
    match &event.target {
        Target::Instance(service, number) => {
            let instance = system.instance(service, *number).await;
            processes::process(&instance.process, event.fault, event.lasts).await;
        }
        Target::Service(service) => {
            processes::visit(system, service, event, &mut random).await;
        }
        Target::Broker(number) => {
            let brokers = system.parts(PartKind::Kafka);
            processes::part(brokers[*number], event.fault, event.lasts).await;
        }
        Target::Postgres if event.fault == Fault::CutConnections => {
            databases::cut_connections(system).await;
        }
        Target::Postgres => {
            let server = system.parts(PartKind::Postgres)[0];
            processes::part(server, event.fault, event.lasts).await;
        }
        Target::Database(service) => {
            databases::harm(system, service, event, &mut random).await;
        }
        Target::Registry if event.fault == Fault::CutRegistry => {
            cut_registry(system, event.lasts).await;
        }
        Target::Registry => {
            let registry = system.parts(PartKind::Registry)[0];
            processes::part(registry, event.fault, event.lasts).await;
        }
        Target::Gateway => misbehave(ground, event).await,
        Target::Topics => topics::strike(system, event.fault, &mut random).await,
        Target::Readers => topics::hang(system, event.lasts, &mut random).await,
    }
}

async fn cut_registry(system: &System, lasts: Duration) {
    let network = &system.proxies().registry;
    network.set(Network::Down);
    sleep(lasts).await;
    network.set(Network::Up);
}

async fn misbehave(ground: &Ground, event: &Event) {
    ground.gateway.set(match event.fault {
        Fault::BreakGateway => Misbehaviour::BreaksDown,
        Fault::SilenceGateway => Misbehaviour::IsLate(GATEWAY_IS_LATE),
        _ => Misbehaviour::LosesAnswers,
    });
    let before = ground.gateway.misbehaved();
    sleep(event.lasts).await;
    // What struck before may keep payment from asking at all: on a slow machine for
    // longer than this was to last, and then nothing would have met the fault.
    let met = async {
        while ground.gateway.misbehaved() == before {
            sleep(LOOK_AGAIN).await;
        }
    };
    // Elapsing means that nobody pays any more.
    let _ = timeout(MET_WITHIN, met).await;
    ground.gateway.set(Misbehaviour::None);
}

/// Whether a dead letter is one that a storm has published.
pub(super) fn is_poison_of_ours(letter: &DeadLetter) -> bool {
    letter.message.is_none()
}
