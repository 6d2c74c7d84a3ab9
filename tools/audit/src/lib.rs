//! Does everything add up? Compares what was published with what the four
//! databases hold, at rest or under load, and changes nothing.
//!
//! - [`Target`]: where to look: plain addresses.
//! - [`Options`]: what is too young to judge, and how often to look.
//! - [`Rule`]: what has to hold, each in one sentence.
//! - [`Report`]: what was found.
//!
//! ```no_run
//! # async fn example(target: audit::Target) -> audit::Result<()> {
//! let report = audit::run(&target, &audit::Options::default()).await?;
//! assert!(report.violations.is_empty(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! **How it looks at a system that runs.** Databases are read first, each in one
//! snapshot, then the topics to their ends. These are different instants, so what
//! does not add up is looked at again after a pause, and only what is found both
//! times is reported. A checkout without an outcome is in flight as long as it is
//! younger than the grace period.
//!
//! **What it costs.** One pass over the tables and the public topics, and about
//! 500 bytes of memory a checkout: a million checkouts are 500 MB. Each database
//! has a read-only transaction open while its tables are read.

mod books;
mod databases;
mod ends;
mod error;
mod letters;
mod log;
mod look;
mod positions;
mod report;
mod rule;
mod rules;
#[cfg(test)]
mod tests;

pub use databases::Database;
pub use ends::ends;
pub use error::{Error, Result, describe};
pub use letters::DeadLetter;
pub use log::{Kafka, LogReader, Quiet};
pub use look::{Options, Target, run, settle};
pub use positions::{SERVICES, consumer, further_services};
pub use report::Report;
pub use rule::{Rule, Violation};
