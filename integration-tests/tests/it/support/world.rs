//! The real parts, started once for the whole test binary. Its guard stops them
//! when the binary ends, however it ends.

use stack::{Installation, Progress, ServiceOptions, Services, Stack};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use super::{Options, System};

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

async fn parts() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    STACK
        .get_or_init(|| {
            lasting(|| async {
                Stack::start(stack::Options::default(), &Progress::detect())
                    .await
                    .unwrap_or_else(|error| panic!("the real parts do not start: {error:#}"))
            })
        })
        .await
}

pub(super) async fn shared() -> &'static System {
    static SYSTEM: OnceCell<System> = OnceCell::const_new();
    SYSTEM
        .get_or_init(|| lasting(|| System::start("shared", Options::default())))
        .await
}

pub(super) async fn installation(name: &str) -> Installation {
    let name = name.to_owned();
    let parts = parts().await;
    lasting(move || async move {
        parts
            .fresh_installation(&name)
            .await
            .unwrap_or_else(|error| panic!("no installation: {error:#}"))
    })
    .await
}

pub(super) async fn start_services(
    installation: &Installation,
    options: &ServiceOptions,
) -> Services {
    let (installation, options) = (installation.clone(), options.clone());
    let parts = parts().await;
    lasting(move || async move {
        parts
            .start_services(&installation, &options)
            .await
            .unwrap_or_else(|error| panic!("the services do not start: {error:#}"))
    })
    .await
}
