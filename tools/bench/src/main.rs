//! `cargo bench-saga`: how many sagas a second, and how long one takes.
//!
//! - `cli`: what can be asked for.
//! - `side`: a variant of the system that is measured: its settings, its services.
//! - `carts`: what is checked out.
//! - `pair`: another revision of the repository, built; `revision`: which one this is.
//! - `preload`: finished sagas that were there before.
//! - `driver`: one run of one variant, in a closed or an open loop; `pace`: when its
//!   carts are due.
//! - `usage`: what processes, databases and logs used meanwhile.
//! - `processes`, `memory`, `traffic`, `scrape`: what `usage` is read from.
//! - `hops`: where one saga's time goes, from its trace.
//! - `rest`: the services without work, and how soon one is ready.
//! - `floor`: what the parts cost by themselves, and the least a saga can cost.
//! - `report`: figures.
//! - `compare`: two reports side by side.
//! - `table`, `page`: a report as text and as a web page.
//! - `run`: all of it, in order.

// What this program is asked for goes to standard output.
#![allow(clippy::print_stdout)]

mod carts;
mod cli;
mod compare;
mod driver;
mod floor;
mod hops;
mod memory;
mod pace;
mod page;
mod pair;
mod preload;
mod processes;
mod report;
mod rest;
mod revision;
mod run;
mod scrape;
mod side;
mod table;
mod traffic;
mod usage;

use std::process::ExitCode;

use clap::Parser;
use stack::Stack;

use crate::cli::{Args, Command};

/// As shells report a program that was interrupted.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Compare { before, after }) = &args.command {
        return finish(compare::print(before, after).map(|()| true));
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let mut stack = None;
        let outcome = tokio::select! {
            outcome = measure(&args, &mut stack) => Some(outcome),
            _ = tokio::signal::ctrl_c() => None,
        };
        if let Some(stack) = stack.take()
            && let Err(error) = stack.stop().await
        {
            eprintln!("error: {error:#}");
        }
        match outcome {
            Some(outcome) => finish(outcome),
            None => ExitCode::from(INTERRUPTED),
        }
    });
    // Threads that wait for Kafka need not be waited for.
    runtime.shutdown_background();
    code
}

async fn measure(args: &Args, stack: &mut Option<Stack>) -> anyhow::Result<bool> {
    match &args.command {
        Some(Command::Floor(options)) => run::floor_alone(options, stack).await,
        _ => run::run(&args.options, stack).await,
    }
}

fn finish(outcome: anyhow::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
