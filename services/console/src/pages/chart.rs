//! Small curves, as pictures in the page.

use maud::{Markup, html};

const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 48.0;
/// Room for the line's own width.
const EDGE: f64 = 2.0;

/// A curve of values, oldest first, with gaps; `what` says it in words for who cannot
/// see it.
pub(super) fn curve(values: &[Option<f64>], what: &str) -> Markup {
    let most = values.iter().flatten().copied().fold(0.0, f64::max);
    let scale = if most > 0.0 { most } else { 1.0 };
    let step = (WIDTH - 2.0 * EDGE) / (values.len().max(2) - 1) as f64;
    let mut path = String::new();
    let mut is_drawing = false;
    for (index, value) in values.iter().enumerate() {
        let Some(value) = value else {
            is_drawing = false;
            continue;
        };
        let x = EDGE + index as f64 * step;
        let y = HEIGHT - EDGE - value / scale * (HEIGHT - 2.0 * EDGE);
        let go = if is_drawing { 'L' } else { 'M' };
        // A point alone is a dot: a line of no length with round ends.
        let dot = if is_drawing { "" } else { "h0" };
        path.push_str(&format!("{go}{x:.1} {y:.1}{dot}"));
        is_drawing = true;
    }
    html! {
        svg.curve viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img"
            aria-label=(what) {
            line x1="0" x2=(WIDTH) y1=(HEIGHT - 1.0) y2=(HEIGHT - 1.0) {}
            @if !path.is_empty() {
                path d=(path) {}
            }
        }
    }
}

/// A number with as many digits as say something.
pub(super) fn number(value: f64) -> String {
    match value {
        value if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// A duration in seconds, in the unit that suits it.
pub(super) fn seconds(value: f64) -> String {
    match value {
        value if value < 1.0 => format!("{} ms", number((value * 1_000.0).round())),
        value => format!("{} s", number(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_gaps_where_nothing_is_known() {
        let drawn = curve(&[Some(0.0), Some(4.0), None, Some(2.0)], "orders").into_string();
        assert_eq!(drawn.matches('M').count(), 2, "{drawn}");
        assert_eq!(drawn.matches('L').count(), 1, "{drawn}");
        assert!(drawn.contains("aria-label=\"orders\""), "{drawn}");
        let empty = curve(&[None, None], "orders").into_string();
        assert!(!empty.contains("path"), "{empty}");
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.126, "0.13"),
            (12.34, "12.3"),
            (1_234.5, "1234"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(seconds(0.0042), "4 ms");
        assert_eq!(seconds(2.5), "2.50 s");
    }
}
