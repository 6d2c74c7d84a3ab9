//! Parts and instances that die, stop, hang and join.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use stack::{Part, PartKind, Process, ProcessState, Service};
use tokio::time::{Instant, sleep};

use crate::storm::schedule::{Event, Fault};
use crate::{PATIENCE, SERVICES, System};

/// The limit of a graceful stop; then the instance is killed, as an init system
/// would.
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Where an instance dies.
const POINTS: &[&str] = &[
    "before-transaction",
    "in-transaction",
    "after-commit",
    "while-publishing",
    "after-publishing",
];
/// Where an orchestrator dies as well.
const PUBLIC_POINTS: &[&str] = &["in-public-transaction", "after-public-transaction"];
/// Longer than the orchestrator of a storm waits for an answer, a few times.
const LATE: &str = "after-commit=4*sleep(4000)->off";
/// In looks at the clock: at least five a second, and one for each batch.
const JUMPS: &str = "clock=20*return(3600000)->20*return(-3600000)->20*return(86400000)->20*off->\
                     20*return(3600000)->20*return(-86400000)->off";

/// One more instance joins, is as the fault has it, and leaves.
pub(super) async fn visit(system: &System, service: &str, event: &Event, random: &mut StdRng) {
    let is_so = match event.fault {
        Fault::DieInBatch => {
            let public = match service == Service::Orchestrator.name() {
                true => PUBLIC_POINTS,
                false => &[],
            };
            let points = [POINTS, public].concat();
            let point = points.choose(random).expect("some");
            format!("{point}={}*off->return", random.random_range(10..40))
        }
        Fault::DelayRecords => LATE.to_owned(),
        Fault::JumpClock => JUMPS.to_owned(),
        _ => String::new(),
    };
    let variables = [("FAILPOINTS", is_so.as_str())];
    // Who dies may do so before it is ready.
    let Some(added) = system.try_add_instance(service, &variables).await else {
        assert_eq!(
            event.fault,
            Fault::DieInBatch,
            "{service}: one more does not start"
        );
        return;
    };
    // Those who are idle die of nothing.
    let _ = added.process.wait_ended(event.lasts).await;
    if added.process.pid().is_some() {
        stop(&added.process).await;
    }
}

/// Does a part the fault, and waits until it serves again.
pub(super) async fn part(part: &Part, fault: Fault, lasts: Duration) {
    let of = part.process().expect("parts of the system's own");
    if fault == Fault::StopPostgres {
        // What others ask it to do, it takes for "wait until all have left".
        of.interrupt().expect("asked for a fast shutdown");
        of.wait_ended(PATIENCE).await.expect("it stopped");
        sleep(lasts).await;
    } else {
        process(of, fault, lasts).await;
    }
    let begin = Instant::now();
    loop {
        start(of).await;
        match part.wait_ready(PATIENCE).await {
            Ok(()) => return,
            // The children of a killed server keep its data folder for a moment; a new
            // one ends at once.
            Err(_) if part.kind == PartKind::Postgres && begin.elapsed() < PATIENCE => {
                sleep(Duration::from_millis(500)).await;
            }
            Err(error) => panic!("{} does not come back: {error}", part.name),
        }
    }
}

pub(super) async fn process(process: &Process, fault: Fault, lasts: Duration) {
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
        Fault::StopInstance | Fault::StopBroker => stop(process).await,
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
pub(crate) async fn heal(system: &System, first: usize) -> Vec<String> {
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
