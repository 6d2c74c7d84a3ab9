//! The saga explored in full: the real transition function among abstract
//! participants, topics, databases and instances, in every order in which things
//! may happen. What holds then is said in `docs/model.md`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod core;
mod kept;
mod message;
mod model;
mod mutation;
mod page;
mod participants;
mod property;
mod replies;
#[path = "../common/reply.rs"]
mod reply;
mod rules;
mod runs;
mod runtime;
mod world;
