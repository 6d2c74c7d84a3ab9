//! All of it, in order: variants in turns, load by load.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use rand::RngExt;
use stack::{Progress, Stack};
use sysinfo::System;
use tokio::sync::mpsc;

use crate::carts::Carts;
use crate::cli::Options;
use crate::driver::{Pace, Sample};
use crate::page;
use crate::pair;
use crate::preload;
use crate::report::{Ratio, Repetition, Report, Run, Settings};
use crate::side::{Side, Variant};
use crate::usage::{Reading, Usage};

/// Carts in flight while the machine warms up: a cold broker is half as fast.
const WARM_UP_IN_FLIGHT: u32 = 256;

/// From the last outcome until everything is at rest.
const AT_REST_LIMIT: Duration = Duration::from_secs(60);

/// Measures; `true` when nothing was violated. What has to be stopped is in
/// `slot`.
pub(crate) async fn run(options: &Options, slot: &mut Option<Stack>) -> anyhow::Result<bool> {
    let progress = Progress::detect();
    let began_at = Timestamp::now().to_string();
    let variants = variants(options, &progress).await?;
    let stack = slot.insert(Stack::start(stack::Options::default(), &progress).await?);
    let mut sides = Vec::new();
    for (name, variant) in ["a", "b"].into_iter().zip(variants) {
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
    let mut system = System::new();
    for side in &sides {
        let task = progress.task(format!("warm-up, {}", side.name));
        let pace = Pace::InFlight(WARM_UP_IN_FLIGHT);
        measure(stack, side, pace, options, &mut system).await?;
        task.done("done");
        if options.preload > 0 {
            preload::fill(side, options.preload, &progress).await?;
        }
    }

    // What was there before was never published.
    let since = (options.preload > 0).then(Timestamp::now);
    let mut report = Report {
        began_at,
        settings: settings(options),
        runs: Vec::new(),
        ratios: Vec::new(),
        violations: Vec::new(),
    };
    for pace in paces {
        let mut repetitions: Vec<Vec<Repetition>> = sides.iter().map(|_| Vec::new()).collect();
        for turn in 1..=options.repeat {
            for (side, done) in sides.iter().zip(&mut repetitions) {
                let task = progress.task(format!(
                    "{pace:?}, {}, {turn} of {}",
                    side.name, options.repeat
                ));
                let (sample, usage) = measure(stack, side, pace, options, &mut system).await?;
                let repetition = Repetition::new(&sample, usage);
                task.done(format!(
                    "{:.0} sagas/s, p50 {:.1} ms",
                    repetition.sagas_per_second, repetition.p50_ms
                ));
                done.push(repetition);
            }
        }
        let runs: Vec<Run> = sides
            .iter()
            .zip(&repetitions)
            .map(|(side, done)| Run::of(&side.name, pace, done))
            .collect();
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
    publish(&report, options)?;
    Ok(report.violations.is_empty())
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

fn settings(options: &Options) -> Settings {
    let refused = options.mix.out_of_stock + options.mix.declined;
    Settings {
        seconds: options.seconds,
        warm_up_seconds: options.warm_up,
        repeat: options.repeat,
        mix: format!(
            "{},{},{}",
            100 - refused,
            options.mix.out_of_stock,
            options.mix.declined
        ),
        items: options.items,
        instances: options.instances,
        cores: thread::available_parallelism().map_or(0, usize::from),
        optimized: !cfg!(debug_assertions),
    }
}

/// One run, with the readings at both ends of its measured time.
async fn measure(
    stack: &Stack,
    side: &Side,
    pace: Pace,
    options: &Options,
    system: &mut System,
) -> anyhow::Result<(Sample, Usage)> {
    let mut carts = Carts::new(rand::rng().random(), options.mix, options.items);
    let (ticks, mut ticked) = mpsc::unbounded_channel();
    let (warm_up, length) = (options.warm_up(), options.length());
    let driver = Arc::clone(&side.driver);
    let driving = tokio::task::spawn_blocking(move || {
        driver.run(pace, &mut carts, warm_up, length, &mut |begins| {
            // Whoever reads it waits for the run to end.
            let _ = ticks.send(begins);
        })
    });
    let mut usage = None;
    let mut begin = None;
    while let Some(begins) = ticked.recv().await {
        let reading = Reading::take(stack, side, system).await?;
        match begins {
            true => begin = Some(reading),
            false => usage = begin.take().map(|begin| (begin, reading)),
        }
    }
    let sample = driving.await.context("the run's thread")??;
    let usage = usage.map_or_else(Usage::default, |(begin, end)| {
        end.since(&begin, sample.ended)
    });
    Ok((sample, usage))
}

fn publish(report: &Report, options: &Options) -> anyhow::Result<()> {
    let table = report.table();
    match options.json {
        true => eprintln!("{table}"),
        false => println!("{table}"),
    }
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("cannot create {}", options.out.display()))?;
    let json = serde_json::to_string(report)?;
    for (name, content) in [
        ("report.json", &json),
        ("report.html", &page::page(report)?),
    ] {
        let path = options.out.join(name);
        std::fs::write(&path, content)
            .with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("written: {}", path.display());
    }
    if options.json {
        println!("{json}");
    }
    Ok(())
}
