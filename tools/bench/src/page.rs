//! A report as a web page that needs nothing but itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::anyhow;
use plotters::prelude::*;

use crate::report::{Report, Run};

/// Of one picture, in pixels.
const SIZE: (u32, u32) = (640, 360);

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
        body += &picture(
            "Sagas a second",
            &lines(&closed, |run| run.sagas_per_second),
        )?;
        body += &picture("Latency p50, ms", &lines(&closed, |run| run.p50_ms))?;
        body += &picture("Latency p99, ms", &lines(&closed, |run| run.p99_ms))?;
    }
    // Writing to a string cannot fail.
    let _ = write!(
        body,
        "<h2>Figures</h2><pre>{}</pre><h2>Settings</h2><pre>{}</pre>",
        escape(&report.table()),
        escape(&serde_json::to_string_pretty(&report.settings)?)
    );
    Ok(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>bench-saga</title>\
         <style>body{{font:16px system-ui;max-width:80rem;margin:2rem auto;padding:0 1rem}}\
         pre{{overflow-x:auto}}figure{{display:inline-block;margin:1rem}}svg{{background:#fff}}</style>\
         <h1>bench-saga, {}</h1>{body}</html>\n",
        escape(&report.began_at)
    ))
}

/// The points of each variant: carts in flight and a figure.
type Lines = BTreeMap<String, Vec<(f64, f64)>>;

fn lines(runs: &[&Run], figure: fn(&Run) -> f64) -> Lines {
    let mut lines = Lines::new();
    for run in runs {
        let in_flight = f64::from(run.in_flight.unwrap_or_default());
        let line = lines.entry(run.variant.clone()).or_default();
        line.push((in_flight, figure(run)));
    }
    lines
}

fn picture(title: &str, lines: &Lines) -> anyhow::Result<String> {
    let points = || lines.values().flatten();
    let widest = points().map(|(x, _)| *x).fold(2.0, f64::max);
    let highest = points().map(|(_, y)| *y).fold(1.0, f64::max);
    let mut svg = String::new();
    {
        let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {title}: {error}");
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(10)
            .caption(title, ("sans-serif", 18))
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d((0.9..widest * 1.1).log_scale(), 0.0..highest * 1.1)
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .x_desc("carts in flight")
            .draw()
            .map_err(|error| failed(&error))?;
        for (number, (name, line)) in lines.iter().enumerate() {
            let color = Palette99::pick(number).to_rgba();
            chart
                .draw_series(
                    LineSeries::new(line.iter().copied(), color.stroke_width(2)).point_size(3),
                )
                .map_err(|error| failed(&error))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
        }
        chart
            .configure_series_labels()
            .border_style(BLACK)
            .draw()
            .map_err(|error| failed(&error))?;
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(format!("<figure>{svg}</figure>"))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
