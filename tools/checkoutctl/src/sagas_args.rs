//! `checkoutctl sagas`: look at many, and act on one or many.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{bail, ensure};
use audit::Target;
use contracts::TopicNames;
use contracts::ids::CartId;
use contracts::messages::{FailureReason, OperationAction, SagaState};
use flow::Step;
use operations::args::TargetArgs;
use operations::operate::{self, Operated, Wish};
use operations::parse;
use operations::sagas::{self, Filter, Listed};
use serde::Serialize;

use crate::print;
use crate::sagas_watch::{WatchArgs, watch};
use crate::telling::{self, Steps, during};

/// What a person reads while the database is asked.
const READING: &str = "reading sagas";

#[derive(clap::Subcommand, Debug)]
pub(crate) enum SagasCommand {
    /// List sagas: those that have not ended, or those that the filters name.
    #[command(after_help = "Examples:
  checkoutctl sagas list --state stuck
  checkoutctl sagas list --older-than 10m --step AUTHORIZE_PAYMENT --json
  checkoutctl sagas list --failure OUT_OF_STOCK --ended --limit 20")]
    List(Box<ListArgs>),
    /// The same again and again, until interrupted.
    ///
    /// A look that fails is told, and the next one comes later. Exit status 1: a look
    /// failed; 2: the first look failed because of what was given.
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
pub(crate) struct Common {
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
    pub(crate) json: bool,
}

impl Common {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds)
    }

    pub(crate) fn target(&self, names: TopicNames) -> Target {
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
    pub(crate) common: Common,
}

#[derive(clap::Args, Debug)]
pub(crate) struct OperateArgs {
    /// The carts; with filters, those of them that are like that. Without any, all that
    /// the filters name.
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
    /// One look.
    pub(crate) async fn page(&self, target: &Target) -> operations::Result<sagas::Page> {
        let filter = Filter {
            ended: self.ended,
            ..self.filter.filter()
        };
        let timeout = self.common.timeout();
        let page = sagas::list(target, &filter, self.after, self.limit, timeout);
        during(READING, page).await
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
    let chosen = args.chosen(&target).await?;
    for cart in &chosen.missing {
        telling::line(&format!(
            "no checkout of cart {cart} is known; `checkoutctl explain {cart}` tells more"
        ));
    }
    for LeftOut { cart_id, why } in &chosen.left_out {
        telling::line(&format!(
            "cart {cart_id} is not like the filters, and is left out: {why}"
        ));
    }
    let wish = Wish {
        action,
        operator: args.operator.clone(),
        reason: args.reason.clone(),
        step: args.filter.step,
        evidence: args.evidence.clone(),
    };
    let operated = match args.dry_run {
        true => wish.rehearse(&chosen.sagas),
        false => {
            let steps = Steps::new("connecting");
            let tell = |step: &str| steps.tell(step);
            let wait = Duration::from_secs(args.wait_seconds);
            let acting = wish.carry_out(&target, &chosen.sagas, wait, &tell);
            steps.during(acting).await?
        }
    };
    match args.common.json {
        true => print::json(&serde_json::json!({
            "sagas": operated,
            "unknown": chosen.missing,
            "leftOut": chosen.left_out,
        }))?,
        false => print::text(&operate::text(&operated)),
    }
    let all_meant = chosen.missing.is_empty() && chosen.left_out.is_empty();
    let all_done = all_meant && operated.iter().all(Operated::is_done);
    Ok(crate::failure_if(!all_done))
}

/// What is acted on, and what is not of that which was named.
struct Chosen {
    sagas: Vec<Listed>,
    /// Carts that have no saga.
    missing: Vec<CartId>,
    left_out: Vec<LeftOut>,
}

/// A cart that was named and is not like the filters.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LeftOut {
    cart_id: CartId,
    why: String,
}

impl OperateArgs {
    async fn chosen(&self, target: &Target) -> anyhow::Result<Chosen> {
        let timeout = self.common.timeout();
        let filter = self.filter.filter();
        if !self.carts.is_empty() {
            ensure!(
                self.carts.len() <= self.at_most as usize,
                "these are {} carts, and --at-most is {}",
                self.carts.len(),
                self.at_most
            );
            let found = operate::of_carts(target, &self.carts, timeout);
            let (found, missing) = during(READING, found).await?;
            let (mut sagas, mut left_out) = (Vec::new(), Vec::new());
            for saga in found {
                match filter.leaves_out(&saga) {
                    None => sagas.push(saga),
                    Some(why) => left_out.push(LeftOut {
                        cart_id: saga.cart_id,
                        why,
                    }),
                }
            }
            return Ok(Chosen {
                sagas,
                missing,
                left_out,
            });
        }
        if filter.is_empty() {
            bail!("name carts, or give a filter such as --state stuck");
        }
        let page = sagas::list(target, &filter, None, self.at_most, timeout);
        let page = during(READING, page).await?;
        ensure!(
            page.after.is_none(),
            "more than {} sagas are like that: give a narrower filter, or raise --at-most",
            self.at_most
        );
        Ok(Chosen {
            sagas: page.sagas,
            missing: Vec::new(),
            left_out: Vec::new(),
        })
    }
}
