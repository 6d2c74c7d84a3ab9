//! All of it, in order: variants in turns, load by load.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;
use contracts::topology::topology;
use jiff::Timestamp;
use rand::RngExt;
use stack::{Progress, Stack};
use tokio::sync::mpsc;

use crate::carts::Carts;
use crate::cli::{FloorOptions, Options};
use crate::driver::Sample;
use crate::floor;
use crate::hops::{self, Hop};
use crate::memory::Moment;
use crate::pace::Pace;
use crate::page;
use crate::pair;
use crate::preload;
use crate::processes::{Looker, compiling_us};
use crate::report::{Ratio, Repetition, Report, Run, Settings};
use crate::rest;
use crate::revision;
use crate::side::{Side, Variant};
use crate::table;
use crate::usage::{Reading, Usage};

/// How much of a core a broker's compilers use that has compiled what it runs, at most.
const COMPILERS_AT_REST: f64 = 0.1;
/// For so long the warm-up goes on while they use more.
const WARM_UP_MORE_SECONDS: u64 = 10;
/// Carts in flight while the machine warms up: a cold broker is half as fast.
const WARM_UP_IN_FLIGHT: u32 = 256;

/// From the last outcome until everything is at rest.
const AT_REST_LIMIT: Duration = Duration::from_secs(180);

/// Measures; `true` when nothing was violated. What has to be stopped is in
/// `slot`.
pub(crate) async fn run(options: &Options, slot: &mut Option<Stack>) -> anyhow::Result<bool> {
    let progress = Progress::detect();
    let began_at = Timestamp::now().to_string();
    let variants = variants(options, &progress).await?;
    let stack = slot.insert(Stack::start(stack::Options::default(), &progress).await?);
    let floor = match options.floor {
        true => Some(floor::measure(stack, &options.floor_options(), &progress).await?),
        false => None,
    };
    let mut sides = Vec::new();
    for (name, variant) in ["bench_a", "bench_b"].into_iter().zip(variants) {
        sides.push(Side::start(stack, name, variant, options).await?);
    }
    let paces: Vec<Pace> = match options.rate {
        Some(rate) => vec![Pace::Rate(rate)],
        None => options
            .in_flight
            .iter()
            .copied()
            .map(Pace::InFlight)
            .collect(),
    };
    for side in &sides {
        let task = progress.task(format!("warm-up, {}", side.name));
        let pace = Pace::InFlight(WARM_UP_IN_FLIGHT);
        let mut seconds = options.broker_warm_up;
        let begun = Instant::now();
        let compiling = loop {
            let warm_up = Options {
                seconds,
                ..options.clone()
            };
            let (before, since) = (compiling_us(stack), Instant::now());
            measure(stack, side, pace, &warm_up).await?;
            let busy = Duration::from_micros(compiling_us(stack).saturating_sub(before));
            let compiling = busy.as_secs_f64() / since.elapsed().as_secs_f64();
            if compiling <= COMPILERS_AT_REST
                || begun.elapsed().as_secs() + WARM_UP_MORE_SECONDS > options.broker_warm_up_max
            {
                break compiling;
            }
            task.update(format!("compilers busy for {compiling:.2} of a core"));
            seconds = WARM_UP_MORE_SECONDS;
        };
        task.done(format!("compilers busy for {compiling:.2} of a core"));
        if options.preload > 0 {
            preload::fill(side, options.preload, &progress).await?;
        }
    }

    // What was there before was never published.
    let since = (options.preload > 0).then(Timestamp::now);
    let mut report = Report {
        began_at,
        settings: settings(options).await,
        runs: Vec::new(),
        ratios: Vec::new(),
        rest: Vec::new(),
        floor: floor.clone(),
        violations: Vec::new(),
    };
    for pace in paces {
        let mut repetitions: Vec<Vec<Repetition>> = sides.iter().map(|_| Vec::new()).collect();
        for turn in 1..=options.repeat {
            let mut in_order: Vec<_> = sides.iter().zip(&mut repetitions).collect();
            // Whoever is second finds a broker that has compiled more: they take turns.
            if turn % 2 == 0 {
                in_order.reverse();
            }
            for (side, done) in in_order {
                let task = progress.task(format!(
                    "{pace:?}, {}, {turn} of {}",
                    side.name, options.repeat
                ));
                let (sample, usage) = measure(stack, side, pace, options).await?;
                task.update("hop by hop");
                let hops = hops_of(side, &sample).await;
                let repetition = Repetition::new(&sample, usage, hops);
                task.done(format!(
                    "{:.0} sagas/s, p50 {:.1} ms",
                    repetition.sagas_per_second, repetition.p50_ms
                ));
                done.push(repetition);
            }
        }
        let mut runs: Vec<Run> = sides
            .iter()
            .zip(&repetitions)
            .map(|(side, done)| Run::of(&side.name, pace, done))
            .collect();
        for run in &mut runs {
            run.least = floor.as_ref().map(|floor| floor.least_of(&run.usage));
        }
        if let ([first, second], [before, after]) = (&sides[..], &repetitions[..]) {
            let load = runs[0].load();
            report.ratios.push(Ratio::of(
                load,
                (&second.name, after),
                (&first.name, before),
            ));
        }
        report.runs.extend(runs);
    }
    for side in &sides {
        let task = progress.task(format!("audit, {}", side.name));
        task.update("reading topics and databases");
        let violations = side
            .installation
            .audit_since(since, AT_REST_LIMIT)
            .await?
            .violations;
        task.done(format!("{} violations", violations.len()));
        for run in &mut report.runs {
            if run.variant == side.name {
                run.violations = violations.len();
            }
        }
        let texts = violations
            .iter()
            .map(|violation| format!("{}: {violation}", side.name));
        report.violations.extend(texts);
    }
    report.rest = rest::measure(stack, &sides, options.idle(), &progress).await?;
    publish(&report, options)?;
    Ok(report.violations.is_empty())
}

/// Measures the parts alone.
pub(crate) async fn floor_alone(
    options: &FloorOptions,
    slot: &mut Option<Stack>,
) -> anyhow::Result<bool> {
    let progress = Progress::detect();
    let stack = slot.insert(Stack::start(stack::Options::default(), &progress).await?);
    let floor = floor::measure(stack, options, &progress).await?;
    let json = serde_json::to_string(&floor)?;
    print(&floor.table(), options.json);
    write(&options.out, "floor.json", &json)?;
    if options.json {
        println!("{json}");
    }
    Ok(true)
}

/// The working tree, and what it is compared with.
async fn variants(options: &Options, progress: &Progress) -> anyhow::Result<Vec<Variant>> {
    let mut variants = vec![Variant {
        label: "as it is".into(),
        ..Variant::default()
    }];
    if let Some(revision) = &options.pair {
        variants.push(pair::build(revision, progress).await?);
    }
    if !options.vary.is_empty() {
        let names: Vec<String> = options
            .vary
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        variants.push(Variant {
            label: names.join(" "),
            environment: options.vary.clone(),
            programs: None,
        });
    }
    Ok(variants)
}

async fn settings(options: &Options) -> Settings {
    let refused = options.mix.out_of_stock + options.mix.declined;
    let declared = topology().iter().map(|topic| topic.partitions).max();
    Settings {
        revision: revision::here().await,
        seconds: options.seconds,
        warm_up_seconds: options.warm_up,
        broker_warm_up_seconds: Some(options.broker_warm_up),
        repeat: options.repeat,
        mix: format!(
            "{},{},{}",
            100 - refused,
            options.mix.out_of_stock,
            options.mix.declined
        ),
        items: options.items,
        ids: format!("{:?}", options.ids),
        instances: options.instances,
        partitions: options.partitions.or(declared),
        delivery: options
            .delivery
            .to_possible_value()
            .map(|value| value.get_name().to_owned()),
        preload: Some(options.preload),
        cores: thread::available_parallelism().map_or(0, usize::from),
        optimized: !cfg!(debug_assertions),
    }
}

/// One run, with the readings at both ends of its measured time, and of memory between.
async fn measure(
    stack: &Stack,
    side: &Side,
    pace: Pace,
    options: &Options,
) -> anyhow::Result<(Sample, Usage)> {
    let mut carts = Carts::new(
        rand::rng().random(),
        options.mix,
        options.items,
        options.ids,
    );
    let (ticks, mut ticked) = mpsc::unbounded_channel();
    let (warm_up, length) = (options.warm_up(), options.length());
    let driver = Arc::clone(&side.driver);
    let driving = tokio::task::spawn_blocking(move || {
        driver.run(pace, &mut carts, warm_up, length, &mut |begins| {
            // Whoever reads it waits for the run to end.
            let _ = ticks.send(begins);
        })
    });
    let mut looker = Looker::new(stack, Some(&side.services));
    let every = options.sample_every();
    let mut begin: Option<(Reading, Vec<Moment>)> = None;
    let mut end = None;
    loop {
        let ticked = tokio::select! {
            ticked = ticked.recv() => ticked,
            () = tokio::time::sleep(every), if begin.is_some() && end.is_none() => {
                if let Some((first, memory)) = &mut begin {
                    memory.push(Moment::new(first.seconds(), &looker.look()));
                }
                continue;
            }
        };
        let Some(begins) = ticked else { break };
        let reading = Reading::take(stack, side, &mut looker).await?;
        match begins {
            true => begin = Some((reading, Vec::new())),
            false => end = Some(reading),
        }
    }
    let sample = driving.await.context("the run's thread")??;
    let usage = match (begin, end) {
        (Some((begin, mut memory)), Some(end)) => {
            memory.insert(0, begin.moment(&begin));
            memory.push(end.moment(&begin));
            end.since(&begin, sample.ended, memory)
        }
        _ => Usage::default(),
    };
    Ok((sample, usage))
}

/// The hops of a run; none where they cannot be read, which does not end a measurement:
/// another revision may keep its times elsewhere.
async fn hops_of(side: &Side, sample: &Sample) -> (Vec<Hop>, usize) {
    match hops::read(&side.installation, &sample.traced).await {
        Ok(found) => found,
        Err(error) => {
            eprintln!("{}: no hops: {error:#}", side.name);
            (Vec::new(), 0)
        }
    }
}

fn publish(report: &Report, options: &Options) -> anyhow::Result<()> {
    print(&table::of(report), options.json);
    let json = serde_json::to_string(report)?;
    write(&options.out, "report.json", &json)?;
    write(&options.out, "report.html", &page::page(report)?)?;
    if options.json {
        println!("{json}");
    }
    Ok(())
}

/// For people; where the end of standard output is for programs, all else is not there.
fn print(table: &str, json: bool) {
    match json {
        true => eprintln!("{table}"),
        false => println!("{table}"),
    }
}

fn write(folder: &Path, name: &str, content: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(name);
    std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("written: {}", path.display());
    Ok(())
}
