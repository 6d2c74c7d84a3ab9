//! Counters of all instances, and what they rose by in the last minutes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::prometheus::Sample;

/// What the orchestrator counts: what happened to sagas, by outcome and reason.
const TRANSITIONS: &str = "checkout_transitions_total";
/// How long checkouts took: a histogram.
const DURATIONS: &str = "checkout_duration_seconds_bucket";

/// How far back rates are told, and the time that a curve shows.
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const KEPT: Duration = Duration::from_secs(300);
/// Points of a curve.
pub(crate) const POINTS: usize = 60;

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Transitions of this outcome and reason.
    Transition(String, String),
    /// Checkouts that took no longer than so many microseconds; `u64::MAX` for all.
    Within(u64),
}

impl Key {
    fn of(sample: &Sample) -> Option<Self> {
        match sample.name.as_str() {
            TRANSITIONS => Some(Self::Transition(
                sample.label("outcome").to_owned(),
                sample.label("reason").to_owned(),
            )),
            DURATIONS => match sample.label("le") {
                "+Inf" => Some(Self::Within(u64::MAX)),
                // Buckets are whole numbers of microseconds, and few.
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                le => Some(Self::Within((le.parse::<f64>().ok()? * 1e6).round() as u64)),
            },
            _ => None,
        }
    }
}

/// The counters of one instance, or of all.
pub(crate) type Counters = BTreeMap<Key, f64>;

/// The counters that an instance exposes; those that differ in other labels are added up.
pub(super) fn counters(samples: &[Sample]) -> Counters {
    let mut counters = Counters::new();
    for sample in samples {
        if let Some(key) = Key::of(sample) {
            *counters.entry(key).or_default() += sample.value;
        }
    }
    counters
}

/// What counters rose by since they were read before. One that is smaller now began anew.
fn rise(before: &Counters, now: &Counters) -> Counters {
    let began_anew = now
        .iter()
        .any(|(key, value)| before.get(key).is_some_and(|before| value < before));
    now.iter()
        .map(|(key, value)| {
            let before = match began_anew {
                true => 0.0,
                false => before.get(key).copied().unwrap_or_default(),
            };
            (key.clone(), value - before)
        })
        .collect()
}

/// What happened between two readings.
#[derive(Clone, Debug)]
struct Tick {
    at: Instant,
    took: Duration,
    rise: Counters,
}

/// The readings of the last minutes, and the sums since the instances began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    last: BTreeMap<String, Counters>,
    last_at: Option<Instant>,
    ticks: VecDeque<Tick>,
}

impl Counts {
    /// Adds a reading of the instances that answered, by their addresses.
    pub(super) fn add(&mut self, read: BTreeMap<String, Counters>, at: Instant) {
        let mut sum = Counters::new();
        let mut compared = false;
        for (instance, now) in read {
            if let Some(before) = self.last.get(&instance) {
                compared = true;
                for (key, by) in rise(before, &now) {
                    *sum.entry(key).or_default() += by;
                }
            }
            self.last.insert(instance, now);
        }
        if let Some(last_at) = self.last_at
            && compared
        {
            let took = at.saturating_duration_since(last_at);
            self.ticks.push_back(Tick {
                at,
                took,
                rise: sum,
            });
        }
        self.last_at = Some(at);
        while self
            .ticks
            .front()
            .is_some_and(|tick| at.saturating_duration_since(tick.at) > KEPT)
        {
            self.ticks.pop_front();
        }
    }

    /// All that was counted since the instances that run began, as far as they answered.
    pub(crate) fn total(&self) -> Counters {
        let mut total = Counters::new();
        for (key, value) in self.last.values().flatten() {
            *total.entry(key.clone()).or_default() += value;
        }
        total
    }

    /// What happened in the last minute, and how much of the minute was seen; `None`
    /// where nothing was.
    pub(crate) fn last_minute(&self, now: Instant) -> Option<(Counters, Duration)> {
        let mut sum = Counters::new();
        let mut seen = Duration::ZERO;
        let recent = |tick: &&Tick| now.saturating_duration_since(tick.at) < MINUTE;
        for tick in self.ticks.iter().filter(recent) {
            seen += tick.took;
            for (key, by) in &tick.rise {
                *sum.entry(key.clone()).or_default() += by;
            }
        }
        (!seen.is_zero()).then_some((sum, seen))
    }

    /// The rate of an outcome in the last minutes, per second, oldest first; gaps where
    /// nothing was seen.
    pub(crate) fn curve(&self, outcome: &str, now: Instant) -> Vec<Option<f64>> {
        let mut risen = vec![(0.0, 0.0); POINTS];
        for tick in &self.ticks {
            let ago = now.saturating_duration_since(tick.at).as_secs_f64();
            let part = ago / KEPT.as_secs_f64() * POINTS as f64;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let Some(point) = (POINTS - 1).checked_sub(part as usize) else {
                continue;
            };
            risen[point].0 += of_outcome(&tick.rise, outcome);
            risen[point].1 += tick.took.as_secs_f64();
        }
        let rate = |(by, seconds): (f64, f64)| (seconds > 0.0).then(|| by / seconds);
        risen.into_iter().map(rate).collect()
    }
}

/// How much of these was of an outcome, whatever its reason.
pub(crate) fn of_outcome(counters: &Counters, outcome: &str) -> f64 {
    let of = counters
        .iter()
        .filter(|(key, _)| matches!(key, Key::Transition(of, _) if of == outcome));
    of.map(|(_, value)| value).sum()
}

/// The time within which this part of the checkouts ended, in seconds, interpolated
/// between the bounds of its bucket; `None` where none ended. Beyond the last bound it is
/// that bound.
pub(crate) fn quantile(counters: &Counters, part: f64) -> Option<f64> {
    let buckets: Vec<(u64, f64)> = counters
        .iter()
        .filter_map(|(key, value)| match key {
            Key::Within(micros) => Some((*micros, *value)),
            Key::Transition(..) => None,
        })
        .collect();
    let all = buckets.last().map(|(_, count)| *count)?;
    if all <= 0.0 {
        return None;
    }
    let wanted = part * all;
    let (mut low, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if bound == u64::MAX {
            return Some(low);
        }
        let bound = bound as f64 / 1e6;
        if count >= wanted {
            let share = match count - below {
                inside if inside > 0.0 => (wanted - below) / inside,
                _ => 1.0,
            };
            return Some(low + (bound - low) * share);
        }
        (low, below) = (bound, count);
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::prometheus::samples;

    fn read(completed: f64) -> Counters {
        let text = format!(
            "checkout_transitions_total{{outcome=\"completed\",reason=\"\"}} {completed}\n\
             checkout_transitions_total{{outcome=\"failed\",reason=\"OUT_OF_STOCK\"}} 1\n\
             other_total 9\n"
        );
        counters(&samples(&text).collect::<Vec<_>>())
    }

    fn add(counts: &mut Counts, instances: &[(&str, f64)], at: Instant) {
        let read = instances
            .iter()
            .map(|(name, completed)| ((*name).to_owned(), read(*completed)));
        counts.add(read.collect(), at);
    }

    #[test]
    fn rates_are_of_all_instances_and_survive_a_restart() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut counts = Counts::default();
        assert!(counts.last_minute(begin).is_none());
        add(&mut counts, &[("a", 100.0), ("b", 50.0)], at(0));
        assert!(
            counts.last_minute(at(0)).is_none(),
            "there is nothing to compare with"
        );
        assert_eq!(of_outcome(&counts.total(), "completed"), 150.0);

        add(&mut counts, &[("a", 110.0), ("b", 55.0)], at(10));
        // One began anew and has done 4 since; the other does not answer.
        add(&mut counts, &[("a", 4.0)], at(20));
        let (minute, seen) = counts.last_minute(at(20)).unwrap();
        assert_eq!(seen, Duration::from_secs(20));
        assert_eq!(of_outcome(&minute, "completed"), 19.0);
        // Nothing answers, so nothing is known of that time.
        add(&mut counts, &[], at(30));
        let (_, seen) = counts.last_minute(at(30)).unwrap();
        assert_eq!(seen, Duration::from_secs(20));
        assert!(counts.last_minute(at(81)).is_none());

        let curve = counts.curve("completed", at(30));
        assert_eq!(curve.len(), POINTS);
        assert_eq!(curve.iter().flatten().count(), 2, "{curve:?}");
        assert!(curve.contains(&Some(1.5)), "{curve:?}");
        add(&mut counts, &[("a", 4.0)], at(600));
        assert_eq!(counts.ticks.len(), 1, "old ones are forgotten");
    }

    #[test]
    fn times_are_interpolated_in_their_bucket() {
        let text = "checkout_duration_seconds_bucket{outcome=\"completed\",le=\"0.1\"} 50\n\
                    checkout_duration_seconds_bucket{outcome=\"failed\",le=\"0.1\"} 40\n\
                    checkout_duration_seconds_bucket{outcome=\"completed\",le=\"0.5\"} 60\n\
                    checkout_duration_seconds_bucket{outcome=\"failed\",le=\"0.5\"} 40\n\
                    checkout_duration_seconds_bucket{outcome=\"completed\",le=\"+Inf\"} 60\n\
                    checkout_duration_seconds_bucket{outcome=\"failed\",le=\"+Inf\"} 60\n";
        let counters = counters(&samples(text).collect::<Vec<_>>());
        let near = |part, seconds: f64| {
            let found = quantile(&counters, part).unwrap();
            assert!((found - seconds).abs() < 1e-9, "{part}: {found}");
        };
        near(0.5, 0.1 * 60.0 / 90.0);
        near(0.8, 0.1 + 0.4 * 0.6);
        near(0.99, 0.5);
        assert_eq!(quantile(&Counters::new(), 0.5), None);
    }
}
