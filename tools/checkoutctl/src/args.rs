//! The command line.

use std::time::Duration;

use checkoutctl::{stock::Stock, topics};
use clap::{Parser, Subcommand};
use operations::args::{KafkaArgs, NamesArgs, RegistryArgs};

use crate::audit_args::AuditArgs;
use crate::checkout_args::CheckoutCommand;
use crate::dlq_args::DlqCommand;
use crate::explain_args::ExplainArgs;
use crate::flow_args::FlowCommand;
use crate::retained_args::RetainedArgs;
use crate::sagas_args::SagasCommand;
use crate::upgrade_args::UpgradeCommand;

/// What the end of every command says to scripts.
pub(crate) const EXIT_STATUS: &str = "Exit status:
  0  done, and all is as it should be
  1  done, but something is not as it should be, or a part could not be done
  2  could not be done, or the command line is wrong";

/// Operates the checkout: explains carts, prepares Kafka and the schema registry,
/// seeds stock and audits.
///
/// What applies something can be repeated: what is as it should be is left alone. What
/// acts on sagas or dead letters tells with --dry-run what it would do.
#[derive(Parser, Debug)]
#[command(
    version,
    after_help = format!("{EXIT_STATUS}

Examples:
  checkoutctl explain 6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e
  checkoutctl sagas retry --state stuck --reason 'payment is back' --dry-run
  checkoutctl dlq list
  checkoutctl topics apply --kafka-bootstrap-servers localhost:9092
  checkoutctl schemas apply --schema-registry-url http://localhost:8081
  checkoutctl stock set TEA-1=40 CUP-2=12
  checkoutctl audit --json

Addresses can also be given by the environment, as --help of each command shows.")
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) names: NamesArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Everything about one cart, and what happens next or can be done.
    ///
    /// The state of its saga, every record in causal order with its place, content and
    /// trace, its rows, and how far those are who have something to read. Reads only
    /// what is near the places that the history names. Exit status 1: no checkout of
    /// the cart is known, or a part is missing: Kafka, the registry or another database
    /// did not answer, or a newer version wrote the saga; 2: the orchestrator's database
    /// did not answer, and what the rest has of the cart is told.
    #[command(after_help = "Example:
  set -a; . .stack/stack.env; set +a; checkoutctl explain 6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e")]
    Explain(Box<ExplainArgs>),
    /// Sagas: lists of them, and what operators do to them.
    ///
    /// Acting publishes a SagaOperation for each saga, and waits until its history
    /// shows what came of it. Exit status 1: something was refused, or has not been
    /// answered yet.
    #[command(subcommand)]
    Sagas(SagasCommand),
    /// Dead letters: records that a service could not handle.
    ///
    /// A letter is open until it is redriven or discarded. Kafka keeps which ones were,
    /// as the committed offsets of the group `checkout-dead-letters`, for
    /// `offsets.retention.minutes` after the last change. `list` ends with exit status
    /// 1 while there are open ones.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Checkouts, begun as the cart service begins them.
    #[command(subcommand)]
    Checkout(CheckoutCommand),
    /// The topics of topics.yaml.
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// The schemas of schemas/.
    #[command(subcommand)]
    Schemas(SchemasCommand),
    /// The stock on hand.
    #[command(subcommand)]
    Stock(StockCommand),
    /// The steps of the saga.
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Before a new version is deployed.
    #[command(subcommand)]
    Upgrade(UpgradeCommand),
    /// Print a script that completes these commands in a shell.
    #[command(after_help = "Example:
  checkoutctl completions bash > /etc/bash_completion.d/checkoutctl")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command.
    #[command(after_help = "Examples:
  checkoutctl man | man -l -
  checkoutctl man --folder /usr/local/share/man/man1")]
    Man {
        /// Write a page for each command into this folder.
        #[arg(long, value_name = "FOLDER")]
        folder: Option<std::path::PathBuf>,
    },
    /// Does everything add up? Compares topics and databases; changes nothing.
    ///
    /// Exit status 0: it does; 1: there are violations; 2: it could not be found
    /// out. Can be used while the system works.
    #[command(after_help = "Examples:
  set -a; . .stack/stack.env; set +a; checkoutctl audit
  checkoutctl audit --since 24h --grace-seconds 300 --json")]
    Audit(Box<AuditArgs>),
}

#[derive(Subcommand, Debug)]
pub(crate) enum TopicsCommand {
    /// Create the topics that are missing, and report those that differ.
    ///
    /// Existing topics are never changed: more partitions move keys, and shorter
    /// retention deletes records.
    #[command(after_help = "Example:
  checkoutctl topics apply --kafka-bootstrap-servers kafka-1:9092 --partitions 12 --replication-factor 3")]
    Apply {
        #[command(flatten)]
        kafka: KafkaArgs,
        #[command(flatten)]
        options: TopicOptions,
        /// End with exit status 1 when a topic differs from topics.yaml.
        #[arg(long)]
        fail_on_drift: bool,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell what `apply` would create, and what differs; changes nothing.
    ///
    /// Exit status 1: something is missing or differs.
    #[command(after_help = "Example:
  checkoutctl topics plan --partitions 12 --replication-factor 3")]
    Plan(TopicsPlanArgs),
    /// Tell how existing topics differ from topics.yaml; changes nothing.
    ///
    /// Exit status 1: something differs, or a topic is missing.
    #[command(after_help = "Example:
  checkoutctl topics drift --json")]
    Drift(TopicsPlanArgs),
}

#[derive(clap::Args, Debug)]
pub(crate) struct TopicsPlanArgs {
    #[command(flatten)]
    pub(crate) kafka: KafkaArgs,
    #[command(flatten)]
    pub(crate) options: TopicOptions,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum SchemasCommand {
    /// Register every schema and set its subject's compatibility to FULL_TRANSITIVE.
    ///
    /// The rule is set first, so that it judges the schema.
    #[command(after_help = "Example:
  checkoutctl schemas apply --schema-registry-url http://localhost:8081")]
    Apply {
        #[command(flatten)]
        registry: RegistryArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell what `apply` would register, and what the registry would refuse; changes
    /// nothing.
    ///
    /// A schema that only a weaker rule allows so far is told: the registry judges by
    /// FULL_TRANSITIVE once `apply` has set it. Exit status 1: there is something to do;
    /// 2: the registry would refuse a schema.
    #[command(after_help = "Example:
  checkoutctl schemas plan --schema-registry-url http://localhost:8081")]
    Plan {
        #[command(flatten)]
        registry: RegistryArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Tell which subjects are missing or differ; exit status 1 if any does.
    #[command(after_help = "Examples:
  checkoutctl schemas check --schema-registry-url http://localhost:8081
  checkoutctl schemas check --retained --json")]
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
        // Before the others: an argument goes under the heading of what precedes it.
        #[command(flatten)]
        retained: RetainedArgs,
        #[command(flatten)]
        registry: RegistryArgs,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum StockCommand {
    /// Set the stock on hand of products, whatever it was before.
    ///
    /// Publishes one SetStock for each and returns when Kafka has them; the
    /// inventory service acts on them in its own time.
    #[command(after_help = "Example:
  checkoutctl stock set TEA-1=40 CUP-2=12")]
    Set {
        #[command(flatten)]
        kafka: KafkaArgs,
        #[command(flatten)]
        registry: RegistryArgs,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Product and number of pieces.
        #[arg(required = true, value_name = "SKU=NUMBER")]
        stock: Vec<Stock>,
    },
}

#[derive(clap::Args, Debug)]
pub(crate) struct TopicOptions {
    /// Partitions of every topic, instead of those in topics.yaml.
    #[arg(long, env = "TOPIC_PARTITIONS", value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    /// Replicas of every partition, instead of those in topics.yaml.
    #[arg(long, env = "TOPIC_REPLICATION_FACTOR", value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    replication_factor: Option<i32>,

    /// Time limit of the whole work, in seconds.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    timeout_seconds: u64,
}

impl TopicOptions {
    pub(crate) fn options(&self) -> topics::Options {
        topics::Options {
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            timeout: Duration::from_secs(self.timeout_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_prefix_may_stand_anywhere_and_is_checked() {
        for line in [
            "checkoutctl --topic-prefix eu. schemas check",
            "checkoutctl schemas check --topic-prefix eu.",
        ] {
            let args = Args::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(args.names.names().prefix(), "eu.");
        }
        let bad = "checkoutctl --topic-prefix e/u schemas check".split(' ');
        assert!(Args::try_parse_from(bad).is_err());
    }

    #[test]
    fn where_kafka_is_matters_only_to_retained_records() {
        let parse = |line: &str| Args::try_parse_from(line.split(' '));
        let check = "checkoutctl schemas check";
        for flag in ["--timeout-seconds 5", "--kafka-bootstrap-servers k:9092"] {
            parse(&format!("{check} --retained {flag}")).unwrap();
            let error = parse(&format!("{check} {flag}")).unwrap_err().to_string();
            assert!(error.contains("is for --retained"), "{error}");
        }
        let property = format!("{check} --kafka-property a=b");
        let error = parse(&property).unwrap_err().to_string();
        assert!(error.contains("--kafka-property is"), "{error}");
        let help = parse(&format!("{check} --help")).unwrap_err().to_string();
        assert!(help.contains("With --retained:"), "{help}");
        assert!(!help.contains("\nKafka:"), "{help}");
    }
}
