//! Faults: after each of them every cart has one outcome, and everything adds
//! up. docs/failure-modes.md says what customers and operators see meanwhile.

mod brake;
mod clock;
mod crash_points;
mod gateway;
mod instances;
mod kafka;
mod network;
mod postgres;
mod records;
mod registry;
mod row_cache;
mod storm;
mod stuck;
mod topics;
mod transactions;
mod zombies;
