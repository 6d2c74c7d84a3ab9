//! The whole saga against the real parts: Kafka, a schema registry and
//! PostgreSQL are started once; the tests run side by side, most of them in one
//! shared installation, those that disturb services in installations of their
//! own.

#![allow(missing_docs, unreachable_pub, reason = "one binary of tests")]

mod audit;
mod bad_input;
mod bench;
mod chaos;
mod checkout;
mod clients;
mod compose;
mod console;
mod contracts_live;
mod crashes;
mod ctl;
mod errors;
mod expiry;
mod failure_modes;
mod faults;
mod http;
mod observability;
mod operators;
mod plans;
mod positions;
mod retention;
mod silence;
mod upgrades;
