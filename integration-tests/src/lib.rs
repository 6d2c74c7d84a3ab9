//! The harness: the whole system on the real parts, and what a cart service, a
//! subscriber, an operator and bad luck would do to it.
//!
//! - [`System`]: an installation with its services, and clients of it.
//! - [`carts`], [`load`]: carts, one by one and at a rate.
//! - [`Recorder`]: everything that is published.
//! - [`storm`]: faults of every kind, drawn from a seed.
//! - [`Proxy`]: a network that breaks when told to.
//! - [`sabotage`], [`gateway`], [`stranger`]: a database, a payment gateway and a
//!   transaction that go wrong.
//! - `world`: the parts below it.
//!
//! It panics where something cannot be done: a test has no other way on.

#![allow(
    missing_docs,
    reason = "for the tests and tools of this package alone; names say it"
)]

use std::io::Write;

pub mod carts;
pub mod gateway;
mod instances;
pub mod load;
mod partitions;
mod proxy;
mod recorder;
pub mod sabotage;
pub mod storm;
pub mod stranger;
mod system;
mod world;

pub use proxy::{Lost, Network, Proxy};
pub use recorder::{PATIENCE, Recorder, Seen};
pub use system::{
    EVERY, Holdings, IMPATIENT, Options, Outcome, Proxies, QUICK_BRAKE, SERVICES, System, all_but,
    participant, product,
};

/// What a test draws its faults from: `TEST_SEED`, to play a run again, or a number by
/// chance. Shown where the test fails.
pub fn seed() -> u64 {
    seed_or(rand::random())
}

/// The same, usually this number.
#[allow(
    clippy::print_stdout,
    reason = "captured, and shown where the test fails"
)]
pub fn seed_or(usual: u64) -> u64 {
    let given = std::env::var("TEST_SEED").ok();
    let seed = given.map_or(usual, |seed| seed.parse().expect("TEST_SEED is a number"));
    println!("TEST_SEED={seed}");
    seed
}

/// Tells what a test does not look at on this machine, in one line. Not by `eprintln!`, which
/// a test that passes does not show.
pub fn skipped(what: &str) {
    // Nobody reads it: nothing to do about that.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}");
}
