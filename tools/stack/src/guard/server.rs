//! The guard's own side: it starts, signals and stops servers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use super::protocol::{EndCommand, Event, ProcessSpec, Request, Stopping};
use crate::identity::{ProcessId, pid_of};

/// How long a killed server may take to be gone.
const KILL_LIMIT: Duration = Duration::from_secs(10);
/// How long a command at the end may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// Runs the guard until its owner goes or it is told to stop. This is what the
/// stack binary does under its hidden subcommand.
pub fn serve() -> ExitCode {
    // A session of its own: the terminal's Ctrl-C and hang-up do not reach it.
    // It fails only for the leader of a process group, which is as good.
    let _ = nix::unistd::setsid();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the guard cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let local = tokio::task::LocalSet::new();
    let outcome = local.block_on(&runtime, guard());
    // The thread that reads standard input may still wait in there.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the guard failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn guard() -> std::io::Result<()> {
    let mut requests = requests();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut servers = Servers::default();
    let mut detached = false;
    loop {
        let request = tokio::select! {
            request = requests.recv(), if !requests.is_closed() || !detached => request,
            _ = terminate.recv() => Some(Request::Stop),
        };
        match request {
            Some(Request::Start { id, spec }) => servers.start(id, spec),
            Some(Request::Signal { id, signal }) => servers.signal(id, signal),
            Some(Request::RemoveAtEnd { folder }) => servers.folders.push(folder),
            Some(Request::RunAtEnd { command }) => servers.commands.push(command),
            Some(Request::Detach) => {
                detached = true;
                send(&Event::Detached);
            }
            Some(Request::Stop) => break,
            // The pipe is closed: the owner is gone.
            None if detached => requests.close(),
            None => break,
        }
    }
    servers.stop().await;
    Ok(())
}

/// Reads requests on a thread, because standard input can only be read so.
fn requests() -> mpsc::Receiver<Request> {
    let (sender, receiver) = mpsc::channel(64);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            match serde_json::from_str(&line) {
                Ok(request) => {
                    if sender.blocking_send(request).is_err() {
                        break;
                    }
                }
                Err(error) => eprintln!("the guard does not understand {line:?}: {error}"),
            }
        }
    });
    receiver
}

/// Tells the owner; an owner that is gone is not told.
fn send(event: &Event) {
    let mut out = std::io::stdout().lock();
    if let Ok(line) = serde_json::to_string(event) {
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

#[derive(Default)]
struct Servers {
    /// Those that run. An entry goes in the moment its process is collected,
    /// so an id in here always belongs to the process it was given to.
    running: Rc<RefCell<BTreeMap<u64, Running>>>,
    folders: Vec<PathBuf>,
    commands: Vec<EndCommand>,
}

struct Running {
    pid: u32,
    stopping: Stopping,
    ended: watch::Receiver<()>,
}

impl Servers {
    fn start(&self, id: u64, spec: ProcessSpec) {
        let started = spawn(&spec).and_then(|child| {
            let pid = child
                .id()
                .ok_or_else(|| std::io::Error::other("it ended at once"))?;
            Ok((pid, child))
        });
        let (pid, mut child) = match started {
            Ok(started) => started,
            Err(error) => {
                return send(&Event::NotStarted {
                    id,
                    error: format!("{}: {error}", spec.program.display()),
                });
            }
        };
        let process = ProcessId::of(pid).unwrap_or_else(|| ProcessId {
            pid,
            started: "ended at once".into(),
        });
        let (alive, ended) = watch::channel(());
        let running = Running {
            pid,
            stopping: spec.stopping,
            ended,
        };
        self.running.borrow_mut().insert(id, running);
        send(&Event::Started { id, process });

        let servers = Rc::clone(&self.running);
        tokio::task::spawn_local(async move {
            let status = child.wait().await;
            servers.borrow_mut().remove(&id);
            drop(alive);
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            send(&Event::Exited { id, status });
        });
    }

    fn signal(&self, id: u64, signal: i32) {
        if let (Some(running), Ok(signal)) =
            (self.running.borrow().get(&id), Signal::try_from(signal))
        {
            // It may end at this moment; then there is nothing to signal.
            let _ = killpg(pid_of(running.pid), signal);
        }
    }

    /// Stops all, order by order: asks, waits, kills.
    async fn stop(self) {
        loop {
            let next = self
                .running
                .borrow()
                .values()
                .map(|r| r.stopping.order)
                .min();
            let Some(order) = next else { break };
            let ended: Vec<_> = self
                .running
                .borrow()
                .values()
                .filter(|running| running.stopping.order == order)
                .map(|running| (running.stopping, running.pid, running.ended.clone()))
                .collect();
            let each = ended
                .into_iter()
                .map(|(stopping, pid, ended)| stop_one(stopping, pid, ended));
            futures::future::join_all(each).await;
            // What even a kill did not end would otherwise be asked for ever.
            self.running
                .borrow_mut()
                .retain(|_, r| r.stopping.order != order);
        }
        for command in &self.commands {
            run_to_end(command).await;
        }
        for folder in &self.folders {
            if let Err(error) = std::fs::remove_dir_all(folder)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                eprintln!("the guard cannot remove {}: {error}", folder.display());
            }
        }
    }
}

async fn stop_one(stopping: Stopping, pid: u32, mut ended: watch::Receiver<()>) {
    let group = pid_of(pid);
    if let Ok(signal) = Signal::try_from(stopping.signal) {
        let _ = killpg(group, signal);
        // One that was paused could not act on it.
        let _ = killpg(group, Signal::SIGCONT);
    }
    let limit = Duration::from_millis(stopping.limit_ms);
    // The sender says nothing: it is dropped when the server has ended.
    if tokio::time::timeout(limit, ended.changed()).await.is_err() {
        let _ = killpg(group, Signal::SIGKILL);
        let _ = tokio::time::timeout(KILL_LIMIT, ended.changed()).await;
    }
}

fn spawn(spec: &ProcessSpec) -> std::io::Result<tokio::process::Child> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&spec.log)?;
    let mut command = tokio::process::Command::new(&spec.program);
    command
        .args(&spec.args)
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    if let Some(user) = spec.user {
        command.uid(user.uid).gid(user.gid);
    }
    command.spawn()
}

async fn run_to_end(command: &EndCommand) {
    let run = tokio::process::Command::new(&command.program)
        .args(&command.args)
        .current_dir(&command.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .status();
    let failed = match tokio::time::timeout(COMMAND_LIMIT, run).await {
        Ok(Ok(status)) if status.success() => return,
        Ok(Ok(status)) => status.to_string(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it took longer than {} s", COMMAND_LIMIT.as_secs()),
    };
    eprintln!(
        "the guard ran {} and it failed: {failed}",
        command.program.display()
    );
}
