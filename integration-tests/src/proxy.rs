//! A stretch of network between a service and a part, which a test disturbs
//! without touching the part itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A plain `COMMIT`, as it is sent to PostgreSQL.
const COMMIT_ASKED: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// Its answer.
const COMMIT_ANSWERED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";

/// What the stretch does with what is sent over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// It passes.
    Up,
    /// Connections break, new ones at once.
    Down,
    /// Connections stay, and nothing arrives.
    Frozen,
}

/// Which message about a commit gets lost, and the connection with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// `COMMIT` does not arrive.
    Request,
    /// It is done, and nobody is told.
    Answer,
}

/// Every how manieth commit is lost, 0 for none, and how many were.
#[derive(Default)]
struct Losses {
    every: AtomicU64,
    seen: AtomicU64,
    lost: AtomicU64,
}

impl Losses {
    fn loses_this(&self) -> bool {
        let every = self.every.load(Ordering::Relaxed);
        let lost = every > 0
            && self
                .seen
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(every);
        if lost {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        lost
    }
}

#[derive(Default)]
struct Commits {
    requests: Losses,
    answers: Losses,
}

/// One stretch of network. It ends with this value.
pub struct Proxy {
    port: u16,
    network: watch::Sender<Network>,
    commits: Arc<Commits>,
}

impl Proxy {
    /// Listens on a port of its own and passes everything on to `target`
    /// ("host:port").
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (network, watching) = watch::channel(Network::Up);
        let commits = Arc::<Commits>::default();
        tokio::spawn(serve(
            listener,
            target.to_owned(),
            watching,
            Arc::clone(&commits),
        ));
        Self {
            port,
            network,
            commits,
        }
    }

    /// The address of the near end.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Changes what it does, for connections that are open as well.
    pub fn set(&self, network: Network) {
        self.network.send_replace(network);
    }

    /// From now on loses every so manieth commit; 0: none.
    pub fn lose_commits(&self, lost: Lost, every: u64) {
        self.losses(lost).every.store(every, Ordering::Relaxed);
    }

    /// How many commits it has lost.
    pub fn lost_commits(&self, lost: Lost) -> u64 {
        self.losses(lost).lost.load(Ordering::Relaxed)
    }

    fn losses(&self, lost: Lost) -> &Losses {
        match lost {
            Lost::Request => &self.commits.requests,
            Lost::Answer => &self.commits.answers,
        }
    }
}

async fn serve(
    listener: TcpListener,
    target: String,
    mut network: watch::Receiver<Network>,
    commits: Arc<Commits>,
) {
    loop {
        let near = tokio::select! {
            accepted = listener.accept() => accepted,
            // Ends when the proxy is dropped.
            changed = network.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let Ok((near, _)) = near else { continue };
        if *network.borrow() == Network::Down {
            continue;
        }
        let (target, network) = (target.clone(), network.clone());
        let commits = Arc::clone(&commits);
        tokio::spawn(async move {
            let Ok(far) = TcpStream::connect(&target).await else {
                return;
            };
            // What a trip sends at once must not wait for acknowledgements.
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
            let asked =
                |bytes: &[u8]| contains(bytes, COMMIT_ASKED) && commits.requests.loses_this();
            let answered =
                |bytes: &[u8]| contains(bytes, COMMIT_ANSWERED) && commits.answers.loses_this();
            // Where one direction ends, so does the connection.
            tokio::select! {
                () = pump(near_in, far_out, network.clone(), asked) => {}
                () = pump(far_in, near_out, network, answered) => {}
            }
        });
    }
}

/// Passes bytes on until the connection ends, the network breaks, or what is
/// passed `is_lost`.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
    is_lost: impl Fn(&[u8]) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            () = down(&mut network) => return,
        };
        let bytes = match read {
            Ok(read) if read > 0 => &buffer[..read],
            _ => return,
        };
        let passes = matches!(
            network
                .wait_for(|network| *network != Network::Frozen)
                .await
                .as_deref(),
            Ok(Network::Up)
        );
        if !passes || is_lost(bytes) || to.write_all(bytes).await.is_err() {
            return;
        }
    }
}

async fn down(network: &mut watch::Receiver<Network>) {
    // An error means that the proxy is gone, and its connections with it.
    let _ = network.wait_for(|network| *network == Network::Down).await;
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
