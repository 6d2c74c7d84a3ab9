//! Apache Kafka in KRaft mode: every node is broker and controller.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::process::Command;

use super::cache::Parts;
use super::{java, part_folder};
use crate::command;
use crate::error::{Error, Result};
use crate::guard::{Guard, ProcessSpec, Stopping};
use crate::kafka_admin;
use crate::part::{Detour, Part, PartKind};
use crate::ports;
use crate::progress::Progress;
use crate::stack::Options;
use crate::wait;

/// Formatting a log folder: one start of a JVM.
const FORMAT_LIMIT: Duration = Duration::from_secs(120);
/// A broker's start, on a machine that is busy compiling.
const READY_LIMIT: Duration = Duration::from_secs(300);
/// Milliseconds for an orderly stop. The data is removed afterwards.
const STOP_LIMIT_MS: u64 = 5_000;

pub(super) struct Kafka {
    pub(super) bootstrap_servers: String,
    pub(super) brokers: Vec<Part>,
}

struct Node {
    id: u16,
    name: String,
    clients: u16,
    controller: u16,
    detour: Option<Ports>,
    /// See [`session_timeout_ms`].
    session_timeout_ms: u32,
    folder: PathBuf,
    log: PathBuf,
}

/// Of a [`Detour`].
struct Ports {
    told: u16,
    listens: u16,
}

impl Ports {
    fn free() -> Result<Self> {
        let (told, listens) = (ports::free()?, ports::free()?);
        Ok(Self { told, listens })
    }

    fn addresses(&self) -> Detour {
        let [told, listens] = [self.told, self.listens].map(|port| format!("127.0.0.1:{port}"));
        Detour { told, listens }
    }
}

impl Node {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.clients)
    }
}

pub(super) async fn start(
    guard: &Guard,
    parts: &Parts,
    base: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Kafka> {
    let task = progress.task("Kafka");
    let brokers = options.brokers.max(1);
    let nodes = (1..=brokers)
        .map(|id| {
            Ok(Node {
                id,
                name: match brokers {
                    1 => "Kafka".to_owned(),
                    _ => format!("Kafka {id}"),
                },
                clients: ports::free()?,
                controller: ports::free()?,
                detour: options.detour.then(Ports::free).transpose()?,
                session_timeout_ms: session_timeout_ms(options.short_lived),
                folder: part_folder(guard, base, &format!("kafka-{id}"))?,
                log: base.join(format!("kafka-{id}.log")),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    // 16 random bytes, in the form that Kafka gives its cluster ids.
    let cluster = uuid::Uuid::new_v4().simple().to_string()[..22].to_owned();
    task.update("formatting");
    futures::future::try_join_all(
        nodes
            .iter()
            .map(|node| format(parts, node, &nodes, &cluster)),
    )
    .await?;

    task.update("starting");
    let mut started = Vec::new();
    for node in &nodes {
        let process = guard.run(broker(parts, node, options.short_lived)).await?;
        started.push(Part {
            kind: PartKind::Kafka,
            name: node.name.clone(),
            address: node.address(),
            url: node.address(),
            process: Some(process),
            detour: node.detour.as_ref().map(Ports::addresses),
        });
    }
    let bootstrap_servers = nodes
        .iter()
        .map(Node::address)
        .collect::<Vec<_>>()
        .join(",");
    for part in &started {
        part.wait_ready(READY_LIMIT).await?;
    }
    // Each of them alone is ready; now they must have found each other.
    wait::until("the Kafka cluster", READY_LIMIT, None, async || {
        let found = kafka_admin::ready_brokers(&bootstrap_servers).await?;
        match found >= usize::from(brokers) {
            true => Ok(()),
            false => Err(format!("{found} of {brokers} brokers take requests")),
        }
    })
    .await?;
    task.done(bootstrap_servers.clone());
    Ok(Kafka {
        bootstrap_servers,
        brokers: started,
    })
}

async fn format(parts: &Parts, node: &Node, nodes: &[Node], cluster: &str) -> Result<()> {
    let properties = node.folder.join("server.properties");
    let temporary = node.folder.join("tmp");
    std::fs::create_dir(&temporary)
        .and_then(|()| std::fs::write(&properties, server_properties(node, nodes)))
        .map_err(Error::io(format!("cannot write {}", properties.display())))?;
    let mut tool = Command::new(java());
    tool.args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-cp")
        .arg(parts.kafka.join("*"))
        .args(["kafka.tools.StorageTool", "format", "-t", cluster, "-c"])
        .arg(&properties);
    command::run(tool, FORMAT_LIMIT, |_| {}).await?;
    Ok(())
}

fn broker(parts: &Parts, node: &Node, short_lived: bool) -> ProcessSpec {
    let text = |path: &Path| path.display().to_string();
    ProcessSpec {
        name: node.name.clone(),
        program: java(),
        args: [
            "-Xms512m",
            // A hundred installations, as in a run of all tests, have 15,000 partitions.
            "-Xmx1g",
            // Pauses of a heap this small are short, and this collector takes
            // the least from the two cores.
            "-XX:+UseParallelGC",
            "-XX:+ExitOnOutOfMemoryError",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
        ]
        .into_iter()
        .chain(short_lived.then_some("-XX:TieredStopAtLevel=1"))
        .map(str::to_owned)
        .chain([
            format!("-Djava.io.tmpdir={}", text(&node.folder.join("tmp"))),
            "-cp".into(),
            text(&parts.kafka.join("*")),
            "kafka.Kafka".into(),
            text(&node.folder.join("server.properties")),
        ])
        .collect(),
        env: Vec::new(),
        folder: node.folder.clone(),
        log: node.log.clone(),
        user: None,
        stopping: Stopping {
            signal: Signal::SIGTERM as i32,
            order: 1,
            limit_ms: STOP_LIMIT_MS,
        },
    }
}

/// One node's configuration: what a cluster of one machine needs, and what
/// makes it quick to start, to coordinate a group and to come back.
fn server_properties(node: &Node, nodes: &[Node]) -> String {
    let voters = nodes
        .iter()
        .map(|node| format!("{}@127.0.0.1:{}", node.id, node.controller))
        .collect::<Vec<_>>()
        .join(",");
    let replicas = nodes.len().min(3);
    let in_sync = replicas.saturating_sub(1).max(1);
    let detour = |port: fn(&Ports) -> u16| {
        let address = |ports| format!(",DETOUR://127.0.0.1:{}", port(ports));
        node.detour.as_ref().map(address).unwrap_or_default()
    };
    let mut text = format!(
        "process.roles=broker,controller\n\
         node.id={id}\n\
         controller.quorum.voters={voters}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=CLIENTS://127.0.0.1:{clients},CONTROLLER://127.0.0.1:{controller}{listens}\n\
         advertised.listeners=CLIENTS://127.0.0.1:{clients}{told}\n\
         listener.security.protocol.map=CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT\n\
         inter.broker.listener.name=CLIENTS\n\
         log.dirs={data}\n\
         default.replication.factor={replicas}\n\
         min.insync.replicas={in_sync}\n\
         offsets.topic.replication.factor={replicas}\n\
         transaction.state.log.replication.factor={replicas}\n\
         transaction.state.log.min.isr={in_sync}\n",
        id = node.id,
        clients = node.clients,
        controller = node.controller,
        listens = detour(|ports| ports.listens),
        told = detour(|ports| ports.told),
        data = node.folder.join("data").display(),
    );
    let _ = writeln!(
        text,
        "broker.session.timeout.ms={}",
        node.session_timeout_ms
    );
    for (name, value) in TUNING {
        let _ = writeln!(text, "{name}={value}");
    }
    text
}

/// For how long a broker may be silent. One that was killed and returns must wait until its
/// earlier life is given up, so that tests which kill theirs make it short. Others are to
/// outlast a machine that stands still for some seconds.
fn session_timeout_ms(short_lived: bool) -> u32 {
    match short_lived {
        true => 4_000,
        false => 20_000,
    }
}

/// The same for every node.
const TUNING: &[(&str, &str)] = &[
    // A topic exists because it was applied, never because of a typing error.
    ("auto.create.topics.enable", "false"),
    // Fifty partitions each by default, which the first group and the first
    // transaction would have to wait for.
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.num.partitions", "4"),
    // A group is complete when its first member is there.
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "1000"),
    ("group.consumer.min.session.timeout.ms", "1000"),
    ("group.consumer.min.heartbeat.interval.ms", "100"),
    ("group.consumer.heartbeat.interval.ms", "1000"),
    // A transaction that a killed producer left open ends within a second of
    // its time-out.
    (
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        "1000",
    ),
    ("broker.heartbeat.interval.ms", "500"),
    // Partitions go back to their first leader soon after it is back.
    ("leader.imbalance.check.interval.seconds", "10"),
    // Metadata changes, such as new topics, are written at once.
    ("controller.quorum.append.linger.ms", "0"),
    // Two cores, 512 MB.
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
    ("background.threads", "4"),
    ("log.cleaner.dedupe.buffer.size", "16777216"),
    ("log.index.size.max.bytes", "1048576"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u16) -> Node {
        Node {
            id,
            name: format!("Kafka {id}"),
            clients: 20_000 + id,
            controller: 21_000 + id,
            detour: None,
            session_timeout_ms: session_timeout_ms(true),
            folder: PathBuf::from("/stack/kafka"),
            log: PathBuf::from("/stack/kafka.log"),
        }
    }

    #[test]
    fn one_node_needs_no_replicas() {
        let text = server_properties(&node(1), &[node(1)]);
        assert!(text.contains("controller.quorum.voters=1@127.0.0.1:21001\n"));
        assert!(text.contains("offsets.topic.replication.factor=1\n"));
        assert!(text.contains("transaction.state.log.min.isr=1\n"));
        assert!(text.contains("group.initial.rebalance.delay.ms=0\n"));
        assert!(text.contains("broker.session.timeout.ms=4000\n"));
    }

    #[test]
    fn three_nodes_replicate() {
        let nodes = [node(1), node(2), node(3)];
        let text = server_properties(&nodes[1], &nodes);
        assert!(text.contains("node.id=2\n"));
        assert!(text.contains("=1@127.0.0.1:21001,2@127.0.0.1:21002,3@127.0.0.1:21003\n"));
        assert!(text.contains("offsets.topic.replication.factor=3\n"));
        assert!(text.contains("min.insync.replicas=2\n"));
    }
}
