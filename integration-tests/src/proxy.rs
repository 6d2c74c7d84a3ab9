//! A stretch of network between a service and a part, which a test disturbs
//! without touching the part itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the text of the statement begins that is a batch's commit, as a message that
/// prepares it for PostgreSQL has it behind the statement's name.
const COMMIT_PREPARED: &[u8] = b"\0WITH part_0 AS";
/// Its answer: a row of nothing and a transaction's id.
const COMMIT_ANSWERED: &[u8] = b"D\0\0\0\x16\0\x02\xff\xff\xff\xff\0\0\0\x08";

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
    /// It does not arrive.
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
        Self::start_at("127.0.0.1:0", target).await
    }

    /// The same, where its clients have been told.
    pub async fn start_at(address: &str, target: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
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
            let mut prepared = Prepared::default();
            let asked = |bytes: &[u8]| prepared.are_asked(bytes) && commits.requests.loses_this();
            let answered = |bytes: &[u8]| {
                places(bytes, COMMIT_ANSWERED).next().is_some() && commits.answers.loses_this()
            };
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
    mut is_lost: impl FnMut(&[u8]) -> bool,
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

/// The statements of a connection that are commits, each as its name is sent when it is
/// asked for.
#[derive(Default)]
struct Prepared(Vec<Vec<u8>>);

impl Prepared {
    /// Whether one is asked for: by a message `B`, its length, no portal, its name.
    fn are_asked(&mut self, bytes: &[u8]) -> bool {
        for end in places(bytes, COMMIT_PREPARED) {
            // An `s` and a number.
            let before = bytes[..end].iter().rev();
            let digits = before.take_while(|byte| byte.is_ascii_digit()).count();
            let name = &bytes[end.saturating_sub(digits + 1)..end];
            self.0.push([b"\0", name, b"\0"].concat());
        }
        let is_bound = |place: usize| place >= 5 && bytes[place - 5] == b'B';
        let mut names = self.0.iter();
        names.any(|name| places(bytes, name).any(is_bound))
    }
}

fn places<'a>(bytes: &'a [u8], part: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let windows = bytes.windows(part.len()).enumerate();
    windows.filter_map(move |(place, window)| (window == part).then_some(place))
}
