//! `checkoutctl upgrade preflight`.

use std::process::ExitCode;
use std::time::Duration;

use contracts::TopicNames;
use operations::args::TargetArgs;
use operations::preflight;

use crate::print;
use crate::telling::Steps;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum UpgradeCommand {
    /// Try this version on every saga in flight, in memory, before it is deployed.
    ///
    /// Its timer, each answer that it waits for, the end of its reservation, another
    /// request for its cart and each input of an operator are tried on each of them. To be
    /// run with the checkoutctl of the new version. Exit status 1: there are
    /// sagas that it would not understand, and they are named.
    #[command(after_help = "Example:
  checkoutctl upgrade preflight && deploy")]
    Preflight(Box<PreflightArgs>),
}

#[derive(clap::Args, Debug)]
pub(crate) struct PreflightArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// Limit of the statement that reads all sagas in flight, in seconds.
    #[arg(
        long,
        env = "PREFLIGHT_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    timeout_seconds: u64,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Tries this version.
pub(crate) async fn run(command: &UpgradeCommand, names: TopicNames) -> anyhow::Result<ExitCode> {
    let UpgradeCommand::Preflight(args) = command;
    let target = args.target.target(names, args.timeout_seconds.min(60));
    let steps = Steps::new("connecting");
    let tell = |step: &str| steps.tell(step);
    let timeout = Duration::from_secs(args.timeout_seconds);
    let trying = preflight::run(&target, timeout, &tell);
    let found = steps.during(trying).await?;
    match args.json {
        true => print::json(&found)?,
        false => {
            for cart in &found.carts {
                print::text(&format!("cart {}: {}\n", cart.cart_id, cart.why));
            }
            print::text(&format!(
                "{} sagas in flight, {} possible inputs tried, {} sagas not understood\n",
                found.sagas, found.inputs, found.not_understood
            ));
        }
    }
    Ok(crate::failure_if(found.not_understood > 0))
}
