//! The payment service: holds the customer's money for a checkout, and gives it
//! up again.
//!
//! - `authorization`: the state machine of one authorization; it does no I/O.
//! - `handler`: the glue between the runtime, the state machine and the gateway.
//! - `store`: the SQL.
//! - [`gateway`]: what a gateway is asked, and the two that there are.
//! - `retry`: when a call that was not answered is made again.
//! - `calls`: what is logged and measured of each call.
//! - [`options`]: flags and environment.
//! - [`api`]: HTTP, for operators.

pub mod api;
mod authorization;
mod calls;
pub mod gateway;
mod handler;
pub mod options;
mod retry;
mod store;

pub use calls::describe as describe_metrics;
pub use handler::{Answer, Authorizations, Call, Kept, Outcome, Payments, Request};
pub use retry::Retry;
pub use store::purge;
