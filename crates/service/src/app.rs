//! The life of a service: start, serve, stop.

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use deadpool_postgres::Pool;
use metrics_exporter_prometheus::PrometheusHandle;
use runtime::{Handler, Health};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::database::Database;
use crate::readiness::Readiness;
use crate::signals::Signals;
use crate::start::Backoff;
use crate::{
    CommonArgs, GaugeQuery, Purge, check, gauges, http, logs, measures, purge, start, traces,
};

/// Limit of exporting the last spans at the end.
const TRACES_FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Limit of answering the last requests at the end.
pub(crate) const HTTP_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What is a service's own.
pub struct App<H> {
    /// The logic of its messages.
    pub handler: H,
    /// Its HTTP routes; `/livez`, `/readyz` and `/metrics` are added.
    pub routes: Router,
    /// Its gauges.
    pub gauges: Vec<GaugeQuery>,
    /// Rows that are removed after a time.
    pub purges: Vec<Purge>,
}

/// The main function of a service, after its flags are parsed.
///
/// Installs logs, metrics and traces; serves HTTP at once; waits for the database
/// and the registry; runs the migrations; then handles messages until SIGTERM or
/// SIGINT, finishes the batch in hand and leaves the consumer group.
///
/// `build` gets a pool that connects when it is first used; it must not need the
/// database to be there.
///
/// The exit code is 0 after a graceful stop, and 1 after an error, which is logged and
/// told in one line on standard error.
pub fn run<H, F, Fut>(
    name: &'static str,
    args: CommonArgs,
    migrations: refinery::Runner,
    build: F,
) -> ExitCode
where
    H: Handler,
    F: FnOnce(Pool) -> Fut,
    Fut: Future<Output = anyhow::Result<App<H>>>,
{
    match run_to_end(name, args, migrations, build) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the service ends");
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_to_end<H, F, Fut>(
    name: &'static str,
    args: CommonArgs,
    migrations: refinery::Runner,
    build: F,
) -> anyhow::Result<ExitCode>
where
    H: Handler,
    F: FnOnce(Pool) -> Fut,
    Fut: Future<Output = anyhow::Result<App<H>>>,
{
    if let Err(problems) = args.validate() {
        if args.check_config {
            check::report_problems(&problems);
            return Ok(ExitCode::FAILURE);
        }
        return Err(anyhow!("{}", problems.join("; ")));
    }
    let filter = if args.check_config {
        logs::NOTHING
    } else {
        logs::USUAL
    };
    logs::install(&args.logs, filter)?;
    // One provider for every TLS connection of the process. Where one was installed
    // before, it serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let database = Database::new(name, &args)?;
    let metrics = measures::install(name)?;
    let traces = traces::install(name, &args.telemetry)?;
    // One thread: the message loop and its database connection take turns, and waking
    // each other across threads would cost more than a second one gains. What blocks
    // (Kafka's clients) has threads of its own.
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the threads of the service cannot be started")?;

    let result = if args.check_config {
        let well = tokio.block_on(check::check::<H>(&args, &database));
        Ok(if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    } else {
        let service = Service {
            name,
            args,
            database,
            metrics,
        };
        tokio
            .block_on(Box::pin(service.serve(migrations, build)))
            .map(|()| ExitCode::SUCCESS)
    };
    tokio.shutdown_timeout(Duration::from_secs(1));
    traces.flush(TRACES_FLUSH_TIMEOUT);
    result
}

struct Service {
    name: &'static str,
    args: CommonArgs,
    database: Database,
    metrics: PrometheusHandle,
}

impl Service {
    async fn serve<H, F, Fut>(self, migrations: refinery::Runner, build: F) -> anyhow::Result<()>
    where
        H: Handler,
        F: FnOnce(Pool) -> Fut,
        Fut: Future<Output = anyhow::Result<App<H>>>,
    {
        let mut signals = Signals::listen()?;
        let pool = self
            .database
            .pool(usize::from(self.args.database.database_pool_size))?;
        let app = build(pool.clone()).await?;
        let health = Health::new();
        let readiness = Readiness::new(health.clone());
        let (stop, stopped) = watch::channel(false);

        let address = self.args.http_address(self.name);
        let (listener, address) = http::bind(address, &self.args.http).await?;
        let router = http::router(
            app.routes,
            self.metrics.clone(),
            readiness.clone(),
            &self.args.http,
        );
        // HTTP goes on while messages stop, and ends last.
        let (stop_http, http_stopped) = watch::channel(false);
        let mut server = tokio::spawn(http::serve(listener, router, http_stopped));
        let upkeep = tokio::spawn(measures::upkeep(self.metrics.clone()));
        tracing::info!(
            service = self.name,
            version = env!("CARGO_PKG_VERSION"),
            http = %address,
            database = self.database.describe(),
            kafka = self.args.kafka.kafka_bootstrap_servers,
            "listening"
        );

        runtime::begin_to_count::<H>(&self.args.topic_names());
        let work = async {
            let codec = self
                .prepare::<H>(&migrations, &readiness, stopped.clone())
                .await?;
            let Some(codec) = codec else {
                return Ok(());
            };
            let interval = Duration::from_millis(self.args.telemetry.gauge_interval_ms);
            let probe = tokio::spawn(readiness.clone().probe(pool.clone()));
            let gauges = tokio::spawn(gauges::watch(pool.clone(), app.gauges, interval));
            let limits = self.args.retention.clone();
            let purging = tokio::spawn(purge::run(pool, app.purges, limits));
            let result = runtime::run(
                Arc::new(app.handler),
                codec,
                self.database.connector(),
                self.args.settings(self.name),
                health,
                stopped,
            )
            .await;
            gauges.abort();
            purging.abort();
            probe.abort();
            Ok(result?)
        };
        let mut work = Box::pin(work);
        let result = tokio::select! {
            result = &mut work => result,
            signal = signals.next() => {
                tracing::info!(signal, "stopping: finishing the batch in hand");
                readiness.set_stopping();
                // The receivers are held by `work`.
                let _ = stop.send(true);
                let limit = Duration::from_millis(self.args.limits.shutdown_timeout_ms);
                tokio::select! {
                    result = timeout(limit, &mut work) => result.unwrap_or_else(|_| Err(anyhow!(
                        "the graceful stop took longer than {} ms; what was not finished is done again by the next owner of the partitions",
                        limit.as_millis()
                    ))),
                    signal = signals.next() => Err(anyhow!("stopped at once by a second signal, {signal}")),
                }
            }
        };
        drop(work);
        readiness.set_stopping();
        let _ = stop_http.send(true);
        if timeout(HTTP_STOP_TIMEOUT, &mut server).await.is_err() {
            server.abort();
        }
        upkeep.abort();
        if result.is_ok() {
            tracing::info!("stopped");
        }
        result
    }

    /// Waits for database and registry; `None` where the service was told to stop
    /// meanwhile.
    async fn prepare<H: Handler>(
        &self,
        migrations: &refinery::Runner,
        readiness: &Readiness,
        mut stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<Option<contracts::Codec>> {
        let limits = &self.args.limits;
        let backoff = || {
            Backoff::new(
                Duration::from_millis(limits.backoff_first_ms),
                Duration::from_millis(limits.backoff_max_ms),
            )
        };
        let registry = self.args.registry_config();
        let topics = self.args.topic_names();
        let patience = Duration::from_millis(self.args.registry.schema_wait_ms);
        let prepared = async {
            tokio::try_join!(
                start::migrate(&self.database, migrations, backoff(), readiness),
                start::codec(
                    &registry,
                    &topics,
                    H::PRODUCES,
                    H::CONSUMES,
                    patience,
                    backoff(),
                    readiness
                ),
            )
        };
        tokio::select! {
            prepared = prepared => Ok(Some(prepared?.1)),
            // An error means that the sender is gone: the service ends.
            _ = stopped.wait_for(|stop| *stop) => Ok(None),
        }
    }
}
