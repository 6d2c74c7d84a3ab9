//! `checkoutctl`: the command line of operators and scripts. A module for each group of
//! commands has its flags; what it does is in this crate's library (topics, schemas,
//! stock), in `operations` and in `audit`.

mod args;
mod audit_args;
mod checkout_args;
mod dlq_args;
#[cfg(test)]
mod documents;
mod explain_args;
mod flow_args;
mod flow_pages;
mod manual;
mod print;
mod retained_args;
mod sagas_args;
mod sagas_watch;
mod telling;
mod upgrade_args;

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::Context;
use checkoutctl::{Cluster, schemas, stock, topics};
use clap::{CommandFactory, Parser};
use contracts::{Codec, TopicNames};
use operations::args::KafkaArgs;
use serde_json::json;
use tracing_subscriber::EnvFilter;

use self::args::{Args, Command, SchemasCommand, StockCommand, TopicsCommand};
use self::telling::during;

/// Exit status of a command that did its work and found something that is not as
/// it should be, or could do only a part.
const FOUND: u8 = 1;
/// Exit status of a command that could not do its work, or that tells of something that
/// could not be done; also of a wrong command line.
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
        // Whoever reads it may have gone.
        .log_internal_errors(false)
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
            telling::line(&format!("checkoutctl: {error:#}"));
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
            print::text(&manual::page()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Man {
            folder: Some(folder),
        } => {
            manual::write(&folder)
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
            let set = async {
                let codec = Codec::connect(&registry.config(), names, stock::WRITES).await?;
                stock::set(&cluster(&kafka), &codec, &stock).await
            };
            during("publishing", set).await?;
            match json {
                true => print::json(&json!({ "delivered": stock.len() }))?,
                false => print::line(&format!("{} products: SetStock delivered", stock.len())),
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
            let (cluster, options) = (cluster(&kafka), options.options());
            let report = topics::apply(&cluster, &names, &options);
            let report = during("creating topics", report).await?;
            if json {
                print::json(&report)?;
                return Ok(failure_if(fail_on_drift && !report.drift.is_empty()));
            }
            for name in &report.created {
                print::line(&format!("created  {name}"));
            }
            print::line(&format!(
                "{} topics created, {} existed",
                report.created.len(),
                report.existing.len()
            ));
            for drift in &report.drift {
                telling::line(&format!("differs  {drift}"));
            }
            if !report.drift.is_empty() {
                telling::line(&format!(
                    "{} differences from topics.yaml were left as they are; change them with Kafka's own tools",
                    report.drift.len()
                ));
            }
            Ok(failure_if(fail_on_drift && !report.drift.is_empty()))
        }
        TopicsCommand::Plan(args) => {
            let plan = args.plan(&names).await?;
            match args.json {
                true => print::json(&plan)?,
                false => {
                    for name in &plan.missing {
                        print::line(&format!("would create  {name}"));
                    }
                    for drift in &plan.drift {
                        print::line(&format!("differs       {drift}"));
                    }
                    print::line(&format!(
                        "{} topics to create, {} differences, which `apply` leaves as they are",
                        plan.missing.len(),
                        plan.drift.len()
                    ));
                }
            }
            Ok(failure_if(
                !(plan.missing.is_empty() && plan.drift.is_empty()),
            ))
        }
        TopicsCommand::Drift(args) => {
            let plan = args.plan(&names).await?;
            match args.json {
                true => print::json(&plan)?,
                false => {
                    for drift in &plan.drift {
                        print::line(&drift.to_string());
                    }
                    for name in &plan.missing {
                        print::line(&format!("{name}: missing"));
                    }
                    if plan.drift.is_empty() && plan.missing.is_empty() {
                        print::line("all topics are as topics.yaml has them");
                    }
                }
            }
            Ok(failure_if(
                !(plan.missing.is_empty() && plan.drift.is_empty()),
            ))
        }
    }
}

impl args::TopicsPlanArgs {
    async fn plan(&self, names: &TopicNames) -> anyhow::Result<topics::Plan> {
        let (cluster, options) = (cluster(&self.kafka), self.options.options());
        during("asking Kafka", topics::plan(&cluster, names, &options)).await
    }
}

/// What a person reads while the registry is asked.
const ASKING_REGISTRY: &str = "asking the schema registry";

async fn schemas(command: SchemasCommand, names: TopicNames) -> anyhow::Result<ExitCode> {
    match command {
        SchemasCommand::Apply { registry, json } => {
            let report =
                during(ASKING_REGISTRY, schemas::apply(&registry.config(), &names)).await?;
            if json {
                print::json(&report)?;
                return Ok(ExitCode::SUCCESS);
            }
            for (subject, id) in &report.registered {
                print::line(&format!("registered  {subject} as {id}"));
            }
            print::line(&format!(
                "{} schemas registered, {} existed, compatibility set for {}",
                report.registered.len(),
                report.existing.len(),
                report.compatibility_set.len()
            ));
            Ok(ExitCode::SUCCESS)
        }
        SchemasCommand::Plan { registry, json } => {
            let changes =
                during(ASKING_REGISTRY, schemas::plan(&registry.config(), &names)).await?;
            match json {
                true => print::json(&changes)?,
                false => {
                    for change in &changes {
                        print::line(&change.to_string());
                    }
                    print::line(&format!("{} subjects to change", changes.len()));
                }
            }
            match changes.iter().any(schemas::Change::is_refused) {
                true => Ok(ExitCode::from(COULD_NOT)),
                false => Ok(failure_if(!changes.is_empty())),
            }
        }
        SchemasCommand::Check {
            registry,
            retained,
            json,
        } => {
            if retained.is_wanted() {
                return retained.check(&registry, json, names).await;
            }
            let problems =
                during(ASKING_REGISTRY, schemas::check(&registry.config(), &names)).await?;
            if json {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                print::json(&json!({ "problems": problems }))?;
                return Ok(failure_if(!problems.is_empty()));
            }
            for problem in &problems {
                print::line(&problem.to_string());
            }
            if problems.is_empty() {
                print::line("all schemas are registered");
            } else {
                telling::line(&format!(
                    "{} subjects are not as they should be; run `checkoutctl schemas apply`",
                    problems.len()
                ));
            }
            Ok(failure_if(!problems.is_empty()))
        }
    }
}

fn failure_if(failed: bool) -> ExitCode {
    if failed {
        ExitCode::from(FOUND)
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The commands that do something and have no `--json`.
    fn without_json(command: &clap::Command, words: &str, found: &mut Vec<String>) {
        let mut below = command.get_subcommands().peekable();
        let mut arguments = command.get_arguments();
        if below.peek().is_none() && !arguments.any(|arg| arg.get_long() == Some("json")) {
            found.push(words.to_owned());
        }
        for command in below {
            without_json(command, &format!("{words} {}", command.get_name()), found);
        }
    }

    #[test]
    fn every_result_can_be_had_as_json_but_what_is_for_a_shell_or_a_reader_of_manuals() {
        let mut found = Vec::new();
        without_json(&Args::command(), "checkoutctl", &mut found);
        assert_eq!(found, ["checkoutctl completions", "checkoutctl man"]);
    }
}
