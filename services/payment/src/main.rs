//! The payment service: holds the customer's money for a checkout, and gives it
//! up again, through a payment gateway.

use std::process::ExitCode;

use clap::Parser;
use payment::options::GatewayArgs;
use service::{App, CommonArgs, GaugeQuery};

mod migrations {
    refinery::embed_migrations!("migrations");
}

/// Authorizes and voids payments: consumes payments.commands, replies on
/// payments.outcomes.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    gateway: GatewayArgs,
}

fn gauges() -> Vec<GaugeQuery> {
    vec![
        GaugeQuery {
            name: "payment_authorizations",
            help: "Authorizations that the gateway is being asked about, by state",
            labels: &["state"],
            sql: "SELECT state, count(*) FROM authorizations \
                  WHERE wake_at IS NOT NULL GROUP BY state",
        },
        GaugeQuery {
            name: "payment_voids_waiting",
            help: "Voids that wait for the answer to their authorization",
            labels: &[],
            sql: "SELECT count(*) FROM authorizations \
                  WHERE wake_at IS NOT NULL AND void_requested AND state = 'REQUESTED'",
        },
        GaugeQuery {
            name: "saga_timers_due",
            help: "Timers that are due and have not fired",
            labels: &[],
            sql: "SELECT count(*) FROM authorizations WHERE wake_at <= now()",
        },
    ]
}

fn main() -> ExitCode {
    let args = Args::parse();
    // Before anything is started, and also where the configuration is only checked.
    let handler = match args.gateway.payments() {
        Ok(handler) => handler,
        Err(error) => {
            eprintln!("payment: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let keep = args.common.retention.retention();
    service::run(
        "payment",
        args.common,
        migrations::migrations::runner(),
        move |pool| async move {
            payment::describe_metrics();
            Ok(App {
                handler,
                routes: payment::api::routes(pool),
                gauges: gauges(),
                purges: vec![payment::purge(keep)],
            })
        },
    )
}
