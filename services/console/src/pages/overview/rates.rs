//! Checkouts a second, what came of them, and how long they took.

use std::time::Instant;

use flow::Outcome;
use maud::{Markup, html};

use super::as_of;
use crate::layout::wide;
use crate::pages::chart::{curve, number, seconds};
use crate::sampling::{Counted, Counters, KEPT, Key, Sight, of_outcome, quantile};

/// The parts of the checkouts whose times are told.
const QUANTILES: &[(f64, &str)] = &[(0.5, "Half"), (0.95, "95 %"), (0.99, "99 %")];

pub(super) fn rates(sight: &Sight) -> Markup {
    let now = Instant::now();
    let outcomes = [
        ("Begun", Outcome::Started.label()),
        ("Ordered", Outcome::Completed.label()),
        (
            "Failed",
            Outcome::Failed(contracts::messages::FailureReason::Unknown).label(),
        ),
    ];
    let minute = sight.counts.last_minute(now);
    let total = sight.counts.total();
    html! {
        section aria-labelledby="rates" {
            h2 #rates { "Checkouts" }
            @if let Some(look) = &sight.counted {
                p { (as_of(&sight.counted)) @if let Ok(counted) = look.found { (missing(counted)) } }
            }
            ul.rates {
                @for (name, outcome) in outcomes {
                    @let rate = minute.as_ref().map(|(counters, seen)| {
                        of_outcome(counters, outcome) / seen.as_secs_f64()
                    });
                    @let rate = rate.map_or_else(|| "?".to_owned(), number);
                    li {
                        span.label { (name) } " "
                        strong { (rate) } " " span.unit { "a second, over the last minute" }
                        (curve(
                            &sight.counts.curve(outcome, now),
                            &format!("{name} in the last {} minutes", KEPT.as_secs() / 60),
                        ))
                    }
                }
            }
            (times(minute.as_ref().map(|(counters, _)| counters)))
            (outcome_table(minute.as_ref().map(|(counters, _)| counters), &total))
        }
    }
}

/// Whose numbers are older than that.
fn missing(counted: Counted) -> Markup {
    let Counted { told, all } = counted;
    html! {
        @if told < all {
            ": " (told) " of " (all) " orchestrators answered, and of the others the last numbers \
              are shown that they gave"
        }
    }
}

fn times(minute: Option<&Counters>) -> Markup {
    let known = minute
        .and_then(|counters| quantile(counters, 1.0))
        .is_some();
    html! {
        h3 #times { "How long they took" }
        @if let (Some(counters), true) = (minute, known) {
            dl.pairs aria-labelledby="times" {
                @for (part, name) in QUANTILES {
                    @if let Some(value) = quantile(counters, *part) {
                        div { dt { (name) " within" } dd { (seconds(value)) } }
                    }
                }
            }
            p.quiet { "Those that ended in the last minute, from the request to the outcome." }
        } @else {
            p.quiet { "None ended in the last minute." }
        }
    }
}

fn outcome_table(minute: Option<&Counters>, total: &Counters) -> Markup {
    let minute = minute.cloned().unwrap_or_default();
    let rows: Vec<(&str, &str, f64, f64)> = total
        .iter()
        .filter_map(|(key, total)| match key {
            Key::Transition(outcome, reason) => {
                let recent = minute.get(key).copied().unwrap_or_default();
                Some((outcome.as_str(), reason.as_str(), recent, *total))
            }
            Key::Within(_) => None,
        })
        .collect();
    let table = html! {
        table {
            caption { "What happened to sagas" }
            thead { tr {
                th scope="col" { "Outcome, and its step or reason" }
                th.number scope="col" { "Last minute" }
                th.number scope="col" { "Since start" }
            } }
            tbody { @for (outcome, reason, recent, total) in &rows { tr {
                th scope="row" {
                    (outcome.replace('_', " ")) " " span.reason { (reason) }
                }
                td.number { (number(*recent)) } td.number { (number(*total)) }
            } } }
        }
    };
    html! {
        @if rows.is_empty() {
            p.quiet { "Nothing was counted yet, or no orchestrator has told." }
        } @else {
            (wide("What happened to sagas", &table))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_for_parts_of_the_checkouts() {
        let minute = Counters::from([
            (Key::Within(100_000), 50.0),
            (Key::Within(500_000), 100.0),
            (Key::Within(u64::MAX), 100.0),
        ]);
        let shown = times(Some(&minute)).into_string();
        for text in [
            "<dt>Half within</dt><dd>100 ms</dd>",
            "<dt>95 % within</dt><dd>460 ms</dd>",
            "<dt>99 % within</dt><dd>492 ms</dd>",
        ] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
        assert!(!shown.contains("None ended"), "{shown}");
    }

    #[test]
    fn where_none_ended_no_time_is_told() {
        let nothing = Counters::from([(Key::Within(500_000), 0.0), (Key::Within(u64::MAX), 0.0)]);
        for minute in [None, Some(&nothing)] {
            let shown = times(minute).into_string();
            assert!(shown.contains("None ended in the last minute"), "{shown}");
            assert!(!shown.contains("<dt>"), "{shown}");
        }
    }
}
