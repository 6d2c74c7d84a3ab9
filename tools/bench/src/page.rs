//! A report as a web page that needs nothing but itself.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use anyhow::anyhow;
use plotters::prelude::*;

use crate::memory::Moment;
use crate::report::{Report, Run};
use crate::table;

/// Of one picture, in pixels.
const SIZE: (u32, u32) = (640, 360);
/// Of a bar, its text and the room for names, in pixels.
const BAR: u32 = 22;
const BAR_NAMES: u32 = 260;
const BAR_WIDTH: u32 = 700;
/// Memory over time is drawn where it was looked at so often.
const MOMENTS: usize = 3;

/// The page.
///
/// # Errors
/// When a picture cannot be drawn.
pub(crate) fn page(report: &Report) -> anyhow::Result<String> {
    let mut body = String::new();
    let closed: Vec<&Run> = report
        .runs
        .iter()
        .filter(|run| run.in_flight.is_some())
        .collect();
    if !closed.is_empty() {
        let mut draw = |title: &str, figure: fn(&Run) -> f64| -> anyhow::Result<()> {
            let axis = Axis::Carts;
            body += &picture(title, axis, &lines(&closed, figure))?;
            Ok(())
        };
        draw("Sagas a second", |run| run.sagas_per_second)?;
        draw("Latency p50, ms", |run| run.p50_ms)?;
        draw("Latency p99, ms", |run| run.p99_ms)?;
    }
    body += "<h2>Processor time of a saga, µs</h2>";
    body += &cpu(&report.runs)?;
    if report.runs.iter().any(|run| !run.hops.is_empty()) {
        body += "<h2>Where the time of one saga goes, ms</h2>\
                 <p>From its cart's publication until its outcome is read; the mean of the \
                 sagas that were followed, whose orders were created.</p>";
    }
    for run in &report.runs {
        body += &waterfall(run)?;
    }
    for run in &report.runs {
        if run.usage.memory.len() >= MOMENTS {
            let title = format!("Memory, MiB: {}, {}", run.variant, run.load());
            body += &picture(&title, Axis::Seconds, &memory(&run.usage.memory))?;
        }
    }
    // Writing to a string cannot fail.
    let _ = write!(
        body,
        "<h2>Figures</h2><pre>{}</pre><h2>Settings</h2><pre>{}</pre>",
        escape(&table::of(report)),
        escape(&serde_json::to_string_pretty(&report.settings)?)
    );
    Ok(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>bench-saga</title>\
         <style>body{{font:16px system-ui;max-width:80rem;margin:2rem auto;padding:0 1rem}}\
         pre{{overflow-x:auto}}figure{{display:inline-block;margin:1rem}}svg{{background:#fff}}\
         svg text{{font:13px system-ui;fill:#000}}</style>\
         <h1>bench-saga, {}</h1>{body}</html>\n",
        escape(&report.began_at)
    ))
}

/// The points of each line.
type Lines = BTreeMap<String, Vec<(f64, f64)>>;

/// What is on the horizontal axis.
#[derive(Clone, Copy, PartialEq)]
enum Axis {
    Carts,
    Seconds,
}

/// Of each variant: carts in flight and a figure.
fn lines(runs: &[&Run], figure: fn(&Run) -> f64) -> Lines {
    let mut lines = Lines::new();
    for run in runs {
        let in_flight = f64::from(run.in_flight.unwrap_or_default());
        let line = lines.entry(run.variant.clone()).or_default();
        line.push((in_flight, figure(run)));
    }
    lines
}

/// Of each process but the largest, which would flatten the others.
fn memory(moments: &[Moment]) -> Lines {
    let mut lines = Lines::new();
    for moment in moments {
        for (name, mib) in &moment.mib {
            if !["kafka", "registry"].contains(&name.as_str()) {
                let line = lines.entry(name.clone()).or_default();
                line.push((moment.seconds, *mib));
            }
        }
    }
    lines
}

fn picture(title: &str, axis: Axis, lines: &Lines) -> anyhow::Result<String> {
    let failed = |error: &dyn fmt::Display| anyhow!("cannot draw {title}: {error}");
    let points = || lines.values().flatten();
    let widest = points().map(|(x, _)| *x).fold(2.0, f64::max);
    let highest = points().map(|(_, y)| *y).fold(1.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area);
        chart
            .margin(10)
            .caption(title, ("sans-serif", 18))
            .x_label_area_size(30)
            .y_label_area_size(60);
        let height = 0.0..highest * 1.1;
        // The two scales are of different types.
        macro_rules! draw {
            ($width:expr, $name:expr) => {{
                let mut chart = chart
                    .build_cartesian_2d($width, height)
                    .map_err(|error| failed(&error))?;
                chart
                    .configure_mesh()
                    .x_desc($name)
                    .draw()
                    .map_err(|error| failed(&error))?;
                for (number, (name, line)) in lines.iter().enumerate() {
                    let color = Palette99::pick(number).to_rgba();
                    let line =
                        LineSeries::new(line.iter().copied(), color.stroke_width(2)).point_size(3);
                    chart
                        .draw_series(line)
                        .map_err(|error| failed(&error))?
                        .label(name)
                        .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
                }
                chart
                    .configure_series_labels()
                    .border_style(BLACK)
                    .draw()
                    .map_err(|error| failed(&error))?;
            }};
        }
        match axis {
            Axis::Carts => draw!((0.9..widest * 1.1).log_scale(), "carts in flight"),
            Axis::Seconds => draw!(0.0..widest, "seconds"),
        }
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(format!("<figure>{svg}</figure>"))
}

/// A color for each place where time goes, the same in all pictures.
fn color(place: &str) -> &'static str {
    match place {
        "kafka" => "#4e79a7",
        "postgres" => "#59a14f",
        "orchestrator" => "#e15759",
        "inventory" => "#f28e2b",
        "payment" => "#b07aa1",
        "order" => "#edc948",
        "registry" => "#bab0ac",
        _ => "#9c755f",
    }
}

/// One bar for each run, split by process.
fn cpu(runs: &[Run]) -> Result<String, fmt::Error> {
    let most = runs
        .iter()
        .map(|run| run.usage.cpu_us_per_saga())
        .fold(1.0, f64::max);
    let mut bars = Bars::new(runs.len());
    for (row, run) in runs.iter().enumerate() {
        bars.name(row, &format!("{}, {}", run.load(), run.variant))?;
        let mut from = 0.0;
        for (name, used) in &run.usage.processes {
            if name == "registry" {
                continue;
            }
            let width = used.cpu_us_per_saga / most;
            let what = format!("{name} {:.0} µs", used.cpu_us_per_saga);
            bars.bar(row, from, width, color(name), &what)?;
            from += width;
        }
        bars.value(row, from, &format!("{:.0}", run.usage.cpu_us_per_saga()))?;
    }
    let names = runs
        .iter()
        .flat_map(|run| run.usage.processes.keys())
        .filter(|name| *name != "registry");
    bars.end(&legend(names.map(String::as_str))?)
}

/// The hops of a run, each where the one before ended.
fn waterfall(run: &Run) -> Result<String, fmt::Error> {
    if run.hops.is_empty() {
        return Ok(String::new());
    }
    let all: f64 = run.hops.iter().map(|hop| hop.mean_ms).sum();
    let mut bars = Bars::new(run.hops.len());
    let mut from = 0.0;
    for (row, hop) in run.hops.iter().enumerate() {
        bars.name(row, &hop.what)?;
        let width = hop.mean_ms.max(0.0) / all.max(f64::MIN_POSITIVE);
        let what = format!(
            "{}: {:.2} ms, p50 {:.2}, p99 {:.2}",
            hop.what, hop.mean_ms, hop.p50_ms, hop.p99_ms
        );
        bars.bar(row, from, width, color(&hop.place), &what)?;
        bars.value(row, from + width, &format!("{:.2}", hop.mean_ms))?;
        from += width;
    }
    let title = format!(
        "<h3>{}, {}: {all:.1} ms</h3>",
        escape(&run.load()),
        escape(&run.variant)
    );
    let places = run.hops.iter().map(|hop| hop.place.as_str());
    Ok(title + &bars.end(&legend(places)?)?)
}

fn legend<'n>(names: impl Iterator<Item = &'n str>) -> Result<String, fmt::Error> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    let mut text = String::from("<p>");
    for name in names {
        write!(
            text,
            "<span style=\"background:{}\">&emsp;</span> {} &ensp;",
            color(name),
            escape(name)
        )?;
    }
    Ok(text + "</p>")
}

/// Horizontal bars, one below the other. Places and widths are parts of the whole width.
struct Bars(String);

impl Bars {
    fn new(rows: usize) -> Self {
        let height = u32::try_from(rows).unwrap_or(u32::MAX).saturating_mul(BAR);
        let width = BAR_NAMES + BAR_WIDTH + BAR_NAMES / 3;
        Self(format!(
            "<figure><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\">"
        ))
    }

    fn name(&mut self, row: usize, name: &str) -> fmt::Result {
        write!(
            self.0,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            BAR_NAMES - 8,
            baseline(row),
            escape(name)
        )
    }

    fn bar(&mut self, row: usize, from: f64, width: f64, color: &str, what: &str) -> fmt::Result {
        write!(
            self.0,
            "<rect x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\" fill=\"{color}\"><title>{}</title></rect>",
            across(from),
            baseline(row) - 14,
            width * f64::from(BAR_WIDTH),
            BAR - 4,
            escape(what)
        )
    }

    fn value(&mut self, row: usize, at: f64, value: &str) -> fmt::Result {
        write!(
            self.0,
            "<text x=\"{:.1}\" y=\"{}\">{}</text>",
            across(at) + 4.0,
            baseline(row),
            escape(value)
        )
    }

    fn end(self, below: &str) -> Result<String, fmt::Error> {
        Ok(self.0 + "</svg>" + below + "</figure>")
    }
}

fn across(part: f64) -> f64 {
    f64::from(BAR_NAMES) + part * f64::from(BAR_WIDTH)
}

fn baseline(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(0).saturating_mul(BAR) + 16
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hops::Hop;
    use crate::pace::Pace;
    use crate::usage::Used;

    #[test]
    fn hops_and_processor_time_are_drawn_to_scale() {
        let mut run = Run::of("a < b", Pace::InFlight(8), &[]);
        let hop = |what: &str, place: &str, mean_ms| Hop {
            what: what.into(),
            place: place.into(),
            mean_ms,
            p50_ms: mean_ms,
            p99_ms: mean_ms,
        };
        run.hops = vec![hop("x", "kafka", 1.0), hop("y", "order", 3.0)];
        let used = Used {
            cpu_us_per_saga: 70.0,
            ..Used::default()
        };
        run.usage.processes = [("kafka", used), ("order", used), ("registry", used)]
            .map(|(name, used)| (name.to_owned(), used))
            .into();
        let hops = waterfall(&run).unwrap();
        assert!(
            hops.contains("x=\"435.0\" y=\"24\" width=\"525.0\""),
            "{hops}"
        );
        assert!(hops.contains("a &lt; b"), "{hops}");
        let cpu = cpu(std::slice::from_ref(&run)).unwrap();
        assert_eq!(cpu.matches("width=\"350.0\"").count(), 2, "{cpu}");
        assert!(!cpu.contains("registry"), "{cpu}");
    }

    #[test]
    fn the_largest_processes_do_not_flatten_the_others() {
        let moment = |seconds| Moment {
            seconds,
            mib: [("kafka".to_owned(), 600.0), ("order".to_owned(), 20.0)].into(),
        };
        let lines = memory(&[moment(0.0), moment(10.0)]);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines["order"], [(0.0, 20.0), (10.0, 20.0)]);
    }
}
