//! Memory over the time of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::processes::Processes;

/// A slope of a shorter time says nothing.
const SLOPE_FROM_SECONDS: f64 = 60.0;

/// Resident memory at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Since the measured time began.
    pub(crate) seconds: f64,
    /// Of the largest process of each kind, in MiB.
    pub(crate) mib: BTreeMap<String, f64>,
}

impl Moment {
    pub(crate) fn new(seconds: f64, processes: &Processes) -> Self {
        let mib = processes
            .iter()
            .map(|(name, seen)| (name.clone(), seen.memory_mib));
        Self {
            seconds,
            mib: mib.collect(),
        }
    }
}

/// How the memory of one kind of process went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Course {
    pub(crate) first_mib: f64,
    pub(crate) last_mib: f64,
    pub(crate) max_mib: f64,
    /// By least squares; `None` where the time is too short to tell.
    pub(crate) mib_per_minute: Option<f64>,
}

impl Course {
    /// Of one kind over these moments; `None` where it was not there.
    pub(crate) fn of(name: &str, moments: &[Moment]) -> Option<Self> {
        let points: Vec<(f64, f64)> = moments
            .iter()
            .filter_map(|moment| Some((moment.seconds, *moment.mib.get(name)?)))
            .collect();
        let (first, last) = (points.first()?, points.last()?);
        let long = last.0 - first.0 >= SLOPE_FROM_SECONDS;
        Some(Self {
            first_mib: first.1,
            last_mib: last.1,
            max_mib: points.iter().map(|(_, mib)| *mib).fold(0.0, f64::max),
            mib_per_minute: long.then(|| slope(&points) * 60.0),
        })
    }
}

/// Of the line that is nearest to all points.
fn slope(points: &[(f64, f64)]) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a few points")]
    let count = points.len().max(1) as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let with: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let both: f64 = points
        .iter()
        .map(|point| (point.0 - x) * (point.1 - y))
        .sum();
    if with > 0.0 { both / with } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(of: &[(f64, f64)]) -> Vec<Moment> {
        of.iter()
            .map(|(seconds, mib)| Moment {
                seconds: *seconds,
                mib: [("order".to_owned(), *mib)].into(),
            })
            .collect()
    }

    #[test]
    fn growth_is_told_by_the_minute() {
        let course = Course::of(
            "order",
            &moments(&[(0.0, 20.0), (30.0, 21.5), (60.0, 21.0), (90.0, 23.0)]),
        )
        .unwrap();
        assert_eq!(
            (course.first_mib, course.last_mib, course.max_mib),
            (20.0, 23.0, 23.0)
        );
        // Means are 45 s and 21.375 MiB: 127.5 MiB·s over 4,500 s².
        let per_minute = course.mib_per_minute.unwrap();
        assert!((per_minute - 1.7).abs() < 1e-9, "{per_minute}");
    }

    #[test]
    fn a_short_time_and_a_stranger_have_no_slope() {
        let short = moments(&[(0.0, 20.0), (8.0, 30.0)]);
        assert_eq!(Course::of("order", &short).unwrap().mib_per_minute, None);
        assert_eq!(Course::of("payment", &short), None);
    }
}
