//! The owner's side: asks the guard, and knows what its servers do.
//!
//! It uses threads and channels that belong to no async runtime, because a
//! test binary shares one stack among tests that each have a runtime.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::sync::watch;

use super::protocol::{EndCommand, Event, ProcessSpec, Request};
use crate::error::{Error, LogTail, Result};
use crate::identity::ProcessId;

/// How long the guard may take to start a server or to let itself go.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// A guard process. Dropping it stops all that it started.
#[derive(Debug, Clone)]
pub struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: ProcessId,
    child: Mutex<Child>,
    /// `None` once the guard was told to stop or let go.
    requests: Mutex<Option<ChildStdin>>,
    states: Arc<Mutex<HashMap<u64, watch::Sender<ProcessState>>>>,
    detached: watch::Receiver<bool>,
    folders: Mutex<Vec<PathBuf>>,
    next_id: AtomicU64,
}

/// What a server that was started does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessState {
    /// The guard was asked to start it.
    Starting,
    /// It runs as this process.
    Running(ProcessId),
    /// It could not be started; the text says why.
    NotStarted(String),
    /// It ended; the text says how.
    Ended(String),
}

impl Guard {
    /// Starts a guard from the stack binary. What the guard itself has to
    /// complain about goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(stack_binary: &Path, log: &Path) -> Result<Self> {
        let log_file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::io(format!("cannot write {}", log.display())))?;
        let mut child = Command::new(stack_binary)
            .arg("guard")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .map_err(Error::io(format!("cannot run {}", stack_binary.display())))?;
        let (requests, events) = (child.stdin.take(), child.stdout.take());
        let identity = ProcessId::of(child.id());
        let (Some(requests), Some(events), Some(identity)) = (requests, events, identity) else {
            return Err(Error::Guard("it ended at once".into()));
        };
        let states = Arc::<Mutex<HashMap<_, _>>>::default();
        let (detached_sender, detached) = watch::channel(false);
        let known = Arc::clone(&states);
        std::thread::Builder::new()
            .name("guard-events".into())
            .spawn(move || follow(events, &known, &detached_sender))
            .map_err(Error::io("cannot start a thread"))?;
        Ok(Self(Arc::new(Inner {
            identity,
            child: Mutex::new(child),
            requests: Mutex::new(Some(requests)),
            states,
            detached,
            folders: Mutex::default(),
            next_id: AtomicU64::new(0),
        })))
    }

    /// The guard process itself.
    pub fn identity(&self) -> &ProcessId {
        &self.0.identity
    }

    /// Has `folder` removed after everything has stopped.
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn remove_at_end(&self, folder: PathBuf) -> Result<()> {
        locked(&self.0.folders).push(folder.clone());
        self.0.ask(&Request::RemoveAtEnd { folder })
    }

    /// The folders that were asked to be removed.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        locked(&self.0.folders).clone()
    }

    /// Has a command run after everything has stopped.
    pub(crate) fn run_at_end(&self, command: EndCommand) -> Result<()> {
        self.0.ask(&Request::RunAtEnd { command })
    }

    /// Starts a server and waits until it runs (not until it is ready).
    ///
    /// # Errors
    /// When it cannot be started, or the guard is gone.
    pub async fn run(&self, spec: ProcessSpec) -> Result<Process> {
        let process = Process {
            guard: self.clone(),
            current: Mutex::new(self.ask_start(&spec)?),
            spec,
        };
        process.wait_running().await?;
        Ok(process)
    }

    fn ask_start(&self, spec: &ProcessSpec) -> Result<Current> {
        let id = self.0.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, state) = watch::channel(ProcessState::Starting);
        locked(&self.0.states).insert(id, sender);
        self.0.ask(&Request::Start {
            id,
            spec: spec.clone(),
        })?;
        Ok(Current { id, state })
    }

    /// Lets the guard and its servers live on when this process ends.
    ///
    /// # Errors
    /// When the guard does not answer.
    pub async fn detach(&self) -> Result<()> {
        self.0.ask(&Request::Detach)?;
        let mut detached = self.0.detached.clone();
        match tokio::time::timeout(ANSWER_LIMIT, detached.wait_for(|yes| *yes)).await {
            Ok(Ok(_)) => {
                locked(&self.0.requests).take();
                Ok(())
            }
            _ => Err(Error::Guard("it did not answer".into())),
        }
    }

    /// Stops every server and the guard; returns when all are gone.
    ///
    /// # Errors
    /// When they are not within `limit`.
    pub async fn stop(&self, limit: Duration) -> Result<()> {
        // Its pipe may be closed already, because it is stopping.
        let _ = self.0.ask(&Request::Stop);
        locked(&self.0.requests).take();
        let begin = Instant::now();
        loop {
            match locked(&self.0.child).try_wait() {
                Ok(None) if begin.elapsed() < limit => {}
                Ok(None) => {
                    return Err(Error::Guard(format!(
                        "process {} did not stop everything within {} s",
                        self.0.identity.pid,
                        limit.as_secs()
                    )));
                }
                Ok(Some(_)) | Err(_) => return Ok(()),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Inner {
    fn ask(&self, request: &Request) -> Result<()> {
        let mut requests = locked(&self.requests);
        let pipe = requests
            .as_mut()
            .ok_or_else(|| Error::Guard("it was stopped".into()))?;
        let mut line =
            serde_json::to_string(request).map_err(|error| Error::Guard(error.to_string()))?;
        line.push('\n');
        pipe.write_all(line.as_bytes())
            .and_then(|()| pipe.flush())
            .map_err(|error| Error::Guard(format!("process {}: {error}", self.identity.pid)))
    }
}

/// Keeps the states up to date until the guard ends.
fn follow(
    events: ChildStdout,
    states: &Mutex<HashMap<u64, watch::Sender<ProcessState>>>,
    detached: &watch::Sender<bool>,
) {
    let set = |id, state| {
        if let Some(sender) = locked(states).get(&id) {
            sender.send_replace(state);
        }
    };
    for line in BufReader::new(events).lines() {
        let Ok(line) = line else { break };
        match serde_json::from_str(&line) {
            Ok(Event::Started { id, process }) => set(id, ProcessState::Running(process)),
            Ok(Event::NotStarted { id, error }) => set(id, ProcessState::NotStarted(error)),
            Ok(Event::Exited { id, status }) => set(id, ProcessState::Ended(status)),
            Ok(Event::Detached) => drop(detached.send_replace(true)),
            Err(error) => tracing::warn!(%line, %error, "the guard said something unknown"),
        }
    }
    // A guard that was let go or told to stop ends like this too, but then
    // nobody asks for states any more. One that was killed leaves its servers
    // without a parent: they are ended here, as nobody else would.
    let detached = *detached.borrow();
    for sender in locked(states).values() {
        let state = sender.borrow().clone();
        if let ProcessState::Running(process) = state {
            if !detached {
                process.signal_group(Signal::SIGKILL);
            }
            sender.send_replace(ProcessState::Ended("its guard is gone".into()));
        }
    }
}

/// A server that the guard started.
#[derive(Debug)]
pub struct Process {
    guard: Guard,
    spec: ProcessSpec,
    current: Mutex<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    id: u64,
    state: watch::Receiver<ProcessState>,
}

impl Process {
    /// How it was started.
    pub fn spec(&self) -> &ProcessSpec {
        &self.spec
    }

    /// What it does now.
    pub fn state(&self) -> ProcessState {
        self.current().state.borrow().clone()
    }

    /// The process; `None` when it does not run.
    pub fn identity(&self) -> Option<ProcessId> {
        match self.state() {
            ProcessState::Running(process) => Some(process),
            ProcessState::Starting | ProcessState::NotStarted(_) | ProcessState::Ended(_) => None,
        }
    }

    /// The process id; `None` when it does not run.
    pub fn pid(&self) -> Option<u32> {
        self.identity().map(|process| process.pid)
    }

    /// The file that it logs to.
    pub fn log(&self) -> &Path {
        &self.spec.log
    }

    /// Asks it to stop (the signal that its kind is stopped by).
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn terminate(&self) -> Result<()> {
        self.signal(self.spec.stopping.signal)
    }

    /// Interrupts it, as Ctrl-C does; of PostgreSQL, a "fast shutdown".
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn interrupt(&self) -> Result<()> {
        self.signal(Signal::SIGINT as i32)
    }

    /// Kills it: it gets no chance to finish anything.
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn kill9(&self) -> Result<()> {
        self.signal(Signal::SIGKILL as i32)
    }

    /// Freezes it, as a machine that hangs would: its connections stay open.
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP as i32)
    }

    /// Lets it go on after [`Process::pause`].
    ///
    /// # Errors
    /// When the guard is gone.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT as i32)
    }

    fn signal(&self, signal: i32) -> Result<()> {
        let id = self.current().id;
        self.guard.0.ask(&Request::Signal { id, signal })
    }

    /// Waits until it has ended and tells how.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub async fn wait_ended(&self, limit: Duration) -> Result<String> {
        let mut current = self.current();
        let ended = current.state.wait_for(|state| {
            matches!(state, ProcessState::Ended(_) | ProcessState::NotStarted(_))
        });
        if let Ok(Ok(state)) = tokio::time::timeout(limit, ended).await
            && let ProcessState::Ended(status) | ProcessState::NotStarted(status) = &*state
        {
            return Ok(status.clone());
        }
        Err(Error::NotReady {
            what: self.spec.name.clone(),
            waited: limit,
            reason: "it still runs".into(),
            tail: LogTail::of(&self.spec.log),
        })
    }

    /// Starts it again, in the same way, after it has ended.
    ///
    /// # Errors
    /// When it still runs, or does not start.
    pub async fn start_again(&self) -> Result<()> {
        if matches!(
            self.state(),
            ProcessState::Starting | ProcessState::Running(_)
        ) {
            return Err(Error::Invalid(format!("{} still runs", self.spec.name)));
        }
        *locked(&self.current) = self.guard.ask_start(&self.spec)?;
        self.wait_running().await
    }

    async fn wait_running(&self) -> Result<()> {
        let mut current = self.current();
        let begun = current
            .state
            .wait_for(|state| !matches!(state, ProcessState::Starting));
        match tokio::time::timeout(ANSWER_LIMIT, begun).await {
            Ok(Ok(state)) => match &*state {
                ProcessState::NotStarted(error) => Err(self.ended(error.clone())),
                // It ran, however short: whoever waits for it to be ready is told.
                ProcessState::Starting | ProcessState::Running(_) | ProcessState::Ended(_) => {
                    Ok(())
                }
            },
            _ => Err(Error::Guard(format!(
                "it did not start {} within {} s",
                self.spec.name,
                ANSWER_LIMIT.as_secs()
            ))),
        }
    }

    /// The error that says it ended, with the end of its log.
    pub(crate) fn ended(&self, status: String) -> Error {
        Error::Ended {
            what: self.spec.name.clone(),
            status,
            tail: LogTail::of(&self.spec.log),
        }
    }

    fn current(&self) -> Current {
        locked(&self.current).clone()
    }
}

/// No code panics while it holds one of these locks, so what is behind a
/// poisoned one is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
