//! `cargo stack`: the real parts, for development.

// What this program is asked for goes to standard output.
#![allow(clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use stack::{Entry, Options, Progress, Provider, Service, ServiceOptions, Stack, State, Status};

/// Starts and stops Kafka, a schema registry and PostgreSQL on this machine,
/// and the four services.
#[derive(Debug, Parser)]
#[command(name = "cargo stack", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts everything and returns when it is ready; it runs on until
    /// `down`. The addresses are then in DIR/stack.env.
    Up(Up),
    /// Stops what `up` started, and removes its data. The logs stay.
    Down {
        #[command(flatten)]
        dir: Dir,
    },
    /// Tells what runs: processes, addresses, whether they are alive. Exit
    /// status 0 when all are.
    Status {
        #[command(flatten)]
        dir: Dir,
        /// One JSON object instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Runs as the guard of another process; not for people.
    #[command(hide = true)]
    Guard,
}

#[derive(Debug, clap::Args)]
struct Dir {
    /// The stack's folder, for data, logs and stack.env; several stacks can
    /// run in several folders [default: .stack in the workspace].
    #[arg(long, value_name = "DIR", env = "STACK_DIR")]
    dir: Option<PathBuf>,
}

impl Dir {
    fn path(&self) -> PathBuf {
        self.dir
            .clone()
            .unwrap_or_else(|| stack::workspace().join(".stack"))
    }
}

#[derive(Debug, clap::Args)]
struct Up {
    #[command(flatten)]
    dir: Dir,
    /// Starts the four services too. For a stack that is up already: those of
    /// them that do not run.
    #[arg(long)]
    services: bool,
    /// Where the parts come from [default: the first that can be used:
    /// external, native, compose].
    #[arg(long, value_enum)]
    provider: Option<Provider>,
    /// What every topic's name begins with.
    #[arg(long, value_name = "PREFIX", default_value = "", env = "TOPIC_PREFIX")]
    topic_prefix: String,
    /// Kafka brokers to start (native provider).
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    brokers: u16,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        // Without the runtime and the threads of the other commands.
        Command::Guard => return stack::guard(),
        Command::Up(up) => block_on(run_up(up)),
        Command::Down { dir } => block_on(run_down(dir.path())),
        Command::Status { dir, json } => block_on(run_status(dir.path(), json)),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Runtime::new()
        .context("cannot start the async runtime")?
        .block_on(work)
}

async fn run_up(up: Up) -> anyhow::Result<ExitCode> {
    let folder = up.dir.path();
    let progress = Progress::detect();
    let _lock = stack::lock(&folder)?;
    if let Some(state) = State::read(&folder)? {
        return go_on(&up, &folder, state, &progress).await;
    }
    let options = Options {
        provider: up.provider,
        folder: Some(folder.clone()),
        brokers: up.brokers,
        ..Options::default()
    };
    let stack = Stack::start(options, &progress).await?;
    let installation = stack.install(&up.topic_prefix).await?;
    let services = match up.services {
        true => Some(
            stack
                .start_services(&installation, &ServiceOptions::default())
                .await?,
        ),
        false => None,
    };
    let state = stack
        .leave_running(&installation, services.as_ref(), None)
        .await?;
    show(&folder, &state);
    Ok(ExitCode::SUCCESS)
}

/// `up` for a folder where something is up already: starts the services that
/// do not run, if they are wanted.
async fn go_on(
    up: &Up,
    folder: &Path,
    mut state: State,
    progress: &Progress,
) -> anyhow::Result<ExitCode> {
    let runs = |entry: &Entry| entry.process_is_alive();
    let dead: Vec<&str> = state
        .entries
        .iter()
        .filter(|entry| entry.service.is_none() && !runs(entry))
        .map(|entry| entry.name.as_str())
        .collect();
    if !dead.is_empty() {
        bail!(
            "what was started in {} does not run any more ({}); stop the rest with `cargo stack \
             down --dir {0}` and begin anew",
            folder.display(),
            dead.join(", ")
        );
    }
    let missing: Vec<Service> = Service::ALL
        .iter()
        .copied()
        .filter(|service| {
            let mut of_service = state.entries.iter().filter(|e| e.service == Some(*service));
            !of_service.any(runs)
        })
        .collect();
    if !up.services || missing.is_empty() {
        progress.line("already up");
        show(folder, &state);
        return Ok(ExitCode::SUCCESS);
    }
    let stack = Stack::join(&state, folder, progress).await?;
    let options = missing
        .iter()
        .fold(ServiceOptions::none(), |options, service| {
            options.instances(*service, 1)
        });
    let services = stack.start_services(&state.installation, &options).await?;
    state.entries.retain(runs);
    let installation = state.installation.clone();
    let state = stack
        .leave_running(&installation, Some(&services), Some(state))
        .await?;
    show(folder, &state);
    Ok(ExitCode::SUCCESS)
}

fn show(folder: &Path, state: &State) {
    print!("{}", state.env());
    let env = State::env_path(folder);
    eprintln!("These variables are in {}.", env.display());
}

async fn run_down(folder: PathBuf) -> anyhow::Result<ExitCode> {
    let _lock = stack::lock(&folder)?;
    let progress = Progress::detect();
    let task = progress.task("stop");
    task.update("services, then parts");
    match stack::down(&folder).await? {
        true => task.done("everything"),
        false => task.done(format!("nothing was up in {}", folder.display())),
    }
    Ok(ExitCode::SUCCESS)
}

async fn run_status(folder: PathBuf, json: bool) -> anyhow::Result<ExitCode> {
    let status = stack::status(&folder).await?;
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print_table(&folder, &status);
    }
    Ok(if status.all_alive {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_table(folder: &Path, status: &Status) {
    if !status.up {
        println!("nothing is up in {}", folder.display());
        return;
    }
    println!("{:<18} {:>8}  {:<22} STATE", "NAME", "PID", "ADDRESS");
    for process in &status.processes {
        let pid = process.pid.map_or("-".to_owned(), |pid| pid.to_string());
        let state = if process.alive { "alive" } else { "dead" };
        println!(
            "{:<18} {pid:>8}  {:<22} {state}",
            process.name, process.address
        );
    }
    for guard in &status.guards {
        let state = if guard.alive { "alive" } else { "dead" };
        println!("{:<18} {:>8}  {:<22} {state}", "(guard)", guard.pid, "-");
    }
}
