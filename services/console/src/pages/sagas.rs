//! Sagas by state, step, age and reason, in pages; chosen ones can be acted on.

use axum::extract::{RawQuery, State};
use contracts::ids::CartId;
use contracts::messages::FailureReason;
use flow::Step;
use maud::{Markup, html};
use operations::parse;
use operations::sagas::{self, Filter, Listed, Page};

use super::actions::sagas::{describe, name};
use crate::console::Shared;
use crate::fields::{Fields, query};
use crate::layout::{self, View, time, wide};
use crate::problem::Problem;

/// How often the page is made anew.
const LIVE_SECONDS: u32 = 3;

pub(super) async fn page(
    State(console): State<Shared>,
    RawQuery(text): RawQuery,
) -> Result<View, Problem> {
    let fields = Fields::parse(&text.unwrap_or_default());
    let filter = filter(&fields)?;
    let after = match fields.get("after") {
        Some(text) => Some(cart_id(text)?),
        None => None,
    };
    let page = console
        .ask(async move |console| {
            let (target, limits) = (&console.target, &console.limits);
            sagas::list(target, &filter, after, limits.page_carts, limits.timeout()).await
        })
        .await?;
    let body = html! {
        h1 { "Sagas" }
        (filters(&fields))
        (list(&page, &fields, console.access.can_act()))
    };
    Ok(View::new("Sagas", body).live(LIVE_SECONDS))
}

/// The id of a cart.
///
/// # Errors
/// Says what an id looks like.
pub(super) fn cart_id(text: &str) -> Result<CartId, Problem> {
    text.trim().parse().map_err(|_| {
        let shown: String = text.chars().take(64).collect();
        Problem::bad(format!(
            "“{shown}” is no id of a cart. An id is a UUID, such as \
             6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e."
        ))
    })
}

/// The filter that a query asks for.
///
/// # Errors
/// Names the field that cannot be read, and what it may say.
fn filter(fields: &Fields) -> Result<Filter, Problem> {
    let wrong =
        |what: &str, why: String| Problem::bad(format!("The {what} cannot be read: {why}."));
    let states = fields
        .all("state")
        .into_iter()
        .map(|text| parse::state(text).map_err(|why| wrong("state", why)))
        .collect::<Result<_, _>>()?;
    let step = fields.get("step").map(str::parse::<Step>).transpose();
    let older_than = fields.get("older_than").map(parse::age).transpose();
    let failure = fields.get("failure").map(parse::failure).transpose();
    Ok(Filter {
        states,
        step: step.map_err(|why| wrong("step", why.to_string()))?,
        older_than: older_than.map_err(|why| wrong("age", why))?,
        failure: failure.map_err(|why| wrong("reason", why))?,
        carts: Vec::new(),
        ended: fields.get("ended").is_some(),
    })
}

fn filters(fields: &Fields) -> Markup {
    let states = fields.all("state");
    let is_chosen = |state: &str| states.iter().any(|of| of.eq_ignore_ascii_case(state));
    let is = |field: &str, value: &str| {
        fields
            .get(field)
            .is_some_and(|of| of.eq_ignore_ascii_case(value))
    };
    html! {
        form.filters action="/sagas" method="get" aria-label="Filters" {
            fieldset {
                legend { "State" }
                @for state in parse::states() {
                    @let (state, id) = (state.as_str(), format!("state-{}", state.as_str()));
                    label for=(id) {
                        input id=(id) type="checkbox" name="state" value=(state)
                            checked[is_chosen(state)];
                        " " (state)
                    }
                }
            }
            div.row {
                div {
                    label for="step" { "Step" }
                    select #step name="step" {
                        option value="" { "any" }
                        @for step in Step::ALL {
                            option value=(step) selected[is("step", step.name())] { (step) }
                        }
                    }
                }
                div {
                    label for="failure" { "Fails with" }
                    select #failure name="failure" {
                        option value="" { "anything" }
                        @for reason in FailureReason::ALL {
                            option value=(reason) selected[is("failure", reason.as_str())] {
                                (reason)
                            }
                        }
                    }
                }
                div {
                    label for="older_than" { "Older than" }
                    input #older_than name="older_than" size="8" placeholder="10m"
                        aria-describedby="older-help" value=[fields.get("older_than")];
                    span.quiet #older-help { "such as 90s, 10m, 2h" }
                }
                div {
                    label for="ended" {
                        input #ended type="checkbox" name="ended" value="1"
                            checked[fields.get("ended").is_some()];
                        " Ended ones, too"
                    }
                }
                div { button { "Show" } " " a href="/sagas" { "Reset" } }
            }
        }
    }
}

fn list(page: &Page, fields: &Fields, can_act: bool) -> Markup {
    let is_first = fields.get("after").is_none();
    // A page may be empty and not the last: only so many sagas are looked at for one.
    let (none, go_on) = match (page.sagas.is_empty(), page.after.is_some()) {
        (true, true) => (
            "No saga so far is like that. There are more to look at.",
            "Go on looking",
        ),
        (true, false) if !is_first => ("No further saga is like that.", ""),
        (true, false) => ("No saga is like that.", ""),
        (false, _) => ("", "Next page"),
    };
    html! {
        @if page.sagas.is_empty() {
            p { (none) }
        } @else {
            form action="/actions/sagas" method="get" {
                (wide("Sagas", &table(&page.sagas)))
                @for saga in &page.sagas {
                    input type="hidden" name="shown" value=(saga.cart_id);
                }
                (buttons(page.sagas.len(), can_act))
            }
        }
        @if let Some(after) = page.after {
            @let rest = fields.query_without(&["after"]);
            @let next = query([("after", after.to_string().as_str())]);
            p { a href={ "/sagas?" (rest) @if !rest.is_empty() { "&" } (next) } rel="next" {
                (go_on)
            } }
        }
        @if !is_first {
            p { a href={ "/sagas?" (fields.query_without(&["after"])) } { "First page" } }
        }
    }
}

fn table(sagas: &[Listed]) -> Markup {
    html! {
        table.cards {
            caption { (sagas.len()) " on this page, in the order of their carts" }
            thead { tr {
                th scope="col" { "Choose" } th scope="col" { "Cart" } th scope="col" { "State" }
                th scope="col" { "Step" } th.number scope="col" { "Sent" }
                th scope="col" { "Begun" } th scope="col" { "Changed" } th scope="col" { "Wakes" }
                th scope="col" { "Failure, and what operators did" }
            } }
            tbody { @for saga in sagas { tr id={ "saga-" (saga.cart_id) } {
                td data-name="Choose" {
                    input type="checkbox" name="cart" value=(saga.cart_id)
                        id={ "choose-" (saga.cart_id) } aria-label={ "Choose cart " (saga.cart_id) };
                }
                th scope="row" { (layout::cart(saga.cart_id)) }
                td data-name="State" { (layout::state(&saga.state)) }
                td data-name="Step" { (saga.step.as_deref().unwrap_or_default()) }
                td.number data-name="Sent" {
                    @if let Some(tries) = saga.tries { (tries) "×" }
                }
                td data-name="Begun" {
                    @if let Some(at) = saga.started_at { (time(at)) }
                }
                td data-name="Changed" {
                    @if let Some(at) = saga.updated_at { (time(at)) }
                }
                td data-name="Wakes" {
                    @if let Some(at) = saga.wake_at { (time(at)) }
                }
                td data-name="Failure" {
                    (saga.failure.as_deref().unwrap_or_default())
                    @if let Some(note) = &saga.operator_note { p.quiet { (note) } }
                    @if let Some(note) = &saga.note { p { (note) } }
                }
            } } }
        }
    }
}

/// What can be done to those that are chosen, or to all of the page.
fn buttons(shown: usize, can_act: bool) -> Markup {
    html! {
        @if can_act {
            fieldset.acts {
                legend { "Do to those chosen" }
                @for action in parse::actions() {
                    button name="action" value=(action) title=(describe(action)) { (name(action)) }
                }
            }
            fieldset.acts {
                legend { "Do to all " (shown) " of this page" }
                @for action in parse::actions() {
                    button name="all" value=(action) title=(describe(action)) { (name(action)) }
                }
            }
            p.quiet { "Nothing is done yet: the next page shows what would be, and asks why." }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use contracts::messages::SagaState;

    use super::*;

    #[test]
    fn a_filter_is_read_or_refused_with_what_it_may_say() {
        let read = |text: &str| filter(&Fields::parse(text));
        let last = Step::ALL[Step::ALL.len() - 1];
        let step = last.name().to_lowercase();
        let text = format!("state=stuck&state=FAILED&step={step}&older_than=10m&ended=1");
        let filter = read(&text).unwrap();
        assert_eq!(filter.states, [SagaState::Stuck, SagaState::Failed]);
        assert_eq!(filter.step, Some(last));
        assert_eq!(filter.older_than, Some(Duration::from_secs(600)));
        assert!(filter.ended);
        assert_eq!(
            read("state=&step=&older_than=&failure="),
            Ok(Filter::default())
        );
        for (bad, says) in [
            ("state=lost", "COMPENSATING"),
            ("step=ship", "the steps are"),
            ("older_than=soon", "90s"),
            ("failure=weather", "OUT_OF_STOCK"),
        ] {
            let refused = format!("{:?}", read(bad).unwrap_err());
            assert!(refused.contains(says), "{bad}: {refused}");
        }
        assert!(cart_id("7").is_err());
    }

    #[test]
    fn an_empty_page_that_is_not_the_last_says_so_and_leads_on() {
        let page = |after: Option<&str>, query: &str| {
            let page = Page {
                sagas: Vec::new(),
                after: after.map(|after| after.parse().unwrap()),
            };
            list(&page, &Fields::parse(query), true).into_string()
        };
        let cart = "6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e";
        let more = page(Some(cart), "state=FAILED&after=x");
        assert!(more.contains("No saga so far is like that"), "{more}");
        let next =
            format!("href=\"/sagas?state=FAILED&amp;after={cart}\" rel=\"next\">Go on looking<");
        assert!(more.contains(&next), "{more}");
        let last = page(None, "state=FAILED&after=x");
        assert!(last.contains("No further saga is like that"), "{last}");
        assert!(!last.contains("rel=\"next\""), "{last}");
        assert!(last.contains("First page"), "{last}");
        let all = page(None, "state=FAILED");
        assert!(all.contains("No saga is like that"), "{all}");
        assert!(!all.contains("First page"), "{all}");
    }
}
