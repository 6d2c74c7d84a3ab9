//! A database server that refuses, fails or is slow.

use rand::RngExt;
use rand::rngs::StdRng;
use stack::Service;
use tokio::time::sleep;

use crate::sabotage::{Harm, Rival, Sabotage};
use crate::storm::schedule::{Event, Fault};
use crate::{Lost, System};

/// More seconds than a service of a storm waits for a statement.
const TOO_SLOW: u32 = 3;

/// Does a service's database the fault, for as long as it lasts.
pub(super) async fn harm(system: &System, service: &str, event: &Event, random: &mut StdRng) {
    let harm = match event.fault {
        Fault::FailSerialization => Harm::Raises("40001"),
        Fault::SlowStatements => Harm::Sleeps(TOO_SLOW),
        Fault::FillDisk => Harm::DiskFull,
        Fault::Deadlock => {
            let rival = Rival::of(system, service).await;
            return rival.strike_for(event.lasts).await;
        }
        Fault::RefuseConnections => {
            let (refuse, admit) = (
                "ALTER ROLE {} CONNECTION LIMIT 0",
                "ALTER ROLE {} CONNECTION LIMIT -1",
            );
            return administered(system, service, event, refuse, admit).await;
        }
        Fault::ReadOnly => {
            let (only_reads, writes) = (
                "ALTER DATABASE {} SET default_transaction_read_only = on",
                "ALTER DATABASE {} RESET default_transaction_read_only",
            );
            return administered(system, service, event, only_reads, writes).await;
        }
        _ => {
            let network = &system.proxies().databases[service];
            network.lose_commits(Lost::Request, random.random_range(5..10));
            network.lose_commits(Lost::Answer, random.random_range(5..10));
            sleep(event.lasts).await;
            network.lose_commits(Lost::Request, 0);
            network.lose_commits(Lost::Answer, 0);
            return;
        }
    };
    let sabotage = Sabotage::begin(system, service, harm).await;
    sleep(event.lasts).await;
    sabotage.end().await;
}

/// What concerns new connections: the old ones are cut, before and after.
async fn administered(system: &System, service: &str, event: &Event, begin: &str, end: &str) {
    system.administer(service, begin).await;
    system.cut_connections(service).await;
    sleep(event.lasts).await;
    system.administer(service, end).await;
    system.cut_connections(service).await;
}

/// Cuts every connection to the server, wherever they are.
pub(super) async fn cut_connections(system: &System) {
    for service in Service::ALL {
        system.cut_connections(service.name()).await;
    }
}
