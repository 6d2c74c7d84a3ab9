//! What all pages share: where everything is, limits, and what is known so far.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use audit::Target;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use crate::options::{Instance, LimitArgs, Options};
use crate::problem::Problem;
use crate::sampling::Seen;
use crate::security::Access;

/// The console. Cheap to clone.
pub(crate) type Shared = Arc<Console>;

/// What all pages share.
pub(crate) struct Console {
    /// Where everything is.
    pub(crate) target: Target,
    /// The services' instances.
    pub(crate) instances: Vec<Instance>,
    /// What may be asked for.
    pub(crate) limits: LimitArgs,
    /// Who may do what.
    pub(crate) access: Access,
    /// What was sampled.
    pub(crate) seen: Seen,
    /// How long a page may take.
    pub(crate) page_limit: Duration,
    looks: Arc<Semaphore>,
}

impl Console {
    /// The console that these options describe.
    ///
    /// # Errors
    /// When the token can be guessed.
    pub(crate) fn new(options: Options, address: SocketAddr) -> anyhow::Result<Shared> {
        let limits = options.limits;
        let names = options.names.names();
        let target = options.target.target_within(names, limits.timeout());
        let access = Access::new(&options.access).map_err(|error| anyhow!(error))?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "the console is reachable from other machines, and does not speak TLS: whoever is \
                 between reads what it shows, and the token; put a proxy with TLS before it"
            );
        }
        if !access.can_act() {
            tracing::info!("read-only: set CONSOLE_TOKEN to let operators act");
        }
        let instances = options.services.instances();
        Ok(Arc::new(Self {
            seen: Seen::new(&instances),
            instances,
            page_limit: Duration::from_millis(options.http.http_timeout_ms).mul_f64(0.9),
            looks: Arc::new(Semaphore::new(usize::from(limits.looks_at_once))),
            target,
            limits,
            access,
        }))
    }

    /// Asks topics or databases, or acts on them, as soon as it is this page's turn. What
    /// is begun is ended, also where the browser that wanted it is gone.
    ///
    /// # Errors
    /// When too many others do, or what was asked for cannot be had.
    pub(crate) async fn ask<T, Asking>(
        self: &Arc<Self>,
        asking: impl FnOnce(Shared) -> Asking + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        Asking: Future<Output = operations::Result<T>>,
    {
        let turn = Arc::clone(&self.looks).acquire_owned();
        let turn = tokio::time::timeout(self.limits.timeout(), turn).await;
        let Ok(Ok(turn)) = turn else {
            return Err(Problem::unavailable(
                "Too many pages are being made at once. Try again in a moment.",
            ));
        };
        let console = Arc::clone(self);
        let asked = on_thread(async move || {
            let _turn = turn;
            asking(console).await
        });
        match asked.await {
            Ok(found) => Ok(found?),
            Err(error) => {
                tracing::error!(%error, "a page broke down");
                Err(Problem::unavailable(
                    "The console broke down over this. Look at what was done before you ask again.",
                ))
            }
        }
    }
}

/// Does something on a thread of its own: clients of Kafka block, and not everything that
/// is asked can move between threads.
pub(crate) async fn on_thread<T, Doing>(
    doing: impl FnOnce() -> Doing + Send + 'static,
) -> Result<T, JoinError>
where
    T: Send + 'static,
    Doing: Future<Output = T>,
{
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(doing())).await
}
