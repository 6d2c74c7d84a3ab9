//! What later commands do with a stack that runs on its own.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde::Serialize;

use crate::error::{Error, LogTail, Result};
use crate::identity::ProcessId;
use crate::provider::Provider;
use crate::services::Service;
use crate::state::State;
use crate::{compose, wait};

/// A guard's orderly stop of everything.
const GUARD_LIMIT: Duration = Duration::from_secs(90);
/// For a process whose guard is gone, each for asking and for killing.
const PROCESS_LIMIT: Duration = Duration::from_secs(10);

/// Takes the folder for one command; the lock ends with the file.
///
/// # Errors
/// When another command works on it, or it cannot be created.
pub fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("stack.lock");
    let file = std::fs::create_dir_all(folder)
        .and_then(|()| File::create(&path))
        .map_err(Error::io(format!("cannot create {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(_) => Err(Error::Invalid(format!(
            "another command works on {}",
            folder.display()
        ))),
    }
}

/// Stops what was left running in `folder`: exactly those processes, each
/// known by its id and start time. `false` when nothing was.
///
/// # Errors
/// When something is not gone in time; it is still recorded then.
pub async fn down(folder: &Path) -> Result<bool> {
    let Some(state) = State::read(folder)? else {
        return Ok(false);
    };
    // The last guard's servers use the first one's.
    for guard in state.guards.iter().rev() {
        end(
            "the guard process",
            guard,
            Signal::SIGTERM,
            GUARD_LIMIT,
            folder,
        )
        .await?;
    }
    // Only a guard that was killed leaves anything to do here.
    for entry in state.entries.iter().rev() {
        let Some(process) = &entry.process else {
            continue;
        };
        let asked = end(&entry.name, process, Signal::SIGTERM, PROCESS_LIMIT, folder).await;
        if asked.is_err() {
            end(&entry.name, process, Signal::SIGKILL, PROCESS_LIMIT, folder).await?;
        }
    }
    if state.provider == Provider::Compose {
        compose::stop().await?;
    }
    for folder in &state.folders {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let doing = format!("cannot remove {}", folder.display());
                return Err(Error::io(doing)(error));
            }
            _ => {}
        }
    }
    State::remove(folder)?;
    Ok(true)
}

async fn end(
    name: &str,
    process: &ProcessId,
    signal: Signal,
    limit: Duration,
    folder: &Path,
) -> Result<()> {
    process.signal_group(signal);
    let begin = Instant::now();
    while process.is_alive() {
        if begin.elapsed() > limit {
            return Err(Error::NotReady {
                what: format!("the end of {name} (process {})", process.pid),
                waited: limit,
                reason: "it still runs".into(),
                tail: LogTail::of(&folder.join("guard.log")),
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// How a stack is.
#[derive(Debug, Serialize)]
pub struct Status {
    /// Whether anything was left running in the folder.
    pub up: bool,
    /// Whether everything in it is alive.
    pub all_alive: bool,
    /// Where the parts come from.
    pub provider: Option<Provider>,
    /// Each part and service.
    pub processes: Vec<ProcessStatus>,
    /// The processes that stop the others.
    pub guards: Vec<GuardStatus>,
}

/// How one part or service is.
#[derive(Debug, Serialize)]
pub struct ProcessStatus {
    /// What a person calls it.
    pub name: String,
    /// Which service, if it is one.
    pub service: Option<Service>,
    /// Its process id, if this tool started it.
    pub pid: Option<u32>,
    /// "host:port".
    pub address: String,
    /// The base address, of a service.
    pub http_url: Option<String>,
    /// Its log file, if this tool started it.
    pub log: Option<String>,
    /// Whether its process runs and it accepts connections.
    pub alive: bool,
}

/// How one guard is.
#[derive(Debug, Serialize)]
pub struct GuardStatus {
    /// Its process id.
    pub pid: u32,
    /// Whether it runs.
    pub alive: bool,
}

/// How what was left running in `folder` is.
///
/// # Errors
/// When its record cannot be read.
pub async fn status(folder: &Path) -> Result<Status> {
    let Some(state) = State::read(folder)? else {
        return Ok(Status {
            up: false,
            all_alive: false,
            provider: None,
            processes: Vec::new(),
            guards: Vec::new(),
        });
    };
    let mut processes = Vec::new();
    for entry in &state.entries {
        let alive = entry.process_is_alive() && wait::accepts(&entry.address).await.is_ok();
        processes.push(ProcessStatus {
            name: entry.name.clone(),
            service: entry.service,
            pid: entry.process.as_ref().map(|process| process.pid),
            address: entry.address.clone(),
            http_url: entry.service.map(|_| format!("http://{}", entry.address)),
            log: entry.log.as_ref().map(|log| log.display().to_string()),
            alive,
        });
    }
    Ok(Status {
        up: true,
        all_alive: processes.iter().all(|process| process.alive),
        provider: Some(state.provider),
        processes,
        guards: state
            .guards
            .iter()
            .map(|guard| GuardStatus {
                pid: guard.pid,
                alive: guard.is_alive(),
            })
            .collect(),
    })
}
