//! The guard: a small process that starts every server and outlives its owner
//! just long enough to stop them.
//!
//! The owner (the stack command, the demo, a test binary) runs the stack
//! binary again as a guard, in a session of its own, so that Ctrl-C does not
//! reach it, and holds the writing end of a pipe to it. The servers are the
//! guard's children. When the pipe closes, which the system sees to even when
//! the owner is killed, the guard stops them and removes their folders.
//!
//! `cargo stack up` lets its guard go when all is ready: from then on the
//! guard runs by itself until `cargo stack down` sends it SIGTERM.

mod owner;
mod protocol;
mod server;

pub use owner::{Guard, Process, ProcessState};
pub(crate) use protocol::EndCommand;
pub use protocol::{ProcessSpec, Stopping, User};
pub use server::serve;
