//! Brokers that stop, die, hang and return. The services stay up throughout,
//! and find back by themselves.

use std::time::{Duration, Instant};

use contracts::Topic;
use futures::future::join_all;
use integration_tests::load::Load;
use integration_tests::{Options, PATIENCE, SERVICES, System};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::MetadataPartition;
use stack::{Part, PartKind};
use tokio::time::sleep;

use super::instances::{everywhere, works};

/// Carts a second. The load goes on for as long as the fault does.
const RATE: f64 = 15.0;

/// How long the broker hangs: longer than sessions, transactions and the waits
/// of clients.
const HANG: Duration = Duration::from_secs(30);

/// The shortest load.
const CARTS: usize = 100;

fn one_broker() -> Options {
    Options {
        own_brokers: 1,
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_stopped_in_order_and_started_again() {
    let system = System::start("broker_restart", one_broker()).await;
    let broker = system.parts(PartKind::Kafka)[0];
    let restart = async {
        everywhere(async |service| works(&system, service, &[0]).await).await;
        let process = broker.process().expect("a process of ours");
        process.terminate().expect("asked to stop");
        process.wait_ended(PATIENCE).await.expect("it ended");
        return_of(broker).await;
        everywhere(async |service| works(&system, service, &[0]).await).await;
    };
    survived(&system, restart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_killed_and_started_again() {
    let system = System::start("broker_kill", one_broker()).await;
    let broker = system.parts(PartKind::Kafka)[0];
    let kills = async {
        for _ in 0..2 {
            everywhere(async |service| works(&system, service, &[0]).await).await;
            kill(broker).await;
            return_of(broker).await;
        }
        everywhere(async |service| works(&system, service, &[0]).await).await;
    };
    survived(&system, kills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_hangs_for_thirty_seconds() {
    let options = Options {
        // Shorter than the broker hangs: they try with one new client after another.
        environment: &[
            ("inventory", "REJOIN_TIMEOUT_MS", "8000"),
            ("payment", "DELIVERY_TIMEOUT_MS", "5000"),
            // Some of its gateway's answers come when the broker hangs already.
            ("payment", "SIMULATED_LATENCY_MS", "2000"),
        ],
        ..one_broker()
    };
    let system = System::start("broker_hang", options).await;
    let process = system.parts(PartKind::Kafka)[0].process();
    let process = process.expect("a process of ours");
    let hang = async {
        everywhere(async |service| works(&system, service, &[0]).await).await;
        process.pause().expect("told to freeze");
        let pid = process.pid().expect("it runs");
        system.until_frozen("the broker", pid).await;
        // What was under way has arrived; nothing more does.
        sleep(HANG / 10).await;
        let before = system.recorder.all().len();
        sleep(HANG - HANG / 10).await;
        assert_eq!(system.recorder.all().len(), before, "the broker hung");
        for (service, says) in [
            ("inventory", "did not get into its group within 8s"),
            ("payment", "a delivery failed"),
        ] {
            system.until_logged(service, says).await;
        }
        process.resume().expect("told to go on");
        everywhere(async |service| works(&system, service, &[0]).await).await;
    };
    survived(&system, hang).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_three_brokers_is_killed_in_turn_leaders_and_coordinators_alike() {
    let options = Options {
        own_brokers: 3,
        ..Options::default()
    };
    let system = System::start("three_brokers", options).await;
    let brokers = system.parts(PartKind::Kafka);
    let cluster = Cluster::of(&system);
    let kills = async {
        everywhere(async |service| works(&system, service, &[0]).await).await;
        cluster.wait_replicated(&system).await;
        assert_eq!(cluster.in_sync_needed(&system).await, "2");
        // First the one that coordinates the orchestrator's group: with four
        // partitions of that topic, the others may coordinate nobody.
        let first = cluster.coordinator(&system, "orchestrator");
        for step in 0..3 {
            let id = (first - 1 + step) % 3 + 1;
            // One that hung for a moment on a busy machine gets its own back.
            system
                .until("the broker leads partitions of ours", async || {
                    cluster.count(&system, |partition| partition.leader() == id) > 0
                })
                .await;
            let broker = brokers[usize::try_from(id - 1).expect("from 1")];
            kill(broker).await;
            system
                .until("the others lead what it led", async || {
                    cluster.count(&system, |partition| partition.leader() == id) == 0
                })
                .await;
            // Two of three replicas suffice.
            everywhere(async |service| works(&system, service, &[0]).await).await;
            return_of(broker).await;
            cluster.wait_replicated(&system).await;
        }
        everywhere(async |service| works(&system, service, &[0]).await).await;
    };
    survived(&system, kills).await;
}

/// What happens under load loses nothing, doubles nothing, and ends no service.
async fn survived(system: &System, happening: impl Future<Output = ()>) {
    let before = pids(system).await;
    let carts = system.load_during(Load::new(CARTS, RATE), happening).await;
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
    assert_eq!(
        pids(system).await,
        before,
        "every service is still the same"
    );
}

async fn pids(system: &System) -> Vec<Option<u32>> {
    let instances = SERVICES.iter().map(|service| system.instance(service, 0));
    let instances = join_all(instances).await;
    instances
        .iter()
        .map(|instance| instance.process.pid())
        .collect()
}

async fn kill(broker: &Part) {
    let process = broker.process().expect("a process of ours");
    process.kill9().expect("killed");
    process.wait_ended(PATIENCE).await.expect("it ended");
}

async fn return_of(broker: &Part) {
    let process = broker.process().expect("a process of ours");
    process.start_again().await.expect("it starts again");
    broker.wait_ready(2 * PATIENCE).await.expect("it is ready");
}

/// Who leads and holds what, as the brokers that live tell it.
struct Cluster(BaseConsumer);

impl Cluster {
    fn of(system: &System) -> Self {
        let servers = &system.installation().bootstrap_servers;
        let consumer = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .set("log_level", "0")
            .create();
        Self(consumer.expect("a client"))
    }

    /// Asked again where no answer comes: the broker that was asked may be the one
    /// that was just killed, and the client then waits for it alone.
    fn metadata(&self) -> rdkafka::metadata::Metadata {
        let begin = Instant::now();
        loop {
            let limit = Duration::from_secs(5);
            match tokio::task::block_in_place(|| self.0.fetch_metadata(None, limit)) {
                Ok(metadata) => return metadata,
                Err(error) => assert!(begin.elapsed() < PATIENCE, "no metadata: {error}"),
            }
        }
    }

    /// How many partitions of the system are like this.
    fn count(&self, system: &System, like: impl Fn(&MetadataPartition) -> bool) -> usize {
        let prefix = &system.installation().topic_prefix;
        let metadata = self.metadata();
        let topics = metadata.topics().iter();
        topics
            .filter(|topic| topic.name().starts_with(prefix))
            .flat_map(|topic| topic.partitions())
            .filter(|partition| like(partition))
            .count()
    }

    /// The broker that coordinates a service's group.
    fn coordinator(&self, system: &System, service: &str) -> i32 {
        let metadata = self.metadata();
        let offsets = metadata.topics().iter();
        let offsets = offsets
            .filter(|topic| topic.name() == "__consumer_offsets")
            .flat_map(|topic| topic.partitions())
            .collect::<Vec<_>>();
        let group = format!("{}checkout-{service}", system.installation().topic_prefix);
        // As Java hashes text.
        let hash = group.bytes().fold(0_i32, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(i32::from(byte))
        });
        let at = hash.unsigned_abs() as usize % offsets.len();
        let of = offsets
            .iter()
            .find(|partition| partition.id() as usize == at);
        of.expect("the partition").leader()
    }

    /// How many replicas of a public topic must have a record before a writer is
    /// told that it is written.
    async fn in_sync_needed(&self, system: &System) -> String {
        let servers = &system.installation().bootstrap_servers;
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", servers)
            .create()
            .expect("a client");
        let topic = ResourceSpecifier::Topic(system.names.name(Topic::OrderingOrders));
        let described = admin.describe_configs(&[topic], &AdminOptions::new()).await;
        let described = described.expect("an answer").remove(0).expect("the topic");
        let value = described.get("min.insync.replicas");
        let value = value.and_then(|entry| entry.value.clone());
        value.expect("every topic has it")
    }

    /// Waits until all three brokers have all there is, internal topics too.
    async fn wait_replicated(&self, system: &System) {
        assert!(self.count(system, |_| true) > 0, "there are topics");
        system
            .until("three replicas of everything are in sync", async || {
                let metadata = self.metadata();
                let mut partitions = metadata
                    .topics()
                    .iter()
                    .flat_map(|topic| topic.partitions());
                partitions.all(|partition| partition.isr().len() == 3)
            })
            .await;
    }
}
