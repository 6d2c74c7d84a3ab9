//! An explanation for people.

use std::fmt::Write;

use serde_json::Value;

use super::{Entry, Explanation, Record, Transition};
use crate::show::{BAD, FAINT, STRONG, WARN, ago, clean, clock, of_state, paint};

/// The longest content of a record that is shown, in characters; JSON has all.
const CONTENT_MAX_CHARS: usize = 400;

pub(super) fn text(explanation: &Explanation) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_all(&mut text, explanation);
    text
}

fn write_all(out: &mut String, explanation: &Explanation) -> std::fmt::Result {
    let Explanation {
        cart_id,
        asked_at: now,
        ..
    } = explanation;
    writeln!(out, "{}", paint(STRONG, format!("Cart {cart_id}")))?;
    match &explanation.state {
        Some(state) => {
            let step = explanation.step.as_deref();
            let step = step.map_or_else(String::new, |step| format!(" at {}", clean(step)));
            let since = explanation.since.map_or_else(String::new, |since| {
                format!(" since {} ({})", clock(since), ago(since, *now))
            });
            writeln!(
                out,
                "  {}{step}{since}",
                paint(of_state(state), clean(state))
            )?;
        }
        None => {
            let text = match explanation.orchestrator_answered {
                true => "no saga",
                false => "whether it has a saga is not known",
            };
            writeln!(out, "  {}", paint(WARN, text))?;
        }
    }
    if let Some(saga) = &explanation.saga {
        let progress = &saga.progress;
        writeln!(
            out,
            "  checkout {}, begun {} ({})",
            progress.checkout_id,
            clock(progress.started_at),
            ago(progress.started_at, *now)
        )?;
        if let Some(failure) = &progress.failure {
            writeln!(out, "  fails with {}: {}", failure.reason, failure.detail)?;
        }
        if let Some(note) = &progress.operator_note {
            writeln!(out, "  operator: {note}")?;
        }
    }
    if let Some(waits) = &explanation.waits_for {
        writeln!(
            out,
            "  waits for {} ({}) to answer {}, sent {}×, until {} ({}){}",
            waits.participant,
            waits.service,
            waits.command,
            waits.tries,
            clock(waits.until),
            ago(waits.until, *now),
            if waits.held {
                ", held by the brake"
            } else {
                ""
            }
        )?;
    }
    writeln!(out, "\n{}\n", explanation.next)?;
    for command in &explanation.commands {
        writeln!(out, "  {}", paint(STRONG, command))?;
    }
    if !explanation.commands.is_empty() {
        writeln!(out)?;
    }

    heading(out, "What happened")?;
    for entry in &explanation.timeline {
        match entry {
            Entry::Record(record) => write_record(out, record)?,
            Entry::Transition(transition) => write_transition(out, transition)?,
        }
    }
    heading(out, "Rows")?;
    for rows in &explanation.rows {
        if rows.rows.is_empty() {
            writeln!(out, "  {} {}: none", rows.service, rows.table)?;
        }
        for row in &rows.rows {
            writeln!(out, "  {} {}: {}", rows.service, rows.table, fields(row))?;
        }
    }
    heading(out, "Who has something to read")?;
    for lag in &explanation.lag {
        let unread = format!("{} unread", lag.unread);
        writeln!(
            out,
            "  {} reads {}/{}: {}{}",
            lag.service,
            lag.topic,
            lag.partition,
            match lag.unread {
                0 => unread,
                _ => paint(WARN, unread),
            },
            match (lag.position, lag.exact) {
                (Some(position), true) => format!(", is at {position} of {}", lag.end),
                (Some(position), false) => format!(", was at {position} of {} by Kafka", lag.end),
                (None, _) => ", has never said where it is".to_owned(),
            }
        )?;
    }
    for note in &explanation.notes {
        writeln!(out, "{} {note}", paint(WARN, "note:"))?;
    }
    writeln!(
        out,
        "{}",
        paint(FAINT, format!("{} records read", explanation.records_read))
    )
}

fn heading(out: &mut String, text: &str) -> std::fmt::Result {
    writeln!(out, "{}", paint(STRONG, text))
}

fn write_record(out: &mut String, record: &Record) -> std::fmt::Result {
    let at = record.at.map_or_else(|| "?".to_owned(), clock);
    writeln!(
        out,
        "  {at}  ▶ {}  {}",
        paint(STRONG, &record.record_type),
        paint(
            FAINT,
            format!("{}/{}/{}", record.topic, record.partition, record.offset)
        )
    )?;
    if let Some(remark) = &record.remark {
        writeln!(out, "      {}", paint(BAD, remark))?;
    }
    if let Some(content) = &record.content {
        writeln!(out, "      {}", fields(content))?;
    }
    if let Some(trace) = &record.trace_id {
        writeln!(out, "      {}", paint(FAINT, format!("trace {trace}")))?;
    }
    Ok(())
}

fn write_transition(out: &mut String, transition: &Transition) -> std::fmt::Result {
    let step = transition.step.as_deref().unwrap_or_default();
    let tries = match transition.tries {
        Some(tries) if tries > 1 => format!(", try {tries}"),
        _ => String::new(),
    };
    writeln!(
        out,
        "  {}  ● {}{}{} → {} {step}{tries}",
        clock(transition.at),
        if transition.by_record { "" } else { "timer: " },
        transition.outcome,
        match transition.reason.as_str() {
            "" => String::new(),
            reason => format!(" {reason}"),
        },
        paint(of_state(&transition.state), &transition.state),
    )?;
    if let Some(operator) = &transition.operator {
        writeln!(out, "      {operator}")?;
    }
    Ok(())
}

/// An object on one line, without what is null.
fn fields(value: &Value) -> String {
    let text = match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| match value {
                Value::String(text) => format!("{name}={text}"),
                other => format!("{name}={other}"),
            })
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    };
    let shown: String = clean(&text).chars().take(CONTENT_MAX_CHARS).collect();
    match text.chars().count() > CONTENT_MAX_CHARS {
        true => format!("{shown}…"),
        false => shown,
    }
}
