//! Records, partitions and transactions.

use std::time::Duration;

use contracts::Topic;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::time::sleep;

use crate::storm::schedule::Fault;
use crate::stranger::Stranger;
use crate::{Seen, System};

/// Inner records that are published again at once.
const REPEATED: usize = 50;
/// The key of records that nobody can read.
const POISON_KEY: &[u8] = b"a-storms-poison";
/// Poison records at once.
const POISONED: usize = 3;

pub(super) async fn strike(system: &System, fault: Fault, random: &mut StdRng) {
    match fault {
        Fault::Poison => poison(system).await,
        Fault::AddPartition => add_partition(system, random).await,
        _ => repeat(system, random).await,
    }
}

fn consumed() -> Vec<Topic> {
    let topics = Topic::ALL.iter().copied();
    topics.filter(|topic| topic.is_consumed()).collect()
}

/// Publishes some of the inner records that were seen once more, byte for byte; some are
/// of checkouts that have long ended.
async fn repeat(system: &System, random: &mut StdRng) {
    let is_inner = |seen: &Seen| {
        let topic = system.names.topic(&seen.topic);
        topic.is_some_and(Topic::is_consumed) && seen.message.is_some()
    };
    let mut inner = system.recorder.all();
    inner.retain(is_inner);
    for _ in 0..REPEATED {
        let Some(seen) = inner.choose(random) else {
            return;
        };
        system.publish_again(seen).await;
    }
}

async fn poison(system: &System) {
    for topic in consumed() {
        for _ in 0..POISONED {
            let bytes: &[u8] = b"\x00\xff\xff\xff\xffnobody can read this";
            system
                .publish_raw(topic, Some(POISON_KEY), Some(bytes), &[])
                .await;
        }
    }
}

async fn add_partition(system: &System, random: &mut StdRng) {
    let topic = *consumed().choose(random).expect("some");
    let partitions = system.partitions(topic).await;
    system.set_partitions(topic, partitions + 1).await;
}

/// A transaction on a public topic stays open for so long.
pub(super) async fn hang(system: &System, lasts: Duration, random: &mut StdRng) {
    let public = [Topic::OrderingOrders, Topic::OrderingCheckouts];
    let stranger = Stranger::begin(system, *public.choose(random).expect("some")).await;
    sleep(lasts).await;
    stranger.abort().await;
}
