//! `cargo chaos`: carts at a set rate, faults of every kind, and an audit when all
//! is quiet. The same seed brings the same faults at the same times.

#![allow(clippy::print_stdout, reason = "what this program is asked for")]

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use integration_tests::storm::{Aftermath, Event, Scene, Storm};
use integration_tests::{Options, System};
use serde_json::json;

/// Exit status of an interrupted program, as shells report it.
const INTERRUPTED: u8 = 130;
/// Records that are remembered, to publish some of them again.
const REMEMBERED: usize = 20_000;

/// Lets a storm of faults loose on the whole system: Kafka, a schema registry,
/// PostgreSQL and the services as processes of this machine. When all is quiet it
/// audits. Exit status 0 when nothing is lost, doubled or held in vain, else 1.
#[derive(Parser, Debug)]
#[command(name = "cargo chaos", version)]
struct Args {
    /// How long faults come, in minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 5.0)]
    minutes: f64,
    /// Draws faults and carts; by default a new one, which is printed.
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Carts a second.
    #[arg(long, value_name = "CARTS", default_value_t = 20.0)]
    rate: f64,
    /// Faults a minute, about.
    #[arg(long, value_name = "FAULTS", default_value_t = 12.0)]
    faults_per_minute: f64,
    /// Instances of each service.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=8))]
    instances: u16,
    /// Brokers: with 3, topics have three replicas, two of which must be in sync.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=3))]
    brokers: u16,
    /// Prints the faults that would come, and stops.
    #[arg(long)]
    dry_run: bool,
    /// Ends standard output with one line: a JSON object with the figures.
    /// Everything else goes to standard error.
    #[arg(long)]
    json: bool,
}

impl Args {
    fn storm(&self, seed: u64) -> Storm {
        Storm {
            seed,
            length: Duration::from_secs_f64(self.minutes.clamp(0.1, 100_000.0) * 60.0),
            rate: self.rate.clamp(0.1, 10_000.0),
            faults_per_minute: self.faults_per_minute.clamp(0.0, 600.0),
            scene: Scene {
                instances: usize::from(self.instances),
                brokers: usize::from(self.brokers),
            },
        }
    }

    /// What brings the same storm again.
    fn replay(&self, seed: u64) -> String {
        format!(
            "cargo chaos --minutes {} --seed {seed} --rate {} --faults-per-minute {} \
             --instances {} --brokers {}",
            self.minutes, self.rate, self.faults_per_minute, self.instances, self.brokers
        )
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let seed = args.seed.unwrap_or_else(rand::random);
    let storm = args.storm(seed);
    eprintln!("seed {seed}; the same storm again: {}", args.replay(seed));
    if args.dry_run {
        for event in storm.schedule() {
            println!("{event}");
        }
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the async runtime: {error}");
            return ExitCode::from(2);
        }
    };
    let aftermath = runtime.block_on(async {
        tokio::select! {
            aftermath = rage(&args, &storm) => Some(aftermath),
            // What was started ends with this process.
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    runtime.shutdown_background();
    match aftermath {
        Some(aftermath) => conclude(&args, seed, &aftermath),
        None => ExitCode::from(INTERRUPTED),
    }
}

async fn rage(args: &Args, storm: &Storm) -> Aftermath {
    let options = Options {
        instances: args.instances,
        own_brokers: args.brokers,
        remember: REMEMBERED,
        ..Options::default()
    };
    let system = System::start("chaos", options).await;
    storm
        .rage(&system, &|event: &Event| eprintln!("{event}"))
        .await
}

fn conclude(args: &Args, seed: u64, aftermath: &Aftermath) -> ExitCode {
    let report = &aftermath.report;
    let faults: usize = aftermath.faults.values().sum();
    let violations = report.violations.len() + aftermath.ended.len();
    eprintln!("\n{report}");
    for ended in &aftermath.ended {
        eprintln!("a service ended by itself: {ended}");
    }
    eprintln!(
        "{} carts, {faults} faults, {} lost, {} doubled, {violations} violations; again: {}",
        aftermath.carts,
        report.lost(),
        report.duplicated(),
        args.replay(seed)
    );
    if args.json {
        let line = json!({
            "seed": seed,
            "minutes": args.minutes,
            "carts": aftermath.carts,
            "checkouts": report.carts,
            "faults": faults,
            "faults_by_kind": aftermath.faults,
            "orders": report.orders,
            "failed": report.failed,
            "rejected": report.rejected,
            "lost": report.lost(),
            "duplicated": report.duplicated(),
            "violations": violations,
            "found": report.violations,
            "ended": aftermath.ended,
            "replay": args.replay(seed),
        });
        println!("{line}");
    }
    match violations {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
