//! Structured logs on standard error.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::{LogArgs, LogFormat};

/// What is logged where nothing else is said: no chatter of clients.
pub(crate) const USUAL: &str =
    "info,tokio_postgres=warn,refinery_core=warn,opentelemetry=warn,opentelemetry_sdk=warn";
/// For commands whose output says all.
pub(crate) const NOTHING: &str = "off";

/// Starts logging; `default` is the filter where none is configured.
///
/// # Errors
/// A filter that cannot be parsed; logging was started before.
pub(crate) fn install(args: &LogArgs, default: &str) -> anyhow::Result<()> {
    let json = match args.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter(args.log.as_deref(), default)?);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    if json {
        // Fields beside the message, so that a search by cart id is a look-up.
        let layer = layer.json().flatten_event(true).with_current_span(true);
        registry.with(layer.with_span_list(false)).try_init()
    } else {
        let colour = std::io::stderr().is_terminal();
        registry.with(layer.with_ansi(colour)).try_init()
    }
    .context("logging cannot be started")
}

/// The filter given, else that of `RUST_LOG`, else the default.
pub(crate) fn filter(given: Option<&str>, default: &str) -> anyhow::Result<EnvFilter> {
    let from_environment = || std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let text = given
        .map(str::to_owned)
        .or_else(from_environment)
        .filter(|text| !text.trim().is_empty())
        .unwrap_or_else(|| default.to_owned());
    EnvFilter::builder()
        .parse(&text)
        .with_context(|| format!("--log: `{text}` is not a log filter; try `info`"))
}
