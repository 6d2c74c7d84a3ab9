//! Figures.

use serde::{Deserialize, Serialize};

use crate::driver::Sample;
use crate::floor::{Floor, Least};
use crate::hops::Hop;
use crate::pace::Pace;
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

/// What was asked for, and of which machine. What an older report does not have is
/// absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The commit, with `+dirty` where the working tree had other content.
    #[serde(default)]
    pub(crate) revision: Option<String>,
    pub(crate) seconds: u64,
    pub(crate) warm_up_seconds: u64,
    /// Before anything was measured.
    #[serde(default)]
    pub(crate) broker_warm_up_seconds: Option<u64>,
    pub(crate) repeat: u32,
    pub(crate) mix: String,
    pub(crate) items: u32,
    /// The kind of UUIDs of carts and events.
    #[serde(default)]
    pub(crate) ids: String,
    pub(crate) instances: u16,
    /// Of each topic.
    #[serde(default)]
    pub(crate) partitions: Option<i32>,
    /// How the public topics were written.
    #[serde(default)]
    pub(crate) delivery: Option<String>,
    /// Finished sagas that were there before.
    #[serde(default)]
    pub(crate) preload: Option<u64>,
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

#[cfg(test)]
pub(crate) mod tests {
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

    /// A report of runs that have but a load, a throughput and a latency.
    pub(crate) fn report(runs: &[(Pace, f64, f64)]) -> Report {
        Report {
            began_at: "2026-01-01T00:00:00Z".into(),
            settings: Settings {
                revision: Some("2fe0826b81c0".into()),
                seconds: 1,
                warm_up_seconds: 1,
                broker_warm_up_seconds: Some(30),
                repeat: 1,
                mix: "80,10,10".into(),
                items: 1,
                ids: "Random".to_owned(),
                instances: 1,
                partitions: Some(4),
                delivery: Some("exactly-once".into()),
                preload: Some(0),
                cores: 2,
                optimized: true,
            },
            runs: runs
                .iter()
                .map(|(pace, throughput, p50_ms)| {
                    Run::of("a", *pace, &[repetition(*throughput, *p50_ms)])
                })
                .collect(),
            ratios: vec![],
            rest: vec![],
            floor: None,
            violations: vec![],
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
        assert_eq!((ratio.of.as_str(), ratio.to.as_str()), ("b", "a"));
        // 2, 2.1 and 1.95: the machine drifted fourfold, the ratio did not.
        let (low, high) = ratio.throughput_range;
        for (is, should) in [
            (ratio.throughput, 2.0),
            (low, 1.95),
            (high, 2.1),
            (ratio.p50_difference_ms, -4.0),
        ] {
            assert!((is - should).abs() < 1e-9, "{should}: {ratio:?}");
        }
    }

    #[test]
    fn a_ratio_needs_both_neighbours() {
        let one = [repetition(10.0, 1.0), repetition(30.0, 1.0)];
        let other = [repetition(10.0, 1.0)];
        let ratio = Ratio::of("1/s".into(), ("a", &one), ("b", &other));
        assert!((ratio.throughput - 1.0).abs() < 1e-9, "{ratio:?}");
        // Of an even number the lower of the two in the middle.
        let two = [repetition(10.0, 1.0), repetition(10.0, 1.0)];
        let ratio = Ratio::of("1/s".into(), ("a", &one), ("b", &two));
        assert!((ratio.throughput - 1.0).abs() < 1e-9, "{ratio:?}");
        let ratio = Ratio::of("1/s".into(), ("a", &[]), ("b", &[]));
        assert_eq!(
            (ratio.throughput, ratio.throughput_range),
            (0.0, (0.0, 0.0))
        );
    }

    #[test]
    fn a_report_survives_its_file() {
        let report = report(&[(Pace::Rate(50), 50.0, 9.5)]);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
