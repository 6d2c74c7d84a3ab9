//! `cargo bench-saga`: how many sagas a second, and how long one takes.
//!
//! - `cli`: what can be asked for.
//! - `side`: a variant of the system that is measured: its settings, its services.
//! - `carts`: what is checked out.
//! - `pair`: another revision of the repository, built.
//! - `preload`: finished sagas that were there before.
//! - `driver`: one run of one variant, in a closed or an open loop.
//! - `usage`: what processes, databases and logs used meanwhile.
//! - `report`: figures, tables, and two reports side by side.
//! - `page`: a report as a web page.
//! - `run`: all of it, in order.

// What this program is asked for goes to standard output.
#![allow(clippy::print_stdout)]

mod carts;
mod cli;
mod driver;
mod page;
mod pair;
mod preload;
mod report;
mod run;
mod side;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Args, Command};

/// As shells report a program that was interrupted.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Compare { before, after }) = &args.command {
        return finish(report::compare(before, after).map(|()| true));
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
            outcome = run::run(&args.options, &mut stack) => Some(outcome),
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
