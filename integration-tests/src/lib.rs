//! The harness: the whole system on the real parts, and what a cart service, a
//! subscriber, an operator and bad luck would do to it.
//!
//! - [`System`]: an installation with its services, and clients of it.
//! - [`carts`], [`load`]: carts, one by one and at a rate.
//! - [`Recorder`]: everything that is published.
//! - [`storm`]: faults of every kind, drawn from a seed.
//! - [`Proxy`]: a network that breaks when told to.
//! - `world`: the parts below it.
//!
//! It panics where something cannot be done: a test has no other way on.

#![allow(
    missing_docs,
    reason = "for the tests and tools of this package alone; names say it"
)]

pub mod carts;
mod instances;
pub mod load;
mod proxy;
mod recorder;
pub mod storm;
mod system;
mod world;

pub use proxy::{Lost, Network, Proxy};
pub use recorder::{PATIENCE, Recorder, Seen};
pub use system::{
    Holdings, IMPATIENT, Options, Outcome, Proxies, SERVICES, System, all_but, product,
};
