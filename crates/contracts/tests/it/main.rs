//! The contracts from outside, one file a question.
#![allow(clippy::unwrap_used, reason = "a test that fails shall panic")]

mod agreement;
mod evolution;
mod golden;
mod messages;
mod poison;
mod properties;
mod registry;
mod support;
mod types;
