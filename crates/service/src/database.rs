//! The service's own database: address, TLS, connections, migrations.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use runtime::Connector;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::CommonArgs;

/// Held while migrations run, so that instances that start together take turns.
/// Advisory locks belong to one database, and each service has its own.
const MIGRATION_LOCK: i64 = 0x0063_6865_636b_6f75;

/// Limit of opening one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Limit of one statement for an HTTP request or a gauge.
const POOL_STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Every statement of the message loop finds its rows by key. Its plans are made once a
/// connection, and those made while the tables are still small would scan them whole until
/// the server has gathered statistics.
const MESSAGE_LOOP_OPTIONS: &str = "-c enable_seqscan=off -c jit=off";

/// How to reach the database, TLS included.
#[derive(Clone)]
pub(crate) struct Database {
    config: Config,
    tls: MakeRustlsConnect,
}

impl Database {
    /// Reads address and certificates; connects to nothing.
    pub(crate) fn new(service: &str, args: &CommonArgs) -> anyhow::Result<Self> {
        let mut config = parse_url(&args.database.database_url)?;
        config.application_name(format!("checkout-{service}"));
        config.connect_timeout(CONNECT_TIMEOUT);
        config.keepalives_idle(Duration::from_secs(30));
        Ok(Self {
            config,
            tls: tls(args.database.database_tls_ca_file.as_deref())?,
        })
    }

    /// `name on host:port`, for messages; holds no credentials.
    pub(crate) fn describe(&self) -> String {
        let name = self.config.get_dbname().unwrap_or("?");
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        let ports = self.config.get_ports();
        let port = ports.first().copied().unwrap_or(5432);
        let hosts: Vec<_> = hosts.collect();
        format!("{name} on {}:{port}", hosts.join(","))
    }

    /// The same database, with these server settings for each connection.
    fn with_options(&self, options: &str) -> Self {
        let mut config = self.config.clone();
        config.options(match self.config.get_options() {
            Some(given) => format!("{given} {options}"),
            None => options.to_owned(),
        });
        Self {
            config,
            tls: self.tls.clone(),
        }
    }

    /// Opens a connection, driven by a task of its own.
    pub(crate) async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a database connection ended");
            }
        });
        Ok(client)
    }

    /// For the message loop, which keeps connections of its own.
    pub(crate) fn connector(&self) -> Connector {
        let database = self.with_options(MESSAGE_LOOP_OPTIONS);
        Arc::new(move || {
            let database = database.clone();
            Box::pin(async move { database.connect().await })
        })
    }

    /// A bounded pool for HTTP requests and gauges. It connects when it is first used.
    pub(crate) fn pool(&self, size: usize) -> anyhow::Result<Pool> {
        let limit = POOL_STATEMENT_TIMEOUT.as_millis();
        let limited = self.with_options(&format!("-c statement_timeout={limit}"));
        let manager = Manager::from_config(
            limited.config,
            limited.tls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        Pool::builder(manager)
            .max_size(size)
            .timeouts(Timeouts {
                wait: Some(Duration::from_secs(2)),
                create: Some(CONNECT_TIMEOUT),
                recycle: Some(Duration::from_secs(2)),
            })
            .runtime(Runtime::Tokio1)
            .build()
            .context("the database pool cannot be built")
    }

    /// Brings the tables of the runtime and of the service up to date.
    pub(crate) async fn migrate(&self, migrations: &refinery::Runner) -> Result<(), MigrateError> {
        let mut client = self.connect().await?;
        // Ends with the connection, whatever happens in between.
        client
            .execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK])
            .await?;
        for runner in [runtime_migrations()?, tolerant(migrations.get_migrations())] {
            let report = runner.run_async(&mut client).await.map_err(refused)?;
            for migration in report.applied_migrations() {
                tracing::info!(%migration, "applied a migration");
            }
        }
        client
            .execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK])
            .await?;
        Ok(())
    }
}

/// The runtime's migrations have a history of their own beside the service's.
fn runtime_migrations() -> Result<refinery::Runner, MigrateError> {
    let migrations = runtime::MIGRATIONS
        .iter()
        .map(|(name, sql)| refinery::Migration::unapplied(name, sql))
        .collect::<Result<Vec<_>, _>>()
        .map_err(refused)?;
    let mut runner = tolerant(&migrations);
    runner.set_migration_table_name("runtime_schema_history");
    Ok(runner)
}

/// A version that is older than the database finds migrations that it does not have. Whether
/// the tables fit it, its statements tell.
fn tolerant(migrations: &[refinery::Migration]) -> refinery::Runner {
    refinery::Runner::new(migrations).set_abort_missing(false)
}

fn refused(error: refinery::Error) -> MigrateError {
    MigrateError::Refused(anyhow!(error))
}

/// Why migrations did not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrateError {
    /// The database is away or refuses the connection.
    #[error("{}", describe_error(.0))]
    Database(tokio_postgres::Error),
    /// The migrations themselves are refused.
    #[error("{0:#}")]
    Refused(anyhow::Error),
}

/// Not as a source: the description holds the whole chain already.
impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl MigrateError {
    /// Whether trying again cannot help: the database works, but does not accept
    /// these migrations, these credentials or this name.
    pub(crate) fn is_permanent(&self) -> bool {
        match self {
            MigrateError::Database(error) => is_permanent(error),
            MigrateError::Refused(error) => {
                let cause = error.chain().find_map(|cause| cause.downcast_ref());
                cause.is_none_or(is_permanent)
            }
        }
    }
}

/// Whether the database works and refuses: wrong password, unknown database,
/// missing rights, wrong SQL.
pub(crate) fn is_permanent(error: &tokio_postgres::Error) -> bool {
    let class = error.code().and_then(|code| code.code().get(..2));
    matches!(class, Some("28" | "3D" | "42" | "0A" | "22" | "23"))
}

/// The server's own message where there is one, else the chain of causes.
pub(crate) fn describe_error(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} (SQLSTATE {})", db.message(), db.code().code()),
        None => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                text.push_str(": ");
                text.push_str(&cause.to_string());
                source = cause.source();
            }
            text
        }
    }
}

/// Reads a database URL. The error does not repeat it, since it may hold a password.
pub(crate) fn parse_url(url: &str) -> anyhow::Result<Config> {
    let config: Config = url.parse().map_err(|error: tokio_postgres::Error| {
        anyhow!(
            "--database-url is not a PostgreSQL address ({}); it has the form postgres://user:password@host:5432/name?sslmode=disable|prefer|require",
            std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), ToString::to_string)
        )
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(anyhow!("--database-url names no host"));
    }
    if config.get_dbname().is_none() {
        return Err(anyhow!("--database-url names no database"));
    }
    Ok(config)
}

fn tls(ca_file: Option<&Path>) -> anyhow::Result<MakeRustlsConnect> {
    let Some(path) = ca_file else {
        return Ok(MakeRustlsConnect::with_webpki_roots());
    };
    let read = || -> anyhow::Result<_> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path)? {
            roots.add(certificate?)?;
        }
        if roots.is_empty() {
            return Err(anyhow!("it holds no certificate"));
        }
        Ok(roots)
    };
    let roots = read()
        .with_context(|| format!("--database-tls-ca-file {} cannot be used", path.display()))?;
    Ok(MakeRustlsConnect::new(
        rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_needs_host_and_name_and_is_never_repeated() {
        for (url, problem) in [
            ("postgres://user:secret@/name", "no host"),
            ("postgres://user:secret@host", "no database"),
            (
                "postgres://user:secret@host:port/name",
                "PostgreSQL address",
            ),
            ("postgres://user:secret@host/name?sslmode=maybe", "sslmode"),
            ("mysql://user:secret@host/name", "PostgreSQL address"),
        ] {
            let error = format!("{:#}", parse_url(url).unwrap_err());
            assert!(error.contains(problem), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(parse_url("postgres://user:secret@host/name?sslmode=require").is_ok());
    }

    #[test]
    fn a_ca_file_without_certificates_is_refused() {
        let file = std::env::temp_dir().join(format!("no-ca-{}.pem", std::process::id()));
        std::fs::write(&file, "nothing\n").unwrap();
        let error = format!("{:#}", tls(Some(&file)).err().unwrap());
        std::fs::remove_file(&file).unwrap();
        assert!(error.contains("no certificate"), "{error}");
        let error = format!("{:#}", tls(Some(Path::new("/no/such/file"))).err().unwrap());
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
