//! `checkoutctl dlq`: dead letters.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::process::ExitCode;

use anyhow::{bail, ensure};
use audit::Target;
use contracts::{Topic, TopicNames};
use jiff::Timestamp;
use operations::args::TargetArgs;
use operations::letters::{self, Filter, LetterId, Letters, Most, Redriven};
use operations::parse;

use crate::audit_args::since;
use crate::print;
use crate::telling::{self, Steps, during};

/// What is told first of all that changes something.
const CHECKING: &str = "finding out whether the letters can be marked as handled";

#[derive(clap::Subcommand, Debug)]
pub(crate) enum DlqCommand {
    /// Count open dead letters by topic and reason, or list each of them.
    ///
    /// A letter whose schema the registry does not give is listed undecoded, and the
    /// reason is told.
    #[command(after_help = "Examples:
  checkoutctl dlq list
  checkoutctl dlq list --code UNKNOWN_SCHEMA_ID --letters
  checkoutctl dlq list --topic shopping.checkouts --since 2h --json")]
    List(Box<ListArgs>),
    /// Show letters: content, headers, why they were put aside.
    #[command(after_help = "Example:
  checkoutctl dlq show shopping.checkouts.dlq:2:17")]
    Show(Box<ShowArgs>),
    /// Publish letters again on the topic they were put aside from, as they were.
    ///
    /// Before the first one it is made sure that all can be marked as handled: of one
    /// partition some hundreds with open letters in between, any number side by side.
    /// Where Kafka is lost on the way, the list tells what was published and marked, what
    /// was published and is still open, and what was not tried. Exit status 1: not every
    /// letter was redriven.
    #[command(after_help = "Examples:
  checkoutctl dlq redrive shopping.checkouts.dlq:2:17 --reason 'schema registered' --dry-run
  checkoutctl dlq redrive --code UNKNOWN_SCHEMA_ID --rate 20 --reason 'registry restored'")]
    Redrive(Box<RedriveArgs>),
    /// Count letters as handled, without publishing them.
    ///
    /// They stay in their topic until its retention is over, and `list --handled` has
    /// them. Who discarded them, and why, is kept in the metadata of the group's
    /// committed offsets, as far as there is room, and told by `show`. Of one partition
    /// some hundreds can be discarded with open letters in between, any number side by
    /// side. Exit status 1: those of some topics were not discarded; the reason is told.
    #[command(after_help = "Examples:
  checkoutctl dlq discard --code NOT_FRAMED --since 2h --reason 'a test of the shop' --dry-run
  checkoutctl dlq discard shopping.checkouts.dlq:2:17 --reason 'ticket 4711'")]
    Discard(Box<DiscardArgs>),
}

#[derive(clap::Args, Debug)]
struct Common {
    #[command(flatten)]
    target: TargetArgs,

    /// Most letters of one look.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    limit: u32,

    /// What they may hold together, in bytes; all of it is in memory.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 1_000_000_000,
        value_parser = clap::value_parser!(u64).range(1_000_000..)
    )]
    limit_bytes: u64,

    /// How long Kafka or the registry may be silent, in seconds.
    #[arg(
        long,
        env = "OPERATIONS_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(1..=600)
    )]
    timeout_seconds: u64,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Filters")]
struct FilterArgs {
    /// Only those put aside from this topic, named without prefix; may be given
    /// several times.
    #[arg(long, value_name = "TOPIC", value_parser = parse::topic)]
    topic: Vec<Topic>,

    /// Only those put aside for this reason, such as NOT_FRAMED.
    #[arg(long, value_name = "CODE", value_parser = parse::code)]
    code: Option<String>,

    /// Only those put aside since then: a time, or how long ago, such as 90m.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
}

impl FilterArgs {
    fn filter(&self, letters: &[LetterId], handled: bool) -> Filter {
        Filter {
            topics: self.topic.clone(),
            code: self.code.clone(),
            since: self.since,
            letters: letters.to_vec(),
            handled,
        }
    }

    fn is_empty(&self) -> bool {
        self.filter(&[], false) == Filter::default()
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Those that were redriven or discarded, too.
    #[arg(long)]
    handled: bool,

    /// A line for each letter, which begins with its place; --json has them anyway.
    #[arg(long)]
    letters: bool,

    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ShowArgs {
    /// The letters.
    #[arg(required = true, value_name = "TOPIC:PARTITION:OFFSET")]
    letters: Vec<LetterId>,

    #[command(flatten)]
    common: Common,
}

/// Which letters, and whether it is meant.
#[derive(clap::Args, Debug)]
struct ChoiceArgs {
    /// The letters. Without any, all open ones that the filters name.
    #[arg(value_name = "TOPIC:PARTITION:OFFSET")]
    letters: Vec<LetterId>,

    #[command(flatten)]
    filter: FilterArgs,

    /// All open letters.
    #[arg(long, conflicts_with = "letters")]
    all: bool,

    /// Tell what would happen, and change nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Debug)]
pub(crate) struct RedriveArgs {
    #[command(flatten)]
    choice: ChoiceArgs,

    /// Why; goes into a header of each record.
    #[arg(long, value_name = "TEXT", value_parser = parse::words)]
    reason: String,

    /// Who asks; goes into a header of each record.
    #[arg(long, env = "USER", value_name = "NAME", value_parser = parse::words)]
    operator: String,

    /// Most records a second.
    #[arg(
        long,
        value_name = "N",
        default_value = "50",
        value_parser = clap::value_parser!(NonZeroU32)
    )]
    rate: NonZeroU32,
}

#[derive(clap::Args, Debug)]
pub(crate) struct DiscardArgs {
    #[command(flatten)]
    choice: ChoiceArgs,

    /// Why; kept with the mark that it was handled.
    #[arg(long, value_name = "TEXT", value_parser = parse::words)]
    reason: String,

    /// Who asks; kept with the mark that it was handled.
    #[arg(long, env = "USER", value_name = "NAME", value_parser = parse::words)]
    operator: String,
}

impl Common {
    fn target(&self, names: TopicNames) -> Target {
        self.target.target(names, self.timeout_seconds)
    }

    async fn read(&self, target: &Target, filter: &Filter) -> anyhow::Result<Letters> {
        let steps = Steps::new("reading dead letters");
        let tell = |step: &str| steps.tell(step);
        let most = Most {
            letters: self.limit as usize,
            bytes: usize::try_from(self.limit_bytes).unwrap_or(usize::MAX),
        };
        let read = letters::read(target, filter, most, &tell);
        Ok(steps.during(read).await?)
    }
}

impl ChoiceArgs {
    async fn chosen(&self, target: &Target) -> anyhow::Result<Letters> {
        if self.letters.is_empty() && self.filter.is_empty() && !self.all {
            bail!("name letters, give a filter such as --code, or say --all");
        }
        // A letter that is named is meant, whether it was handled or not.
        let filter = self.filter.filter(&self.letters, !self.letters.is_empty());
        let letters = self.common.read(target, &filter).await?;
        ensure!(
            !letters.more,
            "more letters are like that than are handled at once, {} letters and {} bytes: give \
             a narrower filter, or raise --limit or --limit-bytes",
            self.common.limit,
            self.common.limit_bytes
        );
        letters.all_there(&self.letters)?;
        Ok(letters)
    }
}

/// Looks or acts.
pub(crate) async fn run(command: &DlqCommand, names: TopicNames) -> anyhow::Result<ExitCode> {
    match command {
        DlqCommand::List(args) => {
            let filter = args.filter.filter(&[], args.handled);
            let letters = args
                .common
                .read(&args.common.target(names), &filter)
                .await?;
            match (args.common.json, args.letters) {
                (true, _) => print::json(&serde_json::json!({
                    "groups": letters.groups(),
                    "letters": letters.letters,
                    "more": letters.more,
                    "registryFault": letters.registry_fault,
                }))?,
                (false, true) => print::text(&letters.lines()),
                (false, false) => print::text(&letters.text()),
            }
            Ok(crate::failure_if(letters.may_be_open()))
        }
        DlqCommand::Show(args) => {
            let filter = Filter {
                letters: args.letters.clone(),
                handled: true,
                ..Filter::default()
            };
            let letters = args
                .common
                .read(&args.common.target(names), &filter)
                .await?;
            letters.all_there(&args.letters)?;
            match args.common.json {
                true => {
                    print::json(&letters.letters)?;
                    telling::text(&letters.registry_line());
                }
                false => {
                    for letter in &letters.letters {
                        print::text(&letter.text());
                    }
                    print::text(&letters.registry_line());
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        DlqCommand::Redrive(args) => redrive(args, names).await,
        DlqCommand::Discard(args) => discard(args, names).await,
    }
}

async fn redrive(args: &RedriveArgs, names: TopicNames) -> anyhow::Result<ExitCode> {
    let choice = &args.choice;
    let target = choice.common.target(names);
    let letters = choice.chosen(&target).await?;
    let redriven = match choice.dry_run {
        true => {
            let rehearsed = letters::rehearse(&target, &letters);
            during(CHECKING, rehearsed).await?
        }
        false => {
            let steps = Steps::new(CHECKING);
            let tell = |step: &str| steps.tell(step);
            let (operator, reason) = (&args.operator, &args.reason);
            let redriven = letters::redrive(&target, &letters, args.rate, operator, reason, &tell);
            steps.during(redriven).await?
        }
    };
    let failed = redriven.iter().filter(|one| one.error.is_some()).count();
    match choice.common.json {
        true => print::json(&serde_json::json!({
            "dryRun": choice.dry_run,
            "letters": redriven,
            "failed": failed,
            "registryFault": letters.registry_fault,
        }))?,
        false => {
            print::text(&Redriven::text(&redriven));
            print::text(&letters.registry_line());
            print::text(&format!("{} letters, {failed} failed\n", redriven.len()));
        }
    }
    Ok(crate::failure_if(failed > 0))
}

async fn discard(args: &DiscardArgs, names: TopicNames) -> anyhow::Result<ExitCode> {
    let choice = &args.choice;
    let target = choice.common.target(names);
    let mut letters = choice.chosen(&target).await?;
    let (what, done) = match choice.dry_run {
        true => (CHECKING, "would be discarded"),
        false => ("marking letters as handled", "discarded"),
    };
    let (operator, reason) = (&args.operator, &args.reason);
    let discarded = letters::discard(&target, &letters, operator, reason, choice.dry_run);
    let errors = during(what, discarded).await?;
    let chosen = letters.letters.len();
    letters
        .letters
        .retain(|letter| !errors.contains_key(&letter.topic));
    let number = letters.letters.len();
    let failed = chosen - number;
    match choice.common.json {
        true => {
            let errors: BTreeMap<&str, &String> = errors
                .iter()
                .map(|(topic, why)| (topic.name(), why))
                .collect();
            print::json(&serde_json::json!({
                "dryRun": choice.dry_run,
                "letters": letters.letters.iter().map(|letter| &letter.letter).collect::<Vec<_>>(),
                "failed": failed,
                "errors": errors,
                "registryFault": letters.registry_fault,
            }))?;
        }
        false => {
            print::text(&letters.text());
            for (topic, why) in &errors {
                let line = format!("letters of {topic}.dlq are not discarded: {why}; do it again");
                print::line(&line);
            }
            print::line(&format!("{number} letters {done}, {failed} failed"));
        }
    }
    Ok(crate::failure_if(failed > 0))
}
