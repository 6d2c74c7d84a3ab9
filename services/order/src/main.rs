//! The order service: records orders and cancels them.
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

/// Records orders and cancels them.
///
/// Consumes the topic ordering.commands and answers on ordering.replies. A cart has at most
/// one live order. Commands may be repeated: the answer stays the same.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let keep = args.common.retention.retention();
    service::run(
        "order",
        args.common,
        schema::migrations::runner(),
        move |pool| async move {
            Ok(App {
                handler: handler::Orders,
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
