//! `cargo demo`: the whole checkout saga on this machine, shown cart by cart.
//!
//! - `cli`: what can be asked for.
//! - `carts`: which carts are published, and how each should end.
//! - `shop`: the cart service that publishes them.
//! - `watcher`: what the public topics say.
//! - `board`: live progress.
//! - `story`: every record and row of one cart.
//! - `report`: what is printed at the end.
//! - `run`: all of it, in order.

// What this program is asked for goes to standard output.
#![allow(clippy::print_stdout)]

mod board;
mod carts;
mod cli;
mod report;
mod run;
mod shop;
mod story;
mod watcher;

use std::process::ExitCode;

use clap::Parser;
use stack::Progress;

use crate::cli::{Args, Output};

/// As shells report a program that was interrupted.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let args = Args::parse();
    let output = Output::new(args.json);
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
            outcome = run::run(&args, &output, &mut stack) => Some(outcome),
            signal = interrupted() => {
                eprintln!("\n{signal}: stopping everything that was started");
                None
            }
        };
        // Whatever was left running by intent is no longer in there.
        let stopped = match stack.take() {
            Some(stack) => {
                let task = Progress::detect().task("stop");
                task.update("services, then parts");
                let stopped = stack.stop().await;
                task.done("everything");
                stopped
            }
            None => Ok(()),
        };
        if let Err(error) = stopped {
            eprintln!("error: {error:#}");
        }
        match outcome {
            Some(Ok(true)) => ExitCode::SUCCESS,
            Some(Ok(false)) => ExitCode::FAILURE,
            Some(Err(error)) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
            None => ExitCode::from(INTERRUPTED),
        }
    });
    // Threads that wait for Kafka need not be waited for.
    runtime.shutdown_background();
    code
}

/// Ends when a signal asks this program to stop; its name.
async fn interrupted() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [
        (SignalKind::interrupt(), "interrupted"),
        (SignalKind::terminate(), "terminated"),
        (SignalKind::hangup(), "the terminal is gone"),
    ];
    let each = kinds.into_iter().map(|(kind, name)| {
        Box::pin(async move {
            match signal(kind) {
                Ok(mut signals) => {
                    signals.recv().await;
                }
                // Without the handler the signal ends this process by itself.
                Err(_) => std::future::pending().await,
            }
            name
        })
    });
    futures::future::select_all(each).await.0
}
