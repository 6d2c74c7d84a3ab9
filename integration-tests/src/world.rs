//! The real parts that systems stand on: those that most tests share, started
//! once, and those that a test has for itself because it disturbs them. A guard
//! process stops them when the program ends, however it ends.

use std::sync::Arc;

use stack::{Installation, Process, ProcessSpec, Progress, ServiceOptions, Services, Stack};
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::{Options, System};

/// How many sets of own parts run at once: each has a broker that wants a core
/// while it starts.
const OWN_PARTS_AT_ONCE: usize = 3;

/// The parts of a system. Parts of its own stop when the last of these is
/// dropped.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) stack: Arc<Stack>,
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

/// The stack's tasks outlive the test that starts it, so they need a runtime
/// that does too.
fn runtime() -> &'static Runtime {
    static RUNTIME: std::sync::OnceLock<Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    })
}

/// Runs a future, made on the spot, to its end on the runtime that lives as long
/// as the binary.
async fn lasting<T, F>(make: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    tokio::task::spawn_blocking(|| runtime().block_on(make()))
        .await
        .expect("it does not panic")
}

async fn start(options: stack::Options) -> Arc<Stack> {
    lasting(move || async move {
        Stack::start(options, &Progress::detect())
            .await
            .map(Arc::new)
            .unwrap_or_else(|error| panic!("the real parts do not start: {error:#}"))
    })
    .await
}

impl Parts {
    /// The parts that disturb nobody and are disturbed by nobody.
    pub(crate) async fn shared() -> Self {
        static STACK: OnceCell<Arc<Stack>> = OnceCell::const_new();
        let start = || {
            start(stack::Options {
                detour: true,
                ..stack::Options::default()
            })
        };
        Self {
            stack: Arc::clone(STACK.get_or_init(start).await),
            _permit: None,
        }
    }

    /// Parts of one system's own, with so many brokers; but for the schema registry, which
    /// may be the one that all share.
    pub(crate) async fn own(brokers: u16, registry: bool) -> Self {
        static PERMITS: OnceCell<Arc<Semaphore>> = OnceCell::const_new();
        let permits = PERMITS
            .get_or_init(async || Arc::new(Semaphore::new(OWN_PARTS_AT_ONCE)))
            .await;
        let permit = Arc::clone(permits).acquire_owned().await;
        let registry_url = match registry {
            true => None,
            false => Some(Self::shared().await.stack.addresses().registry_url.clone()),
        };
        let options = stack::Options {
            brokers,
            // What all share lives long enough to be compiled well.
            short_lived: true,
            registry_url,
            ..stack::Options::default()
        };
        Self {
            stack: start(options).await,
            _permit: permit.ok().map(Arc::new),
        }
    }

    pub(crate) async fn installation(&self, name: &str) -> Installation {
        let (name, stack) = (name.to_owned(), Arc::clone(&self.stack));
        lasting(move || async move {
            stack
                .fresh_installation(&name)
                .await
                .unwrap_or_else(|error| panic!("no installation: {error:#}"))
        })
        .await
    }

    /// Starts another program that stops with the parts.
    pub(crate) async fn run(&self, spec: ProcessSpec) -> Process {
        let stack = Arc::clone(&self.stack);
        lasting(move || async move {
            stack
                .run(spec)
                .await
                .unwrap_or_else(|error| panic!("it does not start: {error:#}"))
        })
        .await
    }

    pub(crate) async fn start_services(
        &self,
        installation: &Installation,
        options: &ServiceOptions,
    ) -> stack::Result<Services> {
        let (installation, options) = (installation.clone(), options.clone());
        let stack = Arc::clone(&self.stack);
        lasting(move || async move { stack.start_services(&installation, &options).await }).await
    }
}

pub(crate) async fn shared() -> &'static System {
    static SYSTEM: OnceCell<System> = OnceCell::const_new();
    SYSTEM
        .get_or_init(|| lasting(|| System::start("shared", Options::default())))
        .await
}
