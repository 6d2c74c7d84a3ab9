//! `checkoutctl sagas`: look at many, and act on one or many.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use audit::Target;
use contracts::TopicNames;
use contracts::ids::CartId;
use contracts::messages::{FailureReason, OperationAction, SagaState};
use flow::Step;
use operations::args::TargetArgs;
use operations::operate::{self, Operated, Wish};
use operations::parse;
use operations::sagas::{self, Filter, Listed};
use tokio::time::{Instant, sleep};

use crate::print;
use crate::telling::{Telling, during};

#[derive(clap::Subcommand, Debug)]
pub(crate) enum SagasCommand {
    /// List sagas: those that have not ended, or those that the filters name.
    #[command(after_help = "Examples:
  checkoutctl sagas list --state stuck
  checkoutctl sagas list --older-than 10m --step AUTHORIZE_PAYMENT --json
  checkoutctl sagas list --failure OUT_OF_STOCK --ended --limit 20")]
    List(Box<ListArgs>),
    /// The same again and again, until interrupted.
    #[command(after_help = "Example:
  checkoutctl sagas watch --state stuck --state in_doubt --every-seconds 5")]
    Watch(Box<WatchArgs>),
    /// Send the pending command again at once.
    #[command(after_help = "Examples:
  checkoutctl sagas retry CART --reason 'payment is back'
  checkoutctl sagas retry --state stuck --step AUTHORIZE_PAYMENT --dry-run --reason 'payment is back'")]
    Retry(Box<OperateArgs>),
    /// Stop going forward and undo what was done.
    #[command(after_help = "Example:
  checkoutctl sagas compensate CART --reason 'the customer called'")]
    Compensate(Box<OperateArgs>),
    /// Take a step for undone, on the strength of evidence that nothing is held.
    #[command(after_help = "Example:
  checkoutctl sagas resolve CART --step AUTHORIZE_PAYMENT \\
      --evidence 'the gateway shows no hold' --reason 'payment lost its database'")]
    Resolve(Box<OperateArgs>),
    /// End sagas without undoing the rest; what is held is left to people.
    #[command(after_help = "Example:
  checkoutctl sagas abandon CART --reason 'settled by hand, ticket 4711'")]
    Abandon(Box<OperateArgs>),
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Filters")]
struct FilterArgs {
    /// Only in this state; may be given several times.
    #[arg(long, value_name = "STATE", value_parser = parse::state)]
    state: Vec<SagaState>,

    /// Only at this step.
    #[arg(long, value_name = "STEP")]
    step: Option<Step>,

    /// Only those begun longer ago than this, such as 90s, 10m or 2d.
    #[arg(long, value_name = "AGE", value_parser = parse::age)]
    older_than: Option<Duration>,

    /// Only those that fail or failed for this reason, such as OUT_OF_STOCK.
    #[arg(long, value_name = "REASON", value_parser = parse::failure)]
    failure: Option<FailureReason>,
}

impl FilterArgs {
    fn filter(&self) -> Filter {
        Filter {
            states: self.state.clone(),
            step: self.step,
            older_than: self.older_than,
            failure: self.failure,
            ..Filter::default()
        }
    }
}

#[derive(clap::Args, Debug)]
struct Common {
    #[command(flatten)]
    target: TargetArgs,

    /// How long Kafka, a database or the registry may be silent, in seconds.
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

impl Common {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    fn target(&self, names: TopicNames) -> Target {
        self.target.target(names, self.timeout_seconds)
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Those that have ended, too.
    #[arg(long)]
    ended: bool,

    /// Begin after this cart: where the page before ended.
    #[arg(long, value_name = "CART")]
    after: Option<CartId>,

    /// Most sagas on a page.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    limit: u32,

    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Debug)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    list: ListArgs,

    /// Pause between two looks, in seconds.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 2,
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    every_seconds: u64,

    /// End after so many looks. Default: never.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    looks: Option<u64>,
}

#[derive(clap::Args, Debug)]
pub(crate) struct OperateArgs {
    /// The carts. Without any, all that the filters name.
    #[arg(value_name = "CART")]
    carts: Vec<CartId>,

    #[command(flatten)]
    filter: FilterArgs,

    /// Why; kept in the saga's history.
    #[arg(long, value_name = "TEXT", value_parser = parse::words)]
    reason: String,

    /// Who asks; kept in the saga's history.
    #[arg(long, env = "USER", value_name = "NAME", value_parser = parse::words)]
    operator: String,

    /// What proves that the step holds nothing; `resolve` needs it, and --step.
    #[arg(long, value_name = "TEXT", value_parser = parse::words)]
    evidence: Option<String>,

    /// Tell what would happen, and publish nothing.
    #[arg(long)]
    dry_run: bool,

    /// Refuse to act on more sagas than this.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    at_most: u32,

    /// How long to wait for the sagas' answers, in seconds.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(0..=3_600)
    )]
    wait_seconds: u64,

    #[command(flatten)]
    common: Common,
}

/// Looks or acts.
pub(crate) async fn run(command: &SagasCommand, names: TopicNames) -> anyhow::Result<ExitCode> {
    match command {
        SagasCommand::List(args) => list(args, names).await,
        SagasCommand::Watch(args) => watch(args, names).await,
        SagasCommand::Retry(args) => act(args, OperationAction::Retry, names).await,
        SagasCommand::Compensate(args) => act(args, OperationAction::Compensate, names).await,
        SagasCommand::Resolve(args) => act(args, OperationAction::Resolve, names).await,
        SagasCommand::Abandon(args) => act(args, OperationAction::Abandon, names).await,
    }
}

async fn list(args: &ListArgs, names: TopicNames) -> anyhow::Result<ExitCode> {
    let page = args.page(&args.common.target(names)).await?;
    match args.common.json {
        true => print::json(&page)?,
        false => print::text(&page.text()),
    }
    Ok(ExitCode::SUCCESS)
}

impl ListArgs {
    async fn page(&self, target: &Target) -> anyhow::Result<sagas::Page> {
        let filter = Filter {
            ended: self.ended,
            ..self.filter.filter()
        };
        let timeout = self.common.timeout();
        let page = sagas::list(target, &filter, self.after, self.limit, timeout);
        Ok(during("reading sagas", page).await?)
    }
}

async fn watch(args: &WatchArgs, names: TopicNames) -> anyhow::Result<ExitCode> {
    let target = args.list.common.target(names);
    let mut looks = 0;
    loop {
        let begin = Instant::now();
        let page = args.list.page(&target).await?;
        match args.list.common.json {
            true => print::json(&page)?,
            false => print::page(&format!("{}\n{}", jiff::Timestamp::now(), page.text())),
        }
        looks += 1;
        if args.looks.is_some_and(|most| looks >= most) {
            return Ok(ExitCode::SUCCESS);
        }
        let every = Duration::from_secs(args.every_seconds);
        sleep(every.saturating_sub(begin.elapsed())).await;
    }
}

async fn act(
    args: &OperateArgs,
    action: OperationAction,
    names: TopicNames,
) -> anyhow::Result<ExitCode> {
    if action == OperationAction::Resolve {
        ensure!(
            args.filter.step.is_some() && args.evidence.is_some(),
            "`resolve` takes a step for undone: name it with --step, and say with --evidence \
             what proves that it holds nothing"
        );
    }
    let target = args.common.target(names);
    let (sagas, missing) = args.chosen(&target).await?;
    for cart in &missing {
        eprintln!("no checkout of cart {cart} is known; `checkoutctl explain {cart}` tells more");
    }
    let wish = Wish {
        action,
        operator: args.operator.clone(),
        reason: args.reason.clone(),
        step: args.filter.step,
        evidence: args.evidence.clone(),
    };
    let operated = match args.dry_run {
        true => wish.rehearse(&sagas),
        false => {
            let telling = Telling::new();
            let wait = Duration::from_secs(args.wait_seconds);
            let done = wish
                .carry_out(&target, &sagas, wait, &|text| telling.tell(text))
                .await;
            telling.clear();
            done.context("not all was done; `checkoutctl sagas list` shows how far")?
        }
    };
    match args.common.json {
        true => print::json(&serde_json::json!({ "sagas": operated, "unknown": missing }))?,
        false => print::text(&operate::text(&operated)),
    }
    let all_done = missing.is_empty() && operated.iter().all(Operated::is_done);
    Ok(crate::failure_if(!all_done))
}

impl OperateArgs {
    /// The sagas that are meant, and the carts that have none.
    async fn chosen(&self, target: &Target) -> anyhow::Result<(Vec<Listed>, Vec<CartId>)> {
        let timeout = self.common.timeout();
        if !self.carts.is_empty() {
            ensure!(
                self.carts.len() <= self.at_most as usize,
                "these are {} carts, and --at-most is {}",
                self.carts.len(),
                self.at_most
            );
            let sagas = operate::of_carts(target, &self.carts, timeout);
            return Ok(during("reading sagas", sagas).await?);
        }
        let filter = self.filter.filter();
        if filter.is_empty() {
            bail!("name carts, or give a filter such as --state stuck");
        }
        let page = sagas::list(target, &filter, None, self.at_most, timeout);
        let page = during("reading sagas", page).await?;
        ensure!(
            page.after.is_none(),
            "more than {} sagas are like that: give a narrower filter, or raise --at-most",
            self.at_most
        );
        Ok((page.sagas, Vec::new()))
    }
}
