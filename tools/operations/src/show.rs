//! Text for people.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

/// What is looked for.
pub(crate) const STRONG: Style = Style::new().bold();
/// What can be passed over.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What should be seen.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// What is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// Text in a style.
pub(crate) fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Text that others wrote, without what moves a terminal's cursor.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// How a state looks.
pub(crate) fn of_state(state: &str) -> Style {
    match state {
        "COMPLETED" => GOOD,
        "STUCK" | "ABANDONED" => BAD,
        "IN_DOUBT" | "COMPENSATING" => WARN,
        _ => STRONG,
    }
}

/// How long a time lies back, or ahead, in one unit: "3 min ago".
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs();
    let span = span(seconds.unsigned_abs());
    match seconds {
        0.. => format!("{span} ago"),
        _ => format!("in {span}"),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Rows under their headings, columns as wide as what they hold. Cells may have
/// colours.
pub(crate) fn table(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let width = |text: &str| shown_width(text);
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.len()).collect();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            widths[column] = widths[column].max(width(cell));
        }
    }
    let line = |cells: Vec<String>| {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let pad = widths[column] - width(cell);
            line.push_str(cell);
            line.push_str(&" ".repeat(pad + 2));
        }
        format!("{}\n", line.trim_end())
    };
    let first = headings
        .iter()
        .map(|heading| paint(FAINT, heading))
        .collect();
    std::iter::once(line(first))
        .chain(rows.into_iter().map(line))
        .collect()
}

/// The characters of a text that a terminal shows.
fn shown_width(text: &str) -> usize {
    let mut shown = 0;
    let mut in_code = false;
    for c in text.chars() {
        match (in_code, c) {
            (false, '\x1b') => in_code = true,
            (false, _) => shown += 1,
            (true, 'm') => in_code = false,
            (true, _) => {}
        }
    }
    shown
}

/// A time of a day, with milliseconds.
pub fn clock(at: Timestamp) -> String {
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn colours_take_no_room_in_a_table() {
        let rows = vec![
            vec![paint(BAD, "a"), "b".to_owned()],
            vec!["aaaa".to_owned(), "b".to_owned()],
        ];
        let text = table(&["X", "Y"], rows);
        let plain: String = text.replace("\x1b[1m", "").replace("\x1b[31m", "");
        let plain = plain.replace("\x1b[0m", "").replace("\x1b[2m", "");
        assert_eq!(plain, "X     Y\na     b\naaaa  b\n");
    }

    #[test]
    fn a_time_is_told_in_one_unit() {
        let now = Timestamp::UNIX_EPOCH;
        for (seconds, text) in [
            (0, "0 s ago"),
            (119, "119 s ago"),
            (180, "3 min ago"),
            (7_200, "2 h ago"),
            (259_200, "3 days ago"),
            (-5, "in 5 s"),
        ] {
            let at = now - SignedDuration::from_secs(seconds);
            assert_eq!(ago(at, now), text);
        }
    }
}
