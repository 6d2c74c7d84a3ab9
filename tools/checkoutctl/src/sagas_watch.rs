//! `checkoutctl sagas watch`: looks again and again, also when one fails.

use std::process::ExitCode;
use std::time::Duration;

use audit::{Error, Target};
use contracts::TopicNames;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::print;
use crate::sagas_args::ListArgs;

/// The longest pause before the next look after some have failed, unless a longer one
/// was asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Classes of PostgreSQL's errors that pass: the connection, too many of them, a server
/// that starts or stops, its machine.
const PASSING: [&str; 4] = ["08", "53", "57", "58"];

#[derive(clap::Args, Debug)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    list: ListArgs,

    /// Pause between two looks, in seconds. After looks that failed it doubles, up to a
    /// minute.
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

/// Looks until it is interrupted, or has looked often enough.
pub(crate) async fn watch(args: &WatchArgs, names: TopicNames) -> anyhow::Result<ExitCode> {
    let (list, json) = (&args.list, args.list.common.json);
    let target = list.common.target(names);
    let every = Duration::from_secs(args.every_seconds);
    let (mut looks, mut failed, mut failed_in_a_row) = (0, false, 0);
    loop {
        let begin = Instant::now();
        let look = list.page(&target).await;
        failed_in_a_row = match &look {
            Ok(_) => 0,
            Err(_) => failed_in_a_row + 1,
        };
        let pause = pause(every, failed_in_a_row);
        match (look, json) {
            (Ok(page), true) => print::json(&page)?,
            (Ok(page), false) => print::page(&format!("{}\n{}", Timestamp::now(), page.text())),
            (Err(error), _) if looks == 0 && is_of_what_was_given(&error, &target) => {
                return Err(error.into());
            }
            (Err(error), true) => print::json(&json!({ "error": error.to_string() }))?,
            (Err(error), false) => print::page(&format!(
                "{}\nnothing could be seen: {error}; the next look is in {} s\n",
                Timestamp::now(),
                pause.as_secs()
            )),
        }
        failed |= failed_in_a_row > 0;
        looks += 1;
        if args.looks.is_some_and(|most| looks >= most) {
            return Ok(crate::failure_if(failed));
        }
        sleep(pause.saturating_sub(begin.elapsed())).await;
    }
}

/// The pause before the next look after so many have failed, one after the other.
fn pause(every: Duration, failed_in_a_row: u32) -> Duration {
    let doubled = every.saturating_mul(2_u32.saturating_pow(failed_in_a_row));
    doubled.min(LONGEST_PAUSE.max(every))
}

/// Whether looking again is of no use: there is no address, or none that can be one, or
/// the database does not know the user, or is another than the orchestrator's.
fn is_of_what_was_given(error: &Error, target: &Target) -> bool {
    match error {
        Error::Database { cause, .. } => match cause.code() {
            Some(state) => !PASSING.iter().any(|class| state.code().starts_with(*class)),
            // Without an answer of the server: what is not of the network is of the address.
            None => std::error::Error::source(cause)
                .is_some_and(|source| !source.is::<std::io::Error>()),
        },
        Error::Invalid(_) => target.orchestrator.is_none(),
        Error::Kafka { .. } | Error::Registry(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_with_each_look_that_fails_up_to_a_bound() {
        let every = Duration::from_secs(2);
        for (failed, seconds) in [(0, 2), (1, 4), (4, 32), (5, 60), (200, 60)] {
            assert_eq!(pause(every, failed).as_secs(), seconds, "after {failed}");
        }
        let rarely = Duration::from_secs(600);
        assert_eq!(pause(rarely, 3), rarely);
    }
}
