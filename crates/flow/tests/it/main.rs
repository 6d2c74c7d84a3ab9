//! The saga from outside: stories, properties, and what must not compile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arbitrary;
mod brakes;
mod compile_fail;
mod definitions;
mod operators;
mod participants;
mod properties;
#[path = "../common/reply.rs"]
mod reply;
mod stories;
mod story;
mod validation;
