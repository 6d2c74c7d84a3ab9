//! Prepares a Kafka cluster and a schema registry for the checkout, and seeds
//! its stock.
//!
//! The program `checkoutctl` is a thin command line around these functions;
//! the development stack and the tests call them directly. All of them can be
//! repeated at any time: what is already as it should be is left alone.

mod cluster;
pub mod schemas;
pub mod stock;
pub mod topics;

pub use cluster::Cluster;
