//! How the checkouts go: rates, outcomes, times, where sagas stand, who is behind or away.

use std::collections::BTreeMap;
use std::time::Instant;

use axum::extract::State;
use flow::{Outcome, Step};
use maud::{Markup, html};
use operations::parse;
use operations::sagas::Standing;

use super::chart::{curve, number, seconds};
use crate::console::Shared;
use crate::fields::query;
use crate::layout::{self, View, time, wide};
use crate::sampling::{Counters, KEPT, Key, Open, Sight, Told, of_outcome, quantile};

/// How often the page is made anew.
const LIVE_SECONDS: u32 = 2;
/// The parts of the checkouts whose times are told.
const QUANTILES: &[(f64, &str)] = &[(0.5, "Half"), (0.95, "95 %"), (0.99, "99 %")];

pub(super) async fn page(State(console): State<Shared>) -> View {
    let sight = console.seen.now();
    let body = html! {
        h1 { "Overview" }
        (glance(&sight))
        (rates(&sight))
        (standing(&sight.standing))
        (brakes(&sight))
        (backlog(&sight))
        (ended(&sight))
        (instances(&sight))
    };
    View::new("Overview", body).live(LIVE_SECONDS)
}

/// What was found, or why nothing was.
fn told<T>(told: &Told<T>, show: impl FnOnce(&T) -> Markup) -> Markup {
    html! {
        @match told {
            None => p.quiet { "Not looked at yet." },
            Some(Err(why)) => p.notice { "Unreachable: " (why) },
            Some(Ok(found)) => (show(found)),
        }
    }
}

/// The numbers that say whether somebody should act.
fn glance(sight: &Sight) -> Markup {
    let sum = |of: &dyn Fn(&Standing) -> i64| {
        let standing = sight.standing.as_ref()?.as_ref().ok()?;
        Some(standing.iter().map(of).sum::<i64>())
    };
    let is_stuck = |one: &Standing| one.state == contracts::messages::SagaState::Stuck.as_str();
    let stuck = sum(&|one| if is_stuck(one) { one.sagas } else { 0 });
    let late = sum(&|one| one.late);
    let flying = sum(&|one| one.sagas);
    let letters = sight.letters.as_ref().and_then(|told| told.as_ref().ok());
    let closed = sight
        .participants
        .as_ref()
        .and_then(|told| told.as_ref().ok());
    let closed = closed.map(|all| {
        all.iter()
            .filter(|one| one.state.starts_with("CLOSED"))
            .count()
    });
    let letter_count = |open: &Open| match open.more {
        true => format!("{}+", open.letters),
        false => open.letters.to_string(),
    };
    let text = |number: Option<i64>| number.map(|number| number.to_string());
    html! {
        ul.glance aria-label="At a glance" {
            (tile("Stuck", text(stuck), stuck > Some(0), Some("/sagas?state=STUCK"), "sagas"))
            (tile("In flight", text(flying), false, Some("/sagas"), "sagas"))
            (tile("Timers late", text(late), late > Some(0), None, "by 10 s or more"))
            (tile(
                "Dead letters",
                letters.map(letter_count),
                letters.is_some_and(|open| open.letters > 0),
                Some("/letters"),
                "open",
            ))
            (tile(
                "Brakes closed",
                closed.map(|number| number.to_string()),
                closed > Some(0),
                Some("#brakes"),
                "participants",
            ))
        }
    }
}

fn tile(name: &str, value: Option<String>, is_bad: bool, href: Option<&str>, unit: &str) -> Markup {
    let content = html! {
        span.label { (name) } " "
        strong { (value.as_deref().unwrap_or("?")) } " "
        span.unit { @if value.is_some() { (unit) } @else { "not known" } }
    };
    html! {
        li.alarm[is_bad] {
            @match href {
                Some(href) => a href=(href) { (content) },
                None => div { (content) },
            }
        }
    }
}

fn rates(sight: &Sight) -> Markup {
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

/// Sagas by state and step, with the steps in the order of the flow.
fn standing(standing: &Told<Vec<Standing>>) -> Markup {
    html! {
        section aria-labelledby="standing" {
            h2 #standing { "Sagas by step" }
            (told(standing, |standing| step_table(standing)))
        }
    }
}

fn step_table(standing: &[Standing]) -> Markup {
    let mut counts: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for one in standing {
        let step = one.step.as_deref().unwrap_or_default();
        *counts.entry((one.state.as_str(), step)).or_default() += one.sagas;
    }
    let is_there = |state: &str| counts.keys().any(|(of, _)| *of == state);
    let states: Vec<&str> = parse::states()
        .map(|state| state.as_str())
        .filter(|state| is_there(state))
        .collect();
    let table = html! {
        table {
            caption { "Sagas that have not ended, by state and step" }
            thead { tr {
                th scope="col" { "Step" }
                @for state in &states { th.number scope="col" { (layout::state(state)) } }
            } }
            tbody { @for step in Step::ALL { tr {
                th scope="row" { (step) }
                @for state in &states {
                    td.number {
                        @match counts.get(&(*state, step.name())) {
                            Some(number) => a href={
                                "/sagas?" (query([("state", *state), ("step", step.name())]))
                            } { (number) },
                            None => span.quiet { "0" },
                        }
                    }
                }
            } } }
        }
    };
    html! {
        @if states.is_empty() {
            p { "No saga is in flight." }
        } @else {
            (wide("Sagas by step", &table))
        }
    }
}

fn brakes(sight: &Sight) -> Markup {
    html! {
        section aria-labelledby="brakes" {
            h2 #brakes { "Participants and their brakes" }
            (told(&sight.participants, |participants| {
                wide("Participants", &html! {
                    table.cards {
                        caption { "A brake that is closed holds checkouts back until its participant answers" }
                        thead { tr {
                            th scope="col" { "Participant" } th scope="col" { "Brake" }
                            th scope="col" { "Since" }
                            th.number scope="col" { "May pass a second" }
                            th.number scope="col" { "Unanswered" } th.number scope="col" { "Held" }
                        } }
                        tbody { @for one in participants { tr {
                            th scope="row" { (one.participant) }
                            td data-name="Brake" { (brake(&one.state)) }
                            td data-name="Since" { @if let Some(since) = one.since { (time(since)) } }
                            td.number data-name="May pass a second" {
                                @match one.permitted_per_second {
                                    Some(number) => (number),
                                    None => "any",
                                }
                            }
                            td.number data-name="Unanswered" { (one.commands_out) }
                            td.number data-name="Held" { (one.sagas_held) }
                        } } }
                    }
                })
            }))
        }
    }
}

fn brake(state: &str) -> Markup {
    let class = match state {
        "OPEN" => "good",
        "OFF" => "plain",
        closed if closed.starts_with("CLOSED") => "bad",
        _ => "warn",
    };
    html! { span class={ "mark " (class) } { (state) } }
}

fn backlog(sight: &Sight) -> Markup {
    html! {
        section aria-labelledby="backlog" {
            h2 #backlog { "Who has something to read" }
            (told(&sight.backlog, |backlog| {
                wide("Records to read", &html! {
                    table {
                        caption { "Records that services have still to read" }
                        thead { tr {
                            th scope="col" { "Service" } th scope="col" { "Topic" }
                            th.number scope="col" { "Unread" }
                        } }
                        tbody { @for one in backlog { tr {
                            th scope="row" { (one.service) } td { (one.topic) }
                            td.number {
                                @match (one.unread, &one.why) {
                                    (Some(unread), _) => (unread),
                                    (None, why) => span.notice {
                                        "unreachable: " (why.as_deref().unwrap_or("not known"))
                                    },
                                }
                            }
                        } } }
                    }
                })
            }))
        }
    }
}

fn ended(sight: &Sight) -> Markup {
    html! {
        section aria-labelledby="ended" {
            h2 #ended { "Checkouts that ended last" }
            (told(&sight.ended, |ended| html! {
                @if ended.is_empty() {
                    p { "None has ended yet." }
                } @else {
                    (wide("Checkouts that ended last", &html! {
                        table.cards {
                            caption { "The newest first" }
                            thead { tr {
                                th scope="col" { "Cart" } th scope="col" { "State" }
                                th scope="col" { "Ended" } th scope="col" { "Took" }
                                th scope="col" { "Why it failed" }
                            } }
                            tbody { @for one in ended { tr {
                                th scope="row" { (layout::cart(one.cart_id)) }
                                td data-name="State" { (layout::state(&one.state)) }
                                td data-name="Ended" { (time(one.updated_at)) }
                                td data-name="Took" {
                                    (layout::span(one.started_at, one.updated_at)
                                        .trim_start_matches('+'))
                                }
                                td data-name="Why it failed" { (one.failure.as_deref().unwrap_or_default()) }
                            } } }
                        }
                    }))
                }
            }))
        }
    }
}

fn instances(sight: &Sight) -> Markup {
    let table = html! {
        table.cards {
            caption { "The instances that were named to the console" }
            thead { tr {
                th scope="col" { "Service" } th scope="col" { "Address" }
                th scope="col" { "State" } th scope="col" { "Version" } th scope="col" { "Started" }
            } }
            tbody { @for seen in &sight.instances {
                @let about = seen.about.as_ref().and_then(|about| about.as_ref().ok());
                tr {
                    th scope="row" { (seen.instance.service) }
                    td data-name="Address" { (seen.instance.url.as_deref().unwrap_or_default()) }
                    td data-name="State" {
                        @match &seen.about {
                            None => span.quiet { "not looked at yet" },
                            Some(Ok(_)) => span.mark.good { "answers" },
                            Some(Err(why)) => {
                                span.mark.bad { "unreachable" } " " (why)
                            },
                        }
                    }
                    td data-name="Version" { (about.map(|about| about.version.as_str()).unwrap_or_default()) }
                    td data-name="Started" { @if let Some(since) = about.and_then(|about| about.since) { (time(since)) } }
                }
            } }
        }
    };
    html! {
        section aria-labelledby="services" {
            h2 #services { "Services" }
            (wide("Services", &table))
        }
    }
}
