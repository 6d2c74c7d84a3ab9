//! A report as text.

use std::fmt::{self, Write as _};

use crate::report::{Report, Run};
use crate::usage::Usage;

/// The tables for people.
pub(crate) fn of(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, report);
    text
}

fn write(text: &mut String, report: &Report) -> fmt::Result {
    let title = [
        "variant", "load", "sagas/s", "range", "p50 ms", "p90", "p99", "max",
    ];
    writeln!(
        text,
        "{:<28} {:>14} {:>9} {:>15} {:>8} {:>8} {:>8} {:>8}",
        title[0], title[1], title[2], title[3], title[4], title[5], title[6], title[7]
    )?;
    for run in &report.runs {
        let (low, high) = run.sagas_per_second_range;
        writeln!(
            text,
            "{:<28} {:>14} {:>9.0} {:>15} {:>8.1} {:>8.1} {:>8.1} {:>8.1}",
            run.variant,
            run.load(),
            run.sagas_per_second,
            format!("{low:.0}-{high:.0}"),
            run.p50_ms,
            run.p90_ms,
            run.p99_ms,
            run.max_ms
        )?;
    }
    for run in &report.runs {
        usage(text, run)?;
        hops(text, run)?;
    }
    for ratio in &report.ratios {
        let (low, high) = ratio.throughput_range;
        writeln!(
            text,
            "\n{}: {} against {}: throughput × {:.3} ({low:.3} to {high:.3}), p50 {:+.1} ms",
            ratio.load, ratio.of, ratio.to, ratio.throughput, ratio.p50_difference_ms
        )?;
    }
    for rest in &report.rest {
        write!(text, "\n{}: start to ready, ms:", rest.variant)?;
        for (name, ms) in &rest.ready_ms {
            write!(text, " {name} {ms:.0}")?;
        }
        if !rest.idle_cpu_percent.is_empty() {
            write!(text, "; idle, percent of a core:")?;
        }
        for (name, percent) in &rest.idle_cpu_percent {
            write!(text, " {name} {percent:.2}")?;
        }
        writeln!(text)?;
    }
    if let Some(floor) = &report.floor {
        write!(text, "\n{}", floor.table())?;
    }
    writeln!(text, "\n{} violations", report.violations.len())?;
    for violation in &report.violations {
        writeln!(text, "  {violation}")?;
    }
    Ok(())
}

/// What a run used, a line for each kind.
fn usage(text: &mut String, run: &Run) -> fmt::Result {
    let usage = &run.usage;
    writeln!(
        text,
        "\n{}, {}: {} created, {} failed, {} rejected",
        run.variant,
        run.load(),
        run.created,
        run.failed,
        run.rejected
    )?;
    write!(text, "  µs of CPU a saga:")?;
    for (name, used) in &usage.processes {
        write!(text, " {name} {:.0}", used.cpu_us_per_saga)?;
    }
    writeln!(
        text,
        ", all but the registry {:.0}",
        usage.cpu_us_per_saga()
    )?;
    if let Some(least) = run.least {
        writeln!(
            text,
            "  least CPU a saga: {:.0} µs in these batches ({:.1} times as much was used), {:.0} in large ones",
            least.least_us,
            least.used_us / least.least_us.max(f64::MIN_POSITIVE),
            least.least_in_large_batches_us
        )?;
    }
    write!(text, "  MiB, first to last:")?;
    for (name, used) in &usage.processes {
        write!(
            text,
            " {name} {:.0}-{:.0}",
            used.memory_first_mib, used.memory_mib
        )?;
        if let Some(slope) = used.memory_mib_per_minute {
            write!(text, " (most {:.0}, {slope:+.2}/min)", used.memory_max_mib)?;
        }
    }
    write!(text, "\n  inputs a batch:")?;
    for (name, work) in &usage.services {
        write!(text, " {name} {:.1}", work.batch_inputs)?;
    }
    if usage
        .services
        .values()
        .any(|work| work.instance_shares.len() > 1)
    {
        write!(text, "\n  inputs by instance, percent:")?;
        for (name, work) in &usage.services {
            let shares = work.instance_shares.iter();
            let shares: Vec<String> = shares
                .map(|share| format!("{:.0}", share * 100.0))
                .collect();
            write!(text, " {name} {}", shares.join("+"))?;
        }
    }
    write!(text, "\n  database transactions (trips) a saga:")?;
    for (name, work) in &usage.services {
        write!(
            text,
            " {name} {:.2} ({:.2})",
            work.transactions_per_saga, work.trips_per_saga
        )?;
    }
    write!(text, "\n  rows inserted, updated a saga:")?;
    for (name, work) in &usage.services {
        write!(
            text,
            " {name} {:.1}, {:.1}",
            work.rows_inserted_per_saga, work.rows_updated_per_saga
        )?;
    }
    writeln!(text)?;
    kafka(text, usage)?;
    writeln!(
        text,
        "  bytes a saga: WAL {:.0}, topics {:.0}, to and from Kafka {:.0}",
        usage.wal_bytes_per_saga, usage.log_bytes_per_saga, usage.kafka_bytes_per_saga
    )
}

fn kafka(text: &mut String, usage: &Usage) -> fmt::Result {
    let (all, services) = usage.kafka_requests();
    write!(
        text,
        "  Kafka requests a saga: {all:.2}, of the services {services:.2}:"
    )?;
    for (name, work) in &usage.services {
        write!(text, " {name} {:.2}", work.kafka_requests_per_saga)?;
    }
    write!(text, "; by type:")?;
    for (kind, requests) in &usage.kafka_requests_per_saga {
        // What is rarer than one in two hundred sagas is upkeep.
        if *requests >= 0.005 {
            write!(text, " {kind} {requests:.2}")?;
        }
    }
    writeln!(text)
}

/// Where the time of one saga goes.
fn hops(text: &mut String, run: &Run) -> fmt::Result {
    if run.hops.is_empty() {
        return Ok(());
    }
    let all: f64 = run.hops.iter().map(|hop| hop.mean_ms).sum();
    writeln!(
        text,
        "  hop by hop, ms: mean, share, p50, p99 (of {} sagas whose orders were created, {all:.1} ms on average)",
        run.hops_sagas
    )?;
    for hop in &run.hops {
        writeln!(
            text,
            "    {:>8.2} {:>5.1} % {:>8.2} {:>8.2}  {}",
            hop.mean_ms,
            hop.mean_ms / all.max(f64::MIN_POSITIVE) * 100.0,
            hop.p50_ms,
            hop.p99_ms,
            hop.what
        )?;
    }
    Ok(())
}
