//! Lists of the overview: sagas by step, who has something to read, what ended last, and
//! which service answers.

use std::collections::BTreeMap;

use flow::Step;
use maud::{Markup, html};
use operations::parse;
use operations::sagas::Standing;

use super::{as_of, known, told};
use crate::fields::query;
use crate::layout::{self, time, wide};
use crate::sampling::Sight;

/// Sagas by state and step, with the steps in the order of the flow.
pub(super) fn standing(sight: &Sight) -> Markup {
    html! {
        section aria-labelledby="standing" {
            h2 #standing { "Sagas by step" }
            (told(&sight.standing, |standing| step_table(standing)))
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

pub(super) fn backlog(sight: &Sight) -> Markup {
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

pub(super) fn ended(sight: &Sight) -> Markup {
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
                                td data-name="Ended" {
                                    @if let Some(at) = one.updated_at { (time(at)) }
                                }
                                td data-name="Took" {
                                    @if let (Some(from), Some(to)) = (one.started_at, one.updated_at) {
                                        (layout::span(from, to).trim_start_matches('+'))
                                    }
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

pub(super) fn instances(sight: &Sight) -> Markup {
    let table = html! {
        table.cards {
            caption { "The instances that were named to the console" }
            thead { tr {
                th scope="col" { "Service" } th scope="col" { "Address" }
                th scope="col" { "State" } th scope="col" { "Version" } th scope="col" { "Started" }
            } }
            tbody { @for seen in &sight.instances {
                @let about = known(&seen.about);
                tr {
                    th scope="row" { (seen.instance.service) }
                    td data-name="Address" { (seen.instance.url.as_deref().unwrap_or_default()) }
                    td data-name="State" {
                        @match seen.about.as_ref().map(|look| &look.found) {
                            None => span.quiet { "not looked at yet" },
                            Some(Ok(_)) => span.mark.good { "answers" },
                            Some(Err(why)) => {
                                span.mark.bad { "unreachable" } " " (why)
                            },
                        }
                        " " (as_of(&seen.about))
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
