//! One cart: the sentence that explains it, its hops as a picture and a table, its
//! records decoded, its rows, who lags, and what can be done.

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use operations::explain;
use operations::explain::{Entry, Explanation, Record, Transition, WaitsFor};
use serde_json::Value;

use super::hops;
use super::remedies::remedies;
use super::sagas::cart_id;
use crate::console::Shared;
use crate::fields::Fields;
use crate::layout::{self, View, clock, json, time, wide};
use crate::problem::Problem;

/// How often the page is made anew while the saga has not ended.
const LIVE_SECONDS: u32 = 3;

/// Leads to the page of the cart whose id was typed.
pub(super) async fn find(RawQuery(text): RawQuery) -> Result<Redirect, Problem> {
    let fields = Fields::parse(&text.unwrap_or_default());
    let id = fields.get("id").ok_or_else(|| {
        Problem::bad("Type the id of a cart into the field above, such as 6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e.")
    })?;
    Ok(Redirect::to(&format!("/carts/{}", cart_id(id)?)))
}

pub(super) async fn page(
    State(console): State<Shared>,
    Path(id): Path<String>,
    RawQuery(text): RawQuery,
) -> Result<Response, Problem> {
    let cart = cart_id(&id)?;
    let explanation = console
        .ask(async move |console| {
            explain(&console.target, cart, console.limits.explanation()).await
        })
        .await?;
    let all = Fields::parse(&text.unwrap_or_default())
        .get("all")
        .is_some();
    let body = content(&explanation, &console, all);
    let view = View::new(format!("Cart {cart}"), body);
    // What has ended does not change any more, but for what operators do.
    let view = match &explanation.saga {
        Some(saga) if saga.progress.state.is_terminal() => view,
        _ => view.live(LIVE_SECONDS),
    };
    // Also where nothing is known the page tells what was looked at.
    let is_known = explanation.state.is_some() || !explanation.timeline.is_empty();
    let status = match (is_known, explanation.orchestrator_answered) {
        (true, _) => StatusCode::OK,
        (false, true) => StatusCode::NOT_FOUND,
        (false, false) => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((status, view).into_response())
}

fn content(explanation: &Explanation, console: &Shared, all: bool) -> Markup {
    let names = &console.target.topics;
    html! {
        h1 { "Cart " span.id { (explanation.cart_id) } }
        p.sentence {
            @if let Some(state) = &explanation.state { (layout::state(state)) " " }
            (explanation.next)
        }
        @for note in &explanation.notes { p.notice { (note) } }
        (facts(explanation))
        (remedies(explanation, names, console.access.can_act()))
        section aria-labelledby="happened" {
            h2 #happened { "What happened" }
            @if let Some(picture) = hops::picture(names, &explanation.timeline, all) {
                (wide("The hops of this cart, as a picture", &picture))
                (timeline(explanation, console, all))
            } @else {
                p { "Nothing is known of this cart." }
            }
        }
        (rows(explanation))
        (lag(explanation))
        p.quiet { (explanation.records_read) " records were read for this page." }
    }
}

fn facts(explanation: &Explanation) -> Markup {
    html! {
        @if let Some(saga) = &explanation.saga {
            @let progress = &saga.progress;
            dl.pairs {
                div { dt { "Checkout" } dd.id { (progress.checkout_id) } }
                div { dt { "Begun" } dd { (time(progress.started_at)) } }
                div { dt { "Changed" } dd { (time(progress.updated_at)) } }
                @if let Some(step) = progress.state.step() { div { dt { "Step" } dd { (step) } } }
                div { dt { "Total" } dd { (saga.cart.total) " " (saga.cart.currency) } }
                @if let Some(failure) = &progress.failure {
                    div { dt { "Fails with" } dd { (failure.reason) ": " (failure.detail) } }
                }
                @if let Some(note) = &progress.operator_note {
                    div { dt { "Operator" } dd { (note) } }
                }
                @if let Some(waits) = &explanation.waits_for { (waits_for(waits)) }
            }
            @if !saga.cart.items.is_empty() {
                (wide("What is in the cart", &html! {
                    table {
                        caption { "What is in the cart" }
                        thead { tr {
                            th scope="col" { "Product" } th.number scope="col" { "Pieces" }
                            th.number scope="col" { "Price of one" }
                        } }
                        tbody { @for line in &saga.cart.items { tr {
                            th.id scope="row" { (line.product_id) }
                            td.number { (line.quantity) } td.number { (line.unit_price) }
                        } } }
                    }
                }))
            }
        }
    }
}

fn waits_for(waits: &WaitsFor) -> Markup {
    html! {
        div { dt { "Waits for" } dd { (waits.participant) " (" (waits.service) ")" } }
        div { dt { "Sent" } dd { (waits.command) ", " (waits.tries) "×" } }
        div {
            dt { "Until" }
            dd { (time(waits.until)) @if waits.held { ", held by the brake" } }
        }
    }
}

fn timeline(explanation: &Explanation, console: &Shared, all: bool) -> Markup {
    let begin = explanation.timeline.iter().find_map(Entry::at);
    let table = html! {
        table.cards {
            caption { "The same in words, with what the records hold" }
            thead { tr {
                th scope="col" { "When" } th scope="col" { "After" } th scope="col" { "What" }
                th scope="col" { "Between" } th scope="col" { "Where" }
            } }
            tbody { @for shown in hops::shown(&explanation.timeline, all) { @match shown {
                hops::Shown::Left(left) => tr {
                    td colspan="5" {
                        "… " (left) " more. "
                        a href="?all=1" { "Show all " (explanation.timeline.len()) }
                    }
                },
                // By its id a row that is open stays so where others come and go.
                hops::Shown::Entry(entry) => tr id=[row_id(entry)] {
                    td data-name="When" {
                        @match entry.at() { Some(at) => (clock(at)), None => "not known" }
                    }
                    td.number data-name="After" { (hops::after(begin, entry.at())) }
                    @match entry {
                        Entry::Record(of) => (record(of, console)),
                        Entry::Transition(of) => (transition(of)),
                    }
                },
            } } }
        }
    };
    wide("What happened, in words", &table)
}

fn place(record: &Record) -> String {
    format!("{}/{}/{}", record.topic, record.partition, record.offset)
}

fn row_id(entry: &Entry) -> Option<String> {
    match entry {
        Entry::Record(record) => Some(format!("row-{}", place(record))),
        Entry::Transition(_) => None,
    }
}

fn record(record: &Record, console: &Shared) -> Markup {
    let place = place(record);
    let route = hops::route(&console.target.topics, &record.topic);
    html! {
        th scope="row" data-name="What" {
            details id={ "record-" (place) } {
                summary { (record.record_type) }
                @match &record.content {
                    Some(content) => (json(content)),
                    None => p { "It does not decode." },
                }
                dl.pairs {
                    @if let Some(id) = &record.id { div { dt { "Id" } dd.id { (id) } } }
                    @if let Some(source) = &record.source { div { dt { "Source" } dd { (source) } } }
                    @if let Some(trace) = &record.trace_id { div { dt { "Trace" } dd.id { (trace) } } }
                }
            }
            @if let Some(remark) = &record.remark { p.notice { (remark) } }
        }
        td data-name="Between" {
            @if let Some(route) = route { (route.from) " → " (route.to) }
        }
        td.id data-name="Where" { (place) }
    }
}

fn transition(transition: &Transition) -> Markup {
    html! {
        th scope="row" data-name="What" {
            @if !transition.by_record { "timer: " }
            (transition.outcome.replace('_', " ")) " " (transition.reason)
            " → " (layout::state(&transition.state)) " "
            (transition.step.as_deref().unwrap_or_default())
            @if let Some(tries) = transition.tries && tries > 1 { ", sent " (tries) "×" }
            @if let Some(operator) = &transition.operator { p.notice { (operator) } }
        }
        td data-name="Between" {}
        td data-name="Where" { "saga" }
    }
}

fn rows(explanation: &Explanation) -> Markup {
    html! {
        section aria-labelledby="rows" {
            h2 #rows { "What the databases have" }
            @for of in &explanation.rows {
                h3 { (of.service) ", " (of.table) }
                @if of.rows.is_empty() { p.quiet { "No row." } }
                @for row in &of.rows {
                    @match row {
                        Value::Object(columns) => (wide(&format!("Row of {}", of.table), &html! {
                            table {
                                caption { "A row of " (of.table) }
                                tbody { @for (column, value) in columns { tr {
                                    th scope="row" { (column) }
                                    td {
                                        @match value {
                                            Value::Null => span.quiet { "none" },
                                            Value::String(text) => (text),
                                            other => (other.to_string()),
                                        }
                                    }
                                } } }
                            }
                        })),
                        other => (json(other)),
                    }
                }
            }
            @if explanation.rows.is_empty() { p.quiet { "No row." } }
        }
    }
}

fn lag(explanation: &Explanation) -> Markup {
    let table = html! {
        table {
            caption { "How far those are who have something to read for this cart" }
            thead { tr {
                th scope="col" { "Service" } th scope="col" { "Topic and partition" }
                th.number scope="col" { "Unread" } th.number scope="col" { "Position" }
                th.number scope="col" { "End" } th scope="col" { "By" }
            } }
            tbody { @for lag in &explanation.lag { tr {
                th scope="row" { (lag.service) } td { (lag.topic) "/" (lag.partition) }
                td.number { (lag.unread) }
                td.number {
                    @match lag.position { Some(position) => (position), None => "not known" }
                }
                td.number { (lag.end) }
                td { @if lag.exact { "its database" } @else { "Kafka" } }
            } } }
        }
    };
    html! {
        section aria-labelledby="lag" {
            h2 #lag { "Who has something to read" }
            @if explanation.lag.is_empty() {
                p.quiet { "Nobody, or it is not known." }
            } @else {
                (wide("Who has something to read", &table))
            }
        }
    }
}
