//! The checkout saga as a pure state machine: no I/O, no clock, no randomness.
//!
//! [`next`] is the whole of it: a saga, an [`Input`], the time and the
//! [`Brakes`] go in, a [`Transition`] comes out: the changed saga, the messages to publish and what
//! happened. It never panics, whatever the saga and the input.
//!
//! - [`steps`]: one file a step, the action beside its compensation.
//! - [`step`]: the parts a step must have, and their order.
//! - [`saga`]: what is stored of a cart's checkout.
//! - [`input`]: what can happen to it.
//! - [`next`](mod@next): what follows.
//! - [`brakes`]: which participants may be asked now.
//! - [`outcome`]: what a caller may log and count.
//! - [`rules`]: limits and waits, all of them configuration.
//! - [`validation`]: which carts make sense.
//! - [`status`]: what the customer is told.
//! - [`docs`]: `docs/flow.md`, generated from the above.

pub mod brakes;
pub mod docs;
mod events;
pub mod input;
pub mod next;
pub mod outcome;
pub mod rules;
pub mod saga;
pub mod status;
pub mod step;
pub mod steps;
mod text;
pub mod validation;

pub use brakes::{Brakes, Pace};
pub use input::{Input, ReplyKind, StepReply};
pub use next::next;
pub use outcome::{Ignored, OperatorRefusal, Outcome, Transition};
pub use rules::Rules;
pub use saga::{Cart, Failure, Line, MissingItem, Progress, Saga, State, Waiting};
pub use status::CustomerStatus;
pub use step::{Step, StepDefinition};
