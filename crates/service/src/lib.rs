//! What every service binary of the checkout saga shares: configuration, logs,
//! metrics, traces, health, HTTP, migrations, start and shutdown.
//!
//! A binary parses its flags, among them [`CommonArgs`], and calls [`run`] with
//! what is its own: a handler, HTTP routes and queries for gauges, bundled as
//! an [`App`].
//!
//! - [`args`](CommonArgs): flags and environment, and their validation.
//! - `app`: the life of a service, from start to graceful stop.
//! - `start`: waiting for the database, the registry and the broker.
//! - `check`: `--check-config`.
//! - `database`, `http`, `logs`, `measures`, `traces`, `gauges`: one part each.
//! - `purge`: the removal of rows that ended long ago.
//! - `web`: the life of a program that serves pages alone: [`run_pages`].
//! - [`Rows`]: the rows that a batch reads and changes.

mod api;
mod app;
mod args;
mod check;
mod database;
mod gauges;
mod http;
mod listener;
mod logs;
mod measures;
mod purge;
mod readiness;
mod rows;
mod signals;
mod start;
mod traces;
mod web;

pub use api::{ApiError, query_rows};
pub use app::{App, run};
pub use args::{
    CommonArgs, DatabaseArgs, HttpArgs, KafkaArgs, LimitArgs, LogArgs, LogFormat, RegistryArgs,
    RetentionArgs, TelemetryArgs, hours,
};
pub use gauges::GaugeQuery;
pub use purge::Purge;
pub use rows::{RowCache, Rows, Written, column};
pub use web::run_pages;

/// A batch allocates thousands of small pieces and some of hundreds of kilobytes, and frees
/// them together. glibc's allocator then joins free pieces again and again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
