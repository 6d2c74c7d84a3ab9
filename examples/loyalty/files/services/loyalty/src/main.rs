//! The loyalty service: awards points and revokes them.
//!
//! - `handler`: what each command does to the rows.
//! - `state`: the rows of one batch.
//! - `store`: how they are read and written.
//! - `api`: HTTP routes.

mod api;
mod handler;
mod state;
mod store;

use std::process::ExitCode;

use clap::Parser;
use service::{App, CommonArgs};

mod schema {
    refinery::embed_migrations!("migrations");
}

/// Awards points and revokes them.
///
/// Consumes the topic loyalty.commands and answers on loyalty.events. A customer earns one point
/// for each full 100 minor units paid. Commands may be repeated: the answer stays the same.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The most points that one order may earn; an order worth more is refused.
    #[arg(
        long,
        env = "MAX_POINTS_PER_ORDER",
        value_name = "POINTS",
        default_value_t = 100_000,
        value_parser = clap::value_parser!(i64).range(0..),
        help_heading = "Points"
    )]
    max_points_per_order: i64,

    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let keep = args.common.retention.retention();
    let max_points = args.max_points_per_order;
    service::run(
        "loyalty",
        args.common,
        schema::migrations::runner(),
        move |pool| async move {
            Ok(App {
                handler: handler::Loyalty { max_points },
                routes: api::routes(pool),
                gauges: store::GAUGES.to_vec(),
                purges: vec![store::purge(keep)],
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Args::command().debug_assert();
    }
}
