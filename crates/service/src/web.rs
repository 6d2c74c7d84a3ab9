//! The life of a program that serves pages, and handles no messages.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::app::HTTP_STOP_TIMEOUT;
use crate::signals::Signals;
use crate::{HttpArgs, LogArgs, args, http, logs, measures};

/// The main function of a program that serves pages, after its flags are parsed.
///
/// Installs logs and metrics, opens the port, and serves what `build` makes, beside
/// `/livez`, `/readyz` and `/metrics`, until SIGTERM or SIGINT; then answers the
/// requests at hand. `build` gets the address that is served.
///
/// The exit code is 0 after a graceful stop, and 1 after an error, which is logged and
/// told in one line on standard error.
pub fn run_pages<F, Fut>(name: &'static str, http: &HttpArgs, logs: &LogArgs, build: F) -> ExitCode
where
    F: FnOnce(SocketAddr) -> Fut,
    Fut: Future<Output = anyhow::Result<Router>>,
{
    let run = || {
        logs::install(logs, logs::USUAL)?;
        // One provider for every TLS connection of the process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .context("the threads of the program cannot be started")?;
        let result = tokio.block_on(serve(name, http, build));
        tokio.shutdown_timeout(Duration::from_secs(1));
        result
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: anyhow::Error = error;
            tracing::error!(error = format!("{error:#}"), "the program ends");
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve<F, Fut>(name: &'static str, args: &HttpArgs, build: F) -> anyhow::Result<()>
where
    F: FnOnce(SocketAddr) -> Fut,
    Fut: Future<Output = anyhow::Result<Router>>,
{
    let mut signals = Signals::listen()?;
    let metrics = measures::install(name)?;
    let (listener, address) = http::bind(args::address(args, name), args).await?;
    let pages = build(address).await?;
    let router = http::pages(pages, metrics.clone(), args);
    let upkeep = tokio::spawn(measures::upkeep(metrics));
    let (stop, stopped) = watch::channel(false);
    let mut server = tokio::spawn(http::serve(listener, router, stopped));
    tracing::info!(
        service = name,
        version = env!("CARGO_PKG_VERSION"),
        url = %format_args!("http://{address}/"),
        "listening"
    );
    let signal = signals.next().await;
    tracing::info!(signal, "stopping: answering the requests at hand");
    // The receiver is held by the server.
    let _ = stop.send(true);
    if timeout(HTTP_STOP_TIMEOUT, &mut server).await.is_err() {
        server.abort();
    }
    upkeep.abort();
    tracing::info!("stopped");
    Ok(())
}
