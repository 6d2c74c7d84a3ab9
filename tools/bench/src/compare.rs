//! Two reports side by side.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value};

use crate::report::{Report, Run};

/// The setting that two reports are compared for: it may differ.
const REVISION: &str = "revision";

/// Prints what differs between two reports.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn print(before: &Path, after: &Path) -> anyhow::Result<()> {
    print!("{}", text(&read(before)?, &read(after)?)?);
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the report {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is no report of bench-saga", path.display()))
}

fn text(before: &Report, after: &Report) -> anyhow::Result<String> {
    let mut text = String::new();
    let settings = |report: &Report| -> anyhow::Result<Map<String, Value>> {
        let value = serde_json::to_value(&report.settings)?;
        Ok(value.as_object().cloned().unwrap_or_default())
    };
    let (old, new) = (settings(before)?, settings(after)?);
    let shown = |value: &Value| match value {
        Value::Null => "not recorded".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let pair = |name: &str| (shown(&old[name]), shown(&new[name]));
    let (was, is) = pair(REVISION);
    writeln!(
        text,
        "revision {was}, {} to {is}, {}",
        before.began_at, after.began_at
    )?;
    let names = new.keys().filter(|name| *name != REVISION);
    let differ: Vec<_> = names.filter(|name| old[*name] != new[*name]).collect();
    if !differ.is_empty() {
        writeln!(
            text,
            "NOT ALIKE: what follows compares settings, not only revisions"
        )?;
        for name in differ {
            let (was, is) = pair(name);
            writeln!(text, "  {name}: {was} against {is}")?;
        }
    }
    writeln!(
        text,
        "measured apart: where the machine's speed drifts, trust --vary and --pair instead"
    )?;
    let same = |run: &Run, other: &Run| run.load() == other.load() && run.variant == other.variant;
    for run in &after.runs {
        let Some(other) = before.runs.iter().find(|other| same(run, other)) else {
            continue;
        };
        writeln!(
            text,
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
        )?;
    }
    for (which, runs, others) in [
        ("first", &before.runs, &after.runs),
        ("second", &after.runs, &before.runs),
    ] {
        for run in runs
            .iter()
            .filter(|run| !others.iter().any(|other| same(run, other)))
        {
            writeln!(
                text,
                "{:<28} {:>14}: only in the {which} report: {:.0} sagas/s, p50 {:.1} ms",
                run.variant,
                run.load(),
                run.sagas_per_second,
                run.p50_ms
            )?;
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pace::Pace;
    use crate::report::tests::report;

    #[test]
    fn loads_that_both_have_are_compared_and_the_others_named() {
        let before = report(&[
            (Pace::InFlight(1), 100.0, 8.0),
            (Pace::InFlight(64), 900.0, 50.0),
        ]);
        let mut after = report(&[
            (Pace::InFlight(1), 150.0, 6.0),
            (Pace::Rate(500), 500.0, 9.0),
        ]);
        after.settings.revision = Some("0123456789ab+dirty".into());
        let text = text(&before, &after).unwrap();
        for part in [
            "revision 2fe0826b81c0, 2026-01-01T00:00:00Z to 0123456789ab+dirty",
            "100 to     150 sagas/s (× 1.500), p50 8.0 to 6.0 ms",
            "64 in flight: only in the first report: 900 sagas/s",
            "500/s: only in the second report: 500 sagas/s",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("NOT ALIKE"), "{text}");
    }

    #[test]
    fn settings_that_differ_are_told_loudly() {
        let before = report(&[]);
        let mut after = report(&[]);
        after.settings.partitions = Some(12);
        after.settings.delivery = None;
        after.settings.mix = "100,0,0".into();
        let text = text(&before, &after).unwrap();
        for part in [
            "NOT ALIKE",
            "  partitions: 4 against 12\n",
            "  delivery: exactly-once against not recorded\n",
            "  mix: 80,10,10 against 100,0,0\n",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("instances"), "{text}");
    }

    #[test]
    fn a_report_of_an_older_version_is_read() {
        let mut value = serde_json::to_value(report(&[])).unwrap();
        let settings = value["settings"].as_object_mut().unwrap();
        for name in [
            "revision",
            "partitions",
            "delivery",
            "preload",
            "broker_warm_up_seconds",
        ] {
            settings.remove(name).unwrap();
        }
        let old: Report = serde_json::from_value(value).unwrap();
        let text = text(&old, &report(&[])).unwrap();
        assert!(
            text.contains("partitions: not recorded against 4"),
            "{text}"
        );
    }
}
