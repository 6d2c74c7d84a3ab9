//! The orchestrator: drives the saga of every checkout. What follows from what
//! is decided by the crate `flow`; this service keeps the sagas and moves the
//! messages.
//!
//! - `handler`: from messages and timers to transitions.
//! - `state`: the sagas of one batch.
//! - `history`: what happened to them, and why.
//! - `store`: how they are read and written.
//! - `observe`: what is logged and counted of a transition.
//! - `brake`: holds commands back from participants that do not answer.
//! - `options`: flags of this service alone.
//! - `api`: the status of a checkout over HTTP, and as a stream of events.

mod api;
mod brake;
mod handler;
mod history;
mod observe;
mod options;
mod state;
mod store;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use service::{App, CommonArgs};

use crate::brake::Brake;
use crate::handler::Orchestrator;
use crate::options::{BrakeArgs, EventStreamArgs, SagaArgs};

mod schema {
    refinery::embed_migrations!("migrations");
}

/// Drives the saga of every checkout.
///
/// Consumes shopping.checkouts, the replies of inventory, payment and order, and
/// operators' inputs from ordering.operations. Sends commands to the participants,
/// publishes OrderCreated on ordering.orders, CheckoutFailed and CheckoutRejected on
/// ordering.checkouts, and snapshots of sagas off the straight path on ordering.sagas.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    saga: SagaArgs,
    #[command(flatten)]
    brake: BrakeArgs,
    #[command(flatten)]
    event_streams: EventStreamArgs,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let rules = match args.saga.rules().and_then(|rules| args.brake.hold(rules)) {
        Ok(rules) => rules,
        Err(error) => {
            eprintln!("orchestrator: {error}");
            return ExitCode::FAILURE;
        }
    };
    let purges = store::purges(
        args.common.retention.retention(),
        args.saga.history_retention(),
    );
    let brake = Arc::new(Brake::new(args.brake.limits()));
    let streams = args.event_streams.limits();
    service::run(
        "orchestrator",
        args.common,
        schema::migrations::runner(),
        move |pool| async move {
            observe::describe_metrics();
            brake::watch::describe_metrics();
            tokio::spawn(brake::watch::watch(Arc::clone(&brake), pool.clone()));
            Ok(App {
                handler: Orchestrator::new(rules, Arc::clone(&brake)),
                routes: api::routes(pool, streams).merge(brake::status::routes(brake)),
                gauges: store::GAUGES.to_vec(),
                purges,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn help_explains_every_flag() {
        let mut command = Args::command();
        command.clone().debug_assert();
        let help = command.render_long_help().to_string();
        for variable in [
            "REPLY_WAIT_FIRST_MS",
            "STUCK_AFTER_TRIES",
            "CHECKOUT_LIMIT_SECONDS",
            "BRAKE_SILENCE_MS",
            "EVENT_STREAM_MAX",
            "DATABASE_URL",
        ] {
            assert!(help.contains(variable), "{variable}: {help}");
        }
        for argument in command.get_arguments() {
            assert!(
                argument.get_help().is_some(),
                "{} has no help",
                argument.get_id()
            );
        }
    }
}
