//! What the owner and the guard say to each other: one JSON object a line,
//! requests on the guard's standard input, events on its standard output.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::identity::ProcessId;

/// A server to start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// What a person calls it.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables set on top of the owner's environment.
    pub env: Vec<(String, String)>,
    /// Its working folder.
    pub folder: PathBuf,
    /// The file that its standard output and error are appended to.
    pub log: PathBuf,
    /// Whom it runs as, when not as the owner.
    pub user: Option<User>,
    /// How it is stopped.
    pub stopping: Stopping,
}

/// A user of the system.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// How a server is asked to stop.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Stopping {
    /// Number of the signal that asks for it.
    pub signal: i32,
    /// Servers are stopped in this order, those with the same number at once.
    pub order: u8,
    /// Milliseconds until it is killed instead.
    pub limit_ms: u64,
}

impl Default for Stopping {
    /// With the first, by SIGTERM, in five seconds.
    fn default() -> Self {
        Self {
            signal: nix::sys::signal::Signal::SIGTERM as i32,
            order: 0,
            limit_ms: 5_000,
        }
    }
}

/// A command that cleans up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EndCommand {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
    /// Its working folder.
    pub(crate) folder: PathBuf,
}

/// From the owner.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// Start a server; answered by `Started` or `NotStarted`.
    Start { id: u64, spec: ProcessSpec },
    /// Send it a signal; nothing happens when it has ended.
    Signal { id: u64, signal: i32 },
    /// Remove this folder after everything has stopped.
    RemoveAtEnd { folder: PathBuf },
    /// Run this command after everything has stopped.
    RunAtEnd { command: EndCommand },
    /// Stay when the owner goes; answered by `Detached`.
    Detach,
    /// Stop everything and exit.
    Stop,
}

/// From the guard.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Event {
    /// The server runs.
    Started { id: u64, process: ProcessId },
    /// The server could not be started.
    NotStarted { id: u64, error: String },
    /// The server has ended.
    Exited { id: u64, status: String },
    /// The guard no longer depends on the owner.
    Detached,
}
