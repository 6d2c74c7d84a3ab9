//! Starts and stops the real parts that the checkout saga runs on, and its
//! services: Kafka, a schema registry, PostgreSQL.
//!
//! `cargo stack`, the demo and the integration tests use the same code:
//!
//! ```no_run
//! # async fn example() -> stack::Result<()> {
//! use stack::{Options, Progress, ServiceOptions, Stack};
//! let stack = Stack::start(Options::default(), &Progress::detect()).await?;
//! let installation = stack.fresh_installation("trial").await?;
//! let services = stack
//!     .start_services(&installation, &ServiceOptions::default())
//!     .await?;
//! // ... services.one(Service::Payment)?.process.kill9()? ...
//! stack.stop().await
//! # }
//! ```
//!
//! **Nothing outlives its owner.** Every server is the child of a guard
//! process, which stops them all when the program that asked for them ends,
//! however it ends.

mod addresses;
mod binaries;
mod command;
mod compose;
mod database;
mod error;
mod external;
mod guard;
mod http;
mod identity;
mod installation;
mod kafka_admin;
mod lifecycle;
mod native;
mod part;
mod ports;
mod progress;
mod provider;
mod records;
mod services;
#[allow(
    clippy::module_inception,
    reason = "the type Stack is what this crate is about"
)]
mod stack;
mod state;
mod wait;

pub use addresses::Addresses;
pub use binaries::{Binaries, binaries, workspace};
pub use error::{Error, LogTail, Result};
pub use guard::{Guard, Process, ProcessSpec, ProcessState, Stopping, User, serve as guard};
pub use identity::ProcessId;
pub use installation::Installation;
pub use lifecycle::{GuardStatus, ProcessStatus, Status, down, lock, status};
pub use part::{Detour, Part, PartKind};
pub use progress::{Progress, Task};
pub use provider::Provider;
pub use records::{StoredRecord, stored_records};
pub use services::{Service, ServiceInstance, ServiceOptions, Services};
pub use stack::{Options, Stack};
pub use state::{Entry, State};
pub use wait::until;
