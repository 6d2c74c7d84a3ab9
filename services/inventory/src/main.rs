//! The inventory service: reserves stock for checkouts and releases it.
//!
//! - `handler`: what each command and timer does to the rows.
//! - `state`: the rows of one batch.
//! - `store`: how they are read and written.
//! - `api`: HTTP routes for operators.

mod api;
mod handler;
mod state;
mod store;

use std::process::ExitCode;

use clap::Parser;
use jiff::SignedDuration;
use service::{App, CommonArgs};

use crate::handler::Inventory;

mod schema {
    refinery::embed_migrations!("migrations");
}

/// Reserves stock for checkouts and releases it.
///
/// Consumes the topic inventory.commands and answers on inventory.events. A checkout gets
/// all of its items or none. Commands may be repeated: the answer stays the same.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,

    /// How long stock is promised to a checkout, in seconds; 0: without end. When the time
    /// is over, ReservationExpired is published once; the stock stays held
    /// until it is released.
    #[arg(
        long,
        env = "RESERVATION_TTL_SECONDS",
        value_name = "SECONDS",
        default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=31_536_000),
        help_heading = "Inventory"
    )]
    reservation_ttl_seconds: u32,
}

impl Args {
    fn reservation_ttl(&self) -> Option<SignedDuration> {
        match self.reservation_ttl_seconds {
            0 => None,
            seconds => Some(SignedDuration::from_secs(i64::from(seconds))),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let keep = args.common.retention.retention();
    let handler = Inventory {
        reservation_ttl: args.reservation_ttl(),
    };
    service::run(
        "inventory",
        args.common,
        schema::migrations::runner(),
        |pool| async move {
            Ok(App {
                handler,
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
    fn help_explains_the_expiry() {
        let help = Args::command().render_long_help().to_string();
        assert!(help.contains("RESERVATION_TTL_SECONDS"), "{help}");
        assert!(help.contains("DATABASE_URL"), "{help}");
        Args::command().debug_assert();
    }
}
