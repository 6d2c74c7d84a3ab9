//! `cargo chaos`: carts at a set rate, faults of every kind, and an audit when all
//! is quiet. The same seed brings the same faults at the same times.
//!
//! An example, and no program like the others: it wants services with fail points, as
//! tests do.

#![allow(clippy::print_stdout, reason = "what this program is asked for")]

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use futures::FutureExt;
use integration_tests::storm::{Aftermath, Event, Ground, Scene, Storm, Summary, Watch};
use tokio::sync::OnceCell;
use tokio::time::interval;

/// Exit status of an interrupted program, as shells report it.
const INTERRUPTED: u8 = 130;
/// Exit status where there was no storm at all.
const NOT_BEGUN: u8 = 2;
/// Records that are remembered, to publish some of them again.
const REMEMBERED: usize = 20_000;
/// Between two lines about how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How long a storm that broke down is given to come to rest.
const LAST_LOOK: Duration = Duration::from_secs(60);

const EXIT_STATUSES: &str = "\
Exit status:
  0    nothing is lost, doubled or held in vain
  1    something is, or the storm broke down
  2    it could not begin: the parts or the services do not start, or a flag is wrong
  130  interrupted";

/// Lets a storm of faults loose on the whole system: Kafka, a schema registry,
/// PostgreSQL, a payment gateway and the services, on this machine. When all is quiet it
/// audits.
#[derive(Parser, Debug)]
#[command(name = "cargo chaos", version, after_help = EXIT_STATUSES)]
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
            return ExitCode::from(NOT_BEGUN);
        }
    };
    let ground = OnceCell::new();
    let watch = Watch::new(|event: &Event| eprintln!("{event}"));
    let summary = runtime.block_on(async {
        tokio::select! {
            summary = summarized(&storm, &ground, &watch) => Some(summary),
            // What was started ends with this process.
            _ = tokio::signal::ctrl_c() => None,
            () = tell(&ground, &watch) => None,
        }
    });
    let status = summary.map_or(INTERRUPTED, |summary| {
        conclude(&args, seed, &summary);
        match summary.violations() {
            0 => 0,
            _ if ground.initialized() => 1,
            _ => NOT_BEGUN,
        }
    });
    {
        // Its services end with it, while the runtime still runs.
        let _inside = runtime.enter();
        drop(ground);
    }
    runtime.shutdown_background();
    ExitCode::from(status)
}

/// A line every few seconds about how far it is.
async fn tell(ground: &OnceCell<Ground>, watch: &Watch) {
    let mut every = interval(TELL_EVERY);
    loop {
        every.tick().await;
        let (published, ended) = ground.get().map_or((0, 0), |ground| {
            let system = &ground.system;
            (system.published(), system.recorder.outcomes())
        });
        eprintln!("          {}", watch.line(published, ended));
    }
}

/// What the storm comes to, also when it breaks down.
async fn summarized(storm: &Storm, ground: &OnceCell<Ground>, watch: &Arc<Watch>) -> Summary {
    let raging = AssertUnwindSafe(rage(storm, ground, watch)).catch_unwind();
    let why = match raging.await {
        Ok(aftermath) => return Summary::of(aftermath),
        Err(panic) => words(&*panic),
    };
    eprintln!("the storm broke down: {why}");
    let Some(ground) = ground.get() else {
        return broken(why, watch, 0, 0, None);
    };
    let looking = AssertUnwindSafe(watch.settle(&ground.system, LAST_LOOK)).catch_unwind();
    let report = looking.await.ok().and_then(Result::ok);
    let (published, ended) = (ground.system.published(), ground.system.recorder.outcomes());
    broken(
        why,
        watch,
        published,
        published.saturating_sub(ended),
        report,
    )
}

fn broken(
    why: String,
    watch: &Watch,
    carts: usize,
    open: usize,
    report: Option<audit::Report>,
) -> Summary {
    Summary {
        carts,
        faults: watch.faults(),
        open,
        report,
        ended: Vec::new(),
        gateway: Vec::new(),
        broke_down: Some(why),
    }
}

async fn rage(storm: &Storm, ground: &OnceCell<Ground>, watch: &Arc<Watch>) -> Aftermath {
    let start = || Ground::start("chaos", storm.scene, REMEMBERED);
    let ground = ground.get_or_init(start).await;
    storm.rage(ground, watch).await
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

fn conclude(args: &Args, seed: u64, summary: &Summary) {
    let replay = args.replay(seed);
    eprintln!("\n{summary}; again: {replay}");
    if args.json {
        let mut line = summary.json();
        line["seed"] = seed.into();
        line["minutes"] = args.minutes.into();
        line["replay"] = replay.into();
        println!("{line}");
    }
}
