//! Flags and environment that every service understands.
//!
//! Each flag has an environment variable; the flag wins. All limits carry their
//! unit in their name.

mod convert;
mod limits;
mod retention;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(crate) use convert::address;
pub use limits::LimitArgs;
pub use retention::{RetentionArgs, hours};

/// Flags that all services share.
#[derive(Args, Clone, Debug)]
pub struct CommonArgs {
    /// How to reach Kafka.
    #[command(flatten)]
    pub kafka: KafkaArgs,
    /// How to reach the schema registry.
    #[command(flatten)]
    pub registry: RegistryArgs,
    /// How to reach the database.
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// The service's own HTTP server.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Logs.
    #[command(flatten)]
    pub logs: LogArgs,
    /// Traces and gauges.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
    /// Limits of the message loop.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// How long ended rows are kept.
    #[command(flatten)]
    pub retention: RetentionArgs,

    /// Checks the configuration and stops: values are parsed, the database and
    /// the schema registry are reached, every topic and each schema that the service writes
    /// is looked up. Prints a report; exit status 0 when all is well, else 1. Changes
    /// nothing.
    #[arg(long, help_heading = "Actions")]
    pub check_config: bool,
}

/// How to reach Kafka.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kafka")]
pub struct KafkaArgs {
    /// Brokers to start from, `host:port`, comma-separated.
    #[arg(
        long,
        env = "KAFKA_BOOTSTRAP_SERVERS",
        value_name = "HOST:PORT,…",
        required = true
    )]
    pub kafka_bootstrap_servers: String,

    /// A further librdkafka property, such as `security.protocol=SASL_SSL`. May be given
    /// several times; in the environment, separate properties by newlines.
    #[arg(
        long = "kafka-property",
        env = "KAFKA_PROPERTIES",
        value_name = "NAME=VALUE",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    pub kafka_properties: Vec<String>,

    /// Consumer group that the instances of this service share. Default: the topic
    /// prefix followed by `checkout-` and the service's name.
    #[arg(long, env = "CONSUMER_GROUP", value_name = "GROUP")]
    pub consumer_group: Option<String>,

    /// Put before the name of every topic, and so of every schema subject: several
    /// installations can share a broker.
    #[arg(
        long,
        env = "TOPIC_PREFIX",
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    pub topic_prefix: String,
}

/// How to reach the schema registry.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Schema registry")]
pub struct RegistryArgs {
    /// Addresses of the schema registry (Confluent's API), comma-separated; the next is
    /// asked where one fails.
    #[arg(
        long,
        env = "SCHEMA_REGISTRY_URL",
        value_name = "URL,…",
        value_delimiter = ',',
        required = true
    )]
    pub schema_registry_url: Vec<String>,

    /// User for basic authentication at the registry.
    #[arg(long, env = "SCHEMA_REGISTRY_USER", value_name = "USER")]
    pub schema_registry_user: Option<String>,

    /// Password for basic authentication at the registry.
    #[arg(
        long,
        env = "SCHEMA_REGISTRY_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true,
        requires = "schema_registry_user"
    )]
    pub schema_registry_password: Option<String>,

    /// Limit of one request to the registry, in milliseconds.
    #[arg(
        long,
        env = "SCHEMA_REGISTRY_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    pub schema_registry_timeout_ms: u64,

    /// How long to wait at start for schemas that are not registered yet, in
    /// milliseconds; then the service stops and names them.
    #[arg(
        long,
        env = "SCHEMA_WAIT_MS",
        value_name = "MS",
        default_value_t = 60_000,
        value_parser = clap::value_parser!(u64).range(0..=86_400_000)
    )]
    pub schema_wait_ms: u64,
}

/// How to reach the database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct DatabaseArgs {
    /// PostgreSQL database of this service alone, such as
    /// `postgres://user:password@host:5432/name?sslmode=require`. Migrations run at start.
    /// Where TLS is used, the server's certificate is always verified.
    #[arg(
        long,
        env = "DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        required = true
    )]
    pub database_url: String,

    /// PEM file of the certificate authorities trusted for the database. Default: the
    /// public ones built in.
    #[arg(long, env = "DATABASE_TLS_CA_FILE", value_name = "PATH")]
    pub database_tls_ca_file: Option<PathBuf>,

    /// Most connections for HTTP requests and gauges; the message loop has its own.
    #[arg(
        long,
        env = "DATABASE_POOL_SIZE",
        value_name = "N",
        default_value_t = 4,
        value_parser = clap::value_parser!(u16).range(1..=1_000)
    )]
    pub database_pool_size: u16,

    /// Limit of one trip of the message loop to the database, in milliseconds.
    #[arg(
        long,
        env = "DATABASE_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 30_000,
        value_parser = clap::value_parser!(u64).range(100..=600_000)
    )]
    pub database_timeout_ms: u64,
}

/// The service's own HTTP server.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Where to serve HTTP: the API, `/livez`, `/readyz`, `/metrics`. Port 0 takes a free one.
    /// Default: 127.0.0.1 and port 8080 (orchestrator), 8081 (inventory),
    /// 8082 (payment), 8083 (order), 8090 (console).
    #[arg(long, env = "HTTP_LISTEN", value_name = "ADDRESS:PORT")]
    pub http_listen: Option<SocketAddr>,

    /// File that the listening port is written to, for whoever started the service with
    /// port 0.
    #[arg(long, env = "HTTP_PORT_FILE", value_name = "PATH")]
    pub http_port_file: Option<PathBuf>,

    /// Limit of answering one request, in milliseconds.
    #[arg(
        long,
        env = "HTTP_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    pub http_timeout_ms: u64,

    /// Most connections at once; further ones wait to be accepted.
    #[arg(
        long,
        env = "HTTP_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = 512,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub http_max_connections: u32,

    /// Largest request body, in bytes.
    #[arg(
        long,
        env = "HTTP_MAX_BODY_BYTES",
        value_name = "BYTES",
        default_value_t = 65_536,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub http_max_body_bytes: u32,
}

/// Logs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogArgs {
    /// What to log: a level, or directives such as `info,runtime=debug`. Default: the
    /// variable RUST_LOG, else `info`.
    #[arg(long, env = "LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// How to write logs. They go to standard error.
    #[arg(
        long,
        env = "LOG_FORMAT",
        value_name = "FORMAT",
        value_enum,
        default_value_t = LogFormat::Auto
    )]
    pub log_format: LogFormat,
}

/// How logs are written.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Traces and gauges.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryArgs {
    /// OTLP collector that spans are exported to over HTTP, such as
    /// `http://localhost:4318`. Nothing is exported when it is absent; trace context is
    /// carried through all messages in any case.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,

    /// Share of the traces that are exported, 0 to 1, where the producer did not
    /// decide it.
    #[arg(
        long,
        env = "TRACE_SAMPLE_RATIO",
        value_name = "RATIO",
        default_value_t = 1.0
    )]
    pub trace_sample_ratio: f64,

    /// How often gauges are read from the database, in milliseconds; less often where
    /// the queries are slow.
    #[arg(
        long,
        env = "GAUGE_INTERVAL_MS",
        value_name = "MS",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(100..=86_400_000)
    )]
    pub gauge_interval_ms: u64,
}
