//! Figures, and two reports side by side.

use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::driver::{Pace, Sample};
use crate::floor::{Floor, Least};
use crate::hops::Hop;
use crate::rest::Rest;
use crate::usage::Usage;

/// All that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// When, in RFC 3339.
    pub(crate) began_at: String,
    /// What was asked for.
    pub(crate) settings: Settings,
    /// One for each variant and load: the medians.
    pub(crate) runs: Vec<Run>,
    /// The second variant against the first, by load.
    pub(crate) ratios: Vec<Ratio>,
    /// One for each variant: without work.
    #[serde(default)]
    pub(crate) rest: Vec<Rest>,
    /// What the parts cost by themselves, where that was asked for.
    #[serde(default)]
    pub(crate) floor: Option<Floor>,
    /// What did not add up at the end, over all variants.
    pub(crate) violations: Vec<String>,
}

/// What was asked for, and of which machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) seconds: u64,
    pub(crate) warm_up_seconds: u64,
    pub(crate) repeat: u32,
    pub(crate) mix: String,
    pub(crate) items: u32,
    /// The kind of UUIDs of carts and events.
    #[serde(default)]
    pub(crate) ids: String,
    pub(crate) instances: u16,
    pub(crate) cores: usize,
    pub(crate) optimized: bool,
}

/// A variant under one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The variant.
    pub(crate) variant: String,
    /// Carts in flight; in an open loop absent.
    pub(crate) in_flight: Option<u32>,
    /// Carts a second; in a closed loop absent.
    pub(crate) rate: Option<u32>,
    pub(crate) sagas_per_second: f64,
    /// Lowest and highest of the repetitions.
    pub(crate) sagas_per_second_range: (f64, f64),
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
    /// Outcomes of all repetitions.
    pub(crate) created: u64,
    pub(crate) failed: u64,
    pub(crate) rejected: u64,
    /// Of the variant, over all loads.
    pub(crate) violations: usize,
    /// Of the repetition with the median throughput.
    pub(crate) usage: Usage,
    /// Where the time of a saga goes whose order is created; of the same repetition.
    #[serde(default)]
    pub(crate) hops: Vec<Hop>,
    /// The sagas that these are of.
    #[serde(default)]
    pub(crate) hops_sagas: usize,
    /// The least processor time of a saga, where the parts were measured.
    #[serde(default)]
    pub(crate) least: Option<Least>,
}

/// One variant against another under one load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub(crate) load: String,
    pub(crate) of: String,
    pub(crate) to: String,
    /// Throughput: median of the ratios of neighbouring runs, and their range.
    pub(crate) throughput: f64,
    pub(crate) throughput_range: (f64, f64),
    /// Difference of the median latencies, in ms: median over neighbours.
    pub(crate) p50_difference_ms: f64,
}

/// One repetition.
#[derive(Debug, Clone)]
pub(crate) struct Repetition {
    pub(crate) sagas_per_second: f64,
    pub(crate) p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    created: u64,
    failed: u64,
    rejected: u64,
    usage: Usage,
    hops: Vec<Hop>,
    hops_sagas: usize,
}

impl Repetition {
    pub(crate) fn new(sample: &Sample, usage: Usage, hops: (Vec<Hop>, usize)) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        let ms = |us: u64| us as f64 / 1_000.0;
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        let ended = sample.ended as f64;
        Self {
            sagas_per_second: ended / sample.took.as_secs_f64(),
            p50_ms: ms(sample.latencies.value_at_quantile(0.5)),
            p90_ms: ms(sample.latencies.value_at_quantile(0.9)),
            p99_ms: ms(sample.latencies.value_at_quantile(0.99)),
            max_ms: ms(sample.latencies.max()),
            created: sample.created,
            failed: sample.failed,
            rejected: sample.rejected,
            usage,
            hops: hops.0,
            hops_sagas: hops.1,
        }
    }
}

/// The middle one; of an even number the lower of the two. 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len().saturating_sub(1) / 2;
    values.get(middle).copied().unwrap_or(0.0)
}

fn range(values: &[f64]) -> (f64, f64) {
    let lowest = values.iter().copied().min_by(f64::total_cmp);
    let highest = values.iter().copied().max_by(f64::total_cmp);
    (lowest.unwrap_or(0.0), highest.unwrap_or(0.0))
}

impl Run {
    /// The medians of some repetitions.
    pub(crate) fn of(variant: &str, pace: Pace, repetitions: &[Repetition]) -> Self {
        let of = |get: fn(&Repetition) -> f64| median(repetitions.iter().map(get).collect());
        let throughputs: Vec<f64> = repetitions.iter().map(|one| one.sagas_per_second).collect();
        let middle = of(|one| one.sagas_per_second);
        let one = repetitions
            .iter()
            .find(|one| one.sagas_per_second.total_cmp(&middle).is_eq());
        let (in_flight, rate) = match pace {
            Pace::InFlight(carts) => (Some(carts), None),
            Pace::Rate(rate) => (None, Some(rate)),
        };
        Self {
            variant: variant.to_owned(),
            in_flight,
            rate,
            sagas_per_second: middle,
            sagas_per_second_range: range(&throughputs),
            p50_ms: of(|one| one.p50_ms),
            p90_ms: of(|one| one.p90_ms),
            p99_ms: of(|one| one.p99_ms),
            max_ms: of(|one| one.max_ms),
            created: repetitions.iter().map(|one| one.created).sum(),
            failed: repetitions.iter().map(|one| one.failed).sum(),
            rejected: repetitions.iter().map(|one| one.rejected).sum(),
            violations: 0,
            usage: one.map(|one| one.usage.clone()).unwrap_or_default(),
            hops: one.map(|one| one.hops.clone()).unwrap_or_default(),
            hops_sagas: one.map_or(0, |one| one.hops_sagas),
            least: None,
        }
    }

    /// Which load it was under.
    pub(crate) fn load(&self) -> String {
        match (self.in_flight, self.rate) {
            (Some(carts), _) => format!("{carts} in flight"),
            (_, Some(rate)) => format!("{rate}/s"),
            (None, None) => "?".into(),
        }
    }
}

impl Ratio {
    /// Of the repetitions of two variants, taken in turns.
    pub(crate) fn of(load: String, of: (&str, &[Repetition]), to: (&str, &[Repetition])) -> Self {
        let pairs = || of.1.iter().zip(to.1);
        let ratios: Vec<f64> = pairs()
            .map(|(one, other)| {
                one.sagas_per_second / other.sagas_per_second.max(f64::MIN_POSITIVE)
            })
            .collect();
        Self {
            load,
            of: of.0.to_owned(),
            to: to.0.to_owned(),
            throughput_range: range(&ratios),
            throughput: median(ratios),
            p50_difference_ms: median(
                pairs()
                    .map(|(one, other)| one.p50_ms - other.p50_ms)
                    .collect(),
            ),
        }
    }
}

impl Report {
    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the report {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is no report of bench-saga", path.display()))
    }
}

/// Prints two reports side by side: loads that both have.
pub(crate) fn compare(before: &Path, after: &Path) -> anyhow::Result<()> {
    let (before, after) = (Report::read(before)?, Report::read(after)?);
    println!("measured apart: where the machine's speed drifts, trust --vary instead");
    for run in &after.runs {
        let Some(other) = before
            .runs
            .iter()
            .find(|other| other.load() == run.load() && other.variant == run.variant)
        else {
            continue;
        };
        println!(
            "{:<28} {:>14}: {:>7.0} to {:>7.0} sagas/s (× {:.3}), p50 {:.1} to {:.1} ms, p99 {:.1} to {:.1} ms",
            run.variant,
            run.load(),
            other.sagas_per_second,
            run.sagas_per_second,
            run.sagas_per_second / other.sagas_per_second.max(f64::MIN_POSITIVE),
            other.p50_ms,
            run.p50_ms,
            other.p99_ms,
            run.p99_ms
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repetition(sagas_per_second: f64, p50_ms: f64) -> Repetition {
        Repetition {
            sagas_per_second,
            p50_ms,
            p90_ms: 0.0,
            p99_ms: 0.0,
            max_ms: 0.0,
            created: 1,
            failed: 0,
            rejected: 0,
            usage: Usage::default(),
            hops: vec![],
            hops_sagas: 0,
        }
    }

    #[test]
    fn a_run_is_the_median_and_a_ratio_that_of_neighbours() {
        let slow = [
            repetition(100.0, 9.0),
            repetition(50.0, 20.0),
            repetition(200.0, 5.0),
        ];
        let fast = [
            repetition(200.0, 5.0),
            repetition(105.0, 10.0),
            repetition(390.0, 3.0),
        ];
        let run = Run::of("a", Pace::InFlight(8), &slow);
        assert_eq!(
            (run.sagas_per_second, run.p50_ms, run.created),
            (100.0, 9.0, 3)
        );
        assert_eq!(run.sagas_per_second_range, (50.0, 200.0));
        let ratio = Ratio::of(run.load(), ("b", &fast), ("a", &slow));
        assert!((ratio.throughput - 2.0).abs() < 1e-9, "{ratio:?}");
        assert!((ratio.p50_difference_ms + 4.0).abs() < 1e-9, "{ratio:?}");
    }

    #[test]
    fn a_report_survives_its_file() {
        let report = Report {
            began_at: "2026-01-01T00:00:00Z".into(),
            settings: Settings {
                seconds: 1,
                warm_up_seconds: 1,
                repeat: 1,
                mix: "80,10,10".into(),
                items: 1,
                ids: "Random".to_owned(),
                instances: 1,
                cores: 2,
                optimized: true,
            },
            runs: vec![Run::of("a", Pace::Rate(50), &[repetition(50.0, 9.5)])],
            ratios: vec![],
            rest: vec![],
            floor: None,
            violations: vec![],
        };
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
