//! `checkoutctl explain`.

use std::process::ExitCode;
use std::time::Duration;

use contracts::TopicNames;
use contracts::ids::CartId;
use operations::Explanation;
use operations::args::TargetArgs;
use operations::explain::Limits;

use crate::print;
use crate::telling::during;

#[derive(clap::Args, Debug)]
pub(crate) struct ExplainArgs {
    /// The cart's id.
    #[arg(value_name = "CART")]
    cart: CartId,

    #[command(flatten)]
    target: TargetArgs,

    /// How many records one search for a record may read of a partition; raise it
    /// where very many carts are checked out at the same time. Without the
    /// orchestrator's database these are the newest ones.
    #[arg(
        long,
        env = "EXPLAIN_SEARCH_RECORDS",
        value_name = "N",
        default_value_t = 2_000,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000)
    )]
    search_records: u64,

    /// How many transitions of the history are shown, the newest.
    #[arg(
        long,
        env = "EXPLAIN_TRANSITIONS",
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    transitions: u32,

    /// How long Kafka, a database or the registry may be silent, in seconds.
    #[arg(
        long,
        env = "EXPLAIN_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=600)
    )]
    timeout_seconds: u64,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Explains and prints.
pub(crate) async fn explain(args: &ExplainArgs, names: TopicNames) -> anyhow::Result<ExitCode> {
    let limits = Limits {
        timeout: Duration::from_secs(args.timeout_seconds),
        search_records: args.search_records,
        transitions: args.transitions,
    };
    let target = args.target.target(names, args.timeout_seconds);
    let explanation = operations::explain(&target, args.cart, limits);
    let explanation = during("reading databases and topics", explanation).await?;
    match args.json {
        true => print::json(&explanation)?,
        false => print::text(&explanation.text()),
    }
    Ok(ExitCode::from(status(&explanation)))
}

/// The exit status. A saga that a newer version wrote is not told of in full.
fn status(explanation: &Explanation) -> u8 {
    if !explanation.orchestrator_answered {
        return crate::COULD_NOT;
    }
    match explanation.saga.is_some() && explanation.all_answered {
        true => 0,
        false => crate::FOUND,
    }
}
