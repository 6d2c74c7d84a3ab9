//! What operators look at and do, for a command line and for a web page.
//!
//! - [`explain`](mod@explain): one cart: its saga, its records, its rows, and what
//!   happens next.
//! - [`sagas`]: lists of them.
//! - [`letters`]: dead letters, and what becomes of them.
//! - [`backlog`]: how far services are behind.
//! - [`operate`]: what operators do to them.
//! - [`preflight`], [`retained`]: what a new version would not understand.
//! - [`submit`](mod@submit): carts, as a cart service publishes them.
//! - [`Target`]: where everything is; the same as the audit's. [`args`] are its flags.
//! - [`parse`]: what people write.
//!
//! What is read is read at places that are known: by keys of the databases, by
//! offsets in the history, by times. Nothing is scanned from its beginning.

pub mod args;
pub mod backlog;
mod databases;
pub mod explain;
pub mod letters;
mod log;
pub mod operate;
pub mod parse;
mod partition;
pub mod preflight;
mod publish;
pub mod retained;
mod row;
pub mod sagas;
mod show;
pub mod submit;

pub use audit::{Database, Error, Kafka, Result, Target};
pub use explain::{Explanation, explain};
pub use show::{ago, clock};
