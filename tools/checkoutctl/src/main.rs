//! `checkoutctl`: prepares Kafka and the schema registry for the checkout, and
//! audits it.
#![allow(
    clippy::print_stdout,
    reason = "results of a command go to standard output"
)]

mod args;
mod audit_args;
mod checkout_args;
mod dlq_args;
mod explain_args;
mod flow_args;
mod print;
mod sagas_args;
mod upgrade_args;

use std::{io::IsTerminal, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use checkoutctl::{Cluster, schemas, stock, topics};
use clap::{CommandFactory, Parser};
use contracts::{Codec, TopicNames};
use serde_json::json;
use tracing_subscriber::EnvFilter;

use operations::args::{KafkaArgs, RegistryArgs};

use self::args::{Args, Command, SchemasCommand, StockCommand, TopicsCommand};
use self::audit_args::Telling;

/// Exit status of a command that did its work and found something that is not as
/// it should be, or could do only a part.
const FOUND: u8 = 1;
/// Exit status of a command that could not do its work; also of a wrong command line.
const COULD_NOT: u8 = 2;

/// How long Kafka may be silent where no flag says so.
const KAFKA_LIMIT: Duration = Duration::from_secs(60);

fn cluster(kafka: &KafkaArgs) -> Cluster {
    kafka.kafka(KAFKA_LIMIT).into()
}

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
            ExitCode::from(COULD_NOT)
        }
    }
}

async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let names = args.names.names();
    match args.command {
        Command::Explain(args) => explain_args::explain(&args, names).await,
        Command::Sagas(command) => sagas_args::run(&command, names).await,
        Command::Dlq(command) => dlq_args::run(&command, names).await,
        Command::Checkout(command) => checkout_args::run(&command, names).await,
        Command::Audit(args) => Ok(audit_args::audit(&args, names).await),
        Command::Flow(command) => flow_args::run(&command),
        Command::Upgrade(command) => upgrade_args::run(&command, names).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "checkoutctl", &mut script);
            print::text(&String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { folder: None } => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Args::command()).render(&mut page)?;
            print::text(&String::from_utf8_lossy(&page));
            Ok(ExitCode::SUCCESS)
        }
        Command::Man {
            folder: Some(folder),
        } => {
            clap_mangen::generate_to(Args::command(), &folder)
                .with_context(|| format!("cannot write manual pages to {}", folder.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Topics(command) => topics(command, names).await,
        Command::Schemas(command) => schemas(command, names).await,
        Command::Stock(StockCommand::Set {
            kafka,
            registry,
            json,
            stock,
        }) => {
            let codec = Codec::connect(&registry.config(), names, stock::WRITES).await?;
            stock::set(&cluster(&kafka), &codec, &stock).await?;
            match json {
                true => print::json(&json!({ "delivered": stock.len() }))?,
                false => println!("{} products: SetStock delivered", stock.len()),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn topics(command: TopicsCommand, names: TopicNames) -> anyhow::Result<ExitCode> {
    match command {
        TopicsCommand::Apply {
            kafka,
            options,
            fail_on_drift,
            json,
        } => {
            let report = topics::apply(&cluster(&kafka), &names, &options.options()).await?;
            if json {
                print::json(&report)?;
                return Ok(failure_if(fail_on_drift && !report.drift.is_empty()));
            }
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
        TopicsCommand::Plan(args) => {
            let plan = topics::plan(&cluster(&args.kafka), &names, &args.options.options()).await?;
            match args.json {
                true => print::json(&plan)?,
                false => {
                    for name in &plan.missing {
                        println!("would create  {name}");
                    }
                    for drift in &plan.drift {
                        println!("differs       {drift}");
                    }
                    println!(
                        "{} topics to create, {} differences, which `apply` leaves as they are",
                        plan.missing.len(),
                        plan.drift.len()
                    );
                }
            }
            Ok(failure_if(
                !(plan.missing.is_empty() && plan.drift.is_empty()),
            ))
        }
        TopicsCommand::Drift(args) => {
            let plan = topics::plan(&cluster(&args.kafka), &names, &args.options.options()).await?;
            match args.json {
                true => print::json(&plan)?,
                false => {
                    for drift in &plan.drift {
                        println!("{drift}");
                    }
                    for name in &plan.missing {
                        println!("{name}: missing");
                    }
                    if plan.drift.is_empty() && plan.missing.is_empty() {
                        println!("all topics are as topics.yaml has them");
                    }
                }
            }
            Ok(failure_if(
                !(plan.missing.is_empty() && plan.drift.is_empty()),
            ))
        }
    }
}

async fn schemas(command: SchemasCommand, names: TopicNames) -> anyhow::Result<ExitCode> {
    match command {
        SchemasCommand::Apply { registry, json } => {
            let report = schemas::apply(&registry.config(), &names).await?;
            if json {
                print::json(&report)?;
                return Ok(ExitCode::SUCCESS);
            }
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
        SchemasCommand::Plan { registry, json } => {
            let changes = schemas::plan(&registry.config(), &names).await?;
            if json {
                print::json(&changes)?;
                return Ok(failure_if(!changes.is_empty()));
            }
            for change in &changes {
                println!("{change}");
            }
            println!("{} subjects to change", changes.len());
            Ok(failure_if(!changes.is_empty()))
        }
        SchemasCommand::Check {
            registry,
            kafka,
            retained: true,
            json,
        } => retained(&registry, &kafka, json, names).await,
        SchemasCommand::Check { registry, json, .. } => {
            let problems = schemas::check(&registry.config(), &names).await?;
            if json {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                print::json(&json!({ "problems": problems }))?;
                return Ok(failure_if(!problems.is_empty()));
            }
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
    }
}

/// Reads every record that is still on the topics.
async fn retained(
    registry: &RegistryArgs,
    kafka: &KafkaArgs,
    json: bool,
    names: TopicNames,
) -> anyhow::Result<ExitCode> {
    let target = audit::Target {
        kafka: kafka.kafka(KAFKA_LIMIT),
        registry: registry.config(),
        topics: names,
        orchestrator: None,
        inventory: None,
        payment: None,
        order: None,
        others: Default::default(),
    };
    let telling = Arc::new(Telling::new());
    let told = Arc::clone(&telling);
    let read = operations::retained::check(&target, move |text| told.tell(text)).await;
    telling.clear();
    let topics = read?;
    let not_understood: u64 = topics.iter().map(|topic| topic.not_understood).sum();
    if json {
        print::json(&json!({ "topics": topics, "notUnderstood": not_understood }))?;
        return Ok(failure_if(not_understood > 0));
    }
    for topic in &topics {
        let poison: u64 = topic.poison.values().sum();
        println!(
            "{}: {} records, {} not understood, {poison} poison with any version",
            topic.topic, topic.records, topic.not_understood
        );
        for example in &topic.examples {
            println!("  {example}");
        }
    }
    Ok(failure_if(not_understood > 0))
}

fn failure_if(failed: bool) -> ExitCode {
    if failed {
        ExitCode::from(FOUND)
    } else {
        ExitCode::SUCCESS
    }
}
