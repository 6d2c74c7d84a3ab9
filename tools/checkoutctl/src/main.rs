//! `checkoutctl`: prepares Kafka and the schema registry for the checkout, and
//! audits it.
#![allow(
    clippy::print_stdout,
    reason = "results of a command go to standard output"
)]

mod args;
mod audit_args;

use std::{io::IsTerminal, process::ExitCode};

use anyhow::Context;
use checkoutctl::{schemas, stock, topics};
use clap::Parser;
use contracts::Codec;
use tracing_subscriber::EnvFilter;

use self::args::{Args, Command, SchemasCommand, StockCommand, TopicsCommand};

fn main() -> ExitCode {
    let args = Args::parse();
    // Warnings only, and of librdkafka errors only: it warns of everything that
    // a young cluster still has to do. RUST_LOG asks for more.
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("warn,librdkafka=error,rdkafka=error"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .with_env_filter(filter)
        .init();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("start of the runtime")
        .and_then(|runtime| runtime.block_on(run(args)));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("checkoutctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let names = args.names.names();
    match args.command {
        Command::Audit(args) => Ok(audit_args::audit(&args, names).await),
        Command::Topics(TopicsCommand::Apply {
            kafka,
            options,
            fail_on_drift,
        }) => {
            let report = topics::apply(&kafka.cluster(), &names, &options.options()).await?;
            for name in &report.created {
                println!("created  {name}");
            }
            println!(
                "{} topics created, {} existed",
                report.created.len(),
                report.existing.len()
            );
            for drift in &report.drift {
                eprintln!("differs  {drift}");
            }
            if !report.drift.is_empty() {
                eprintln!(
                    "{} differences from topics.yaml were left as they are; change them with Kafka's own tools",
                    report.drift.len()
                );
            }
            Ok(failure_if(fail_on_drift && !report.drift.is_empty()))
        }
        Command::Schemas(SchemasCommand::Apply { registry }) => {
            let report = schemas::apply(&registry.config(), &names).await?;
            for (subject, id) in &report.registered {
                println!("registered  {subject} as {id}");
            }
            println!(
                "{} schemas registered, {} existed, compatibility set for {}",
                report.registered.len(),
                report.existing.len(),
                report.compatibility_set.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Schemas(SchemasCommand::Check { registry }) => {
            let problems = schemas::check(&registry.config(), &names).await?;
            for problem in &problems {
                println!("{problem}");
            }
            if problems.is_empty() {
                println!("all schemas are registered");
            } else {
                eprintln!(
                    "{} subjects are not as they should be; run `checkoutctl schemas apply`",
                    problems.len()
                );
            }
            Ok(failure_if(!problems.is_empty()))
        }
        Command::Stock(StockCommand::Set {
            kafka,
            registry,
            stock,
        }) => {
            let codec = Codec::connect(&registry.config(), names, stock::WRITES).await?;
            stock::set(&kafka.cluster(), &codec, &stock).await?;
            println!("{} products: SetStock delivered", stock.len());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn failure_if(failed: bool) -> ExitCode {
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
