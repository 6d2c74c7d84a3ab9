//! Retry, compensate, resolve, abandon: for one saga or for many.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use contracts::ids::{CartId, CheckoutId};
use contracts::messages::OperationAction;
use flow::Step;
use maud::{Markup, html};
use operations::operate::{self, Operated, Verdict, Wish};
use operations::parse;
use operations::sagas::Listed;

use super::{reason, said, why, words};
use crate::console::Shared;
use crate::fields::Fields;
use crate::layout::{self, View, wide};
use crate::problem::Problem;
use crate::security::{Operator, Posted, Session};

/// What the button says.
pub(in crate::pages) fn name(action: OperationAction) -> &'static str {
    match action {
        OperationAction::Retry => "Retry",
        OperationAction::Compensate => "Compensate",
        OperationAction::Resolve => "Resolve",
        OperationAction::Abandon => "Abandon",
        OperationAction::Unknown => "Unknown",
    }
}

/// What it does.
pub(in crate::pages) fn describe(action: OperationAction) -> &'static str {
    match action {
        OperationAction::Retry => "sends the pending command again at once",
        OperationAction::Compensate => "stops going forward and undoes what was done",
        OperationAction::Resolve => {
            "takes the step for undone, on the strength of evidence that nothing is held"
        }
        OperationAction::Abandon => "ends the saga without undoing the rest; people see to it",
        OperationAction::Unknown => "is not known to this version",
    }
}

/// Shows what would come of it.
pub(in crate::pages) async fn confirm(
    State(console): State<Shared>,
    Operator(operator): Operator,
    RawQuery(text): RawQuery,
) -> Result<View, Problem> {
    let fields = Fields::parse(&text.unwrap_or_default());
    let (action, ids) = match (fields.get("all"), fields.get("action")) {
        (Some(action), _) => (action, fields.all("shown")),
        (None, Some(action)) => (action, fields.all("cart")),
        (None, None) => {
            return Err(Problem::bad(
                "Say what is to be done: go back and press a button.",
            ));
        }
    };
    let action = action_of(action)?;
    let carts: Vec<CartId> = ids
        .into_iter()
        .map(crate::pages::sagas::cart_id)
        .collect::<Result<_, _>>()?;
    let (sagas, missing) = chosen(&console, &carts).await?;
    let step = step_of(&sagas);
    let wish = Wish {
        action,
        operator: operator.name.clone(),
        // Only to ask what would come of it.
        reason: "?".to_owned(),
        step: step.filter(|_| action == OperationAction::Resolve),
        evidence: Some("?".to_owned()),
    };
    let rehearsed = wish.rehearse(&sagas);
    let would = rehearsed.iter().filter(|one| one.is_done()).count();
    let title = format!("{} {} {}", name(action), sagas.len(), plural(sagas.len()));
    let body = html! {
        h1 { (title) "?" }
        p { (name(action)) " " (describe(action)) ". Nothing is done yet." }
        (unknown(&missing))
        (results(&rehearsed))
        @if action == OperationAction::Resolve && step.is_none() {
            p.notice {
                "A resolution is about one step, and these stand at several: choose those of one \
                 step."
            }
        } @else if would == 0 {
            p.notice { "None of them would take it, so there is nothing to confirm." }
        } @else {
            (form(action, &sagas, step, &operator))
        }
        p { a href="/sagas" { "To the list, without doing it" } }
    };
    Ok(View::new(title, body))
}

/// Does it.
pub(in crate::pages) async fn act(
    State(console): State<Shared>,
    posted: Posted,
) -> Result<View, Problem> {
    let Posted { operator, fields } = posted;
    let action = action_of(fields.get("action").unwrap_or_default())?;
    let mut wanted: BTreeMap<CartId, CheckoutId> = BTreeMap::new();
    for pair in fields.all("saga") {
        let read = pair
            .split_once('.')
            .and_then(|(cart, checkout)| Some((cart.parse().ok()?, checkout.parse().ok()?)));
        let (cart, checkout) = read.ok_or_else(|| {
            Problem::bad("Nothing was done: the form names a saga in a way that no page does.")
        })?;
        wanted.insert(cart, checkout);
    }
    let is_resolution = action == OperationAction::Resolve;
    let step = match fields.get("step") {
        Some(text) if is_resolution => Some(
            text.parse::<Step>()
                .map_err(|error| Problem::bad(error.to_string()))?,
        ),
        _ => None,
    };
    let wish = Wish {
        action,
        operator: operator.name.clone(),
        reason: reason(&fields)?,
        step,
        evidence: match is_resolution {
            true => Some(said(
                &fields,
                "evidence",
                "Say what proves that nothing is held",
            )?),
            false => None,
        },
    };
    let carts: Vec<CartId> = wanted.keys().copied().collect();
    let (sagas, missing) = chosen(&console, &carts).await?;
    // What was confirmed was about one checkout: a later one of the cart is another.
    let is_meant = |saga: &Listed| wanted.get(&saga.cart_id) == Some(&saga.checkout_id);
    let (sagas, others): (Vec<Listed>, Vec<Listed>) = sagas.into_iter().partition(is_meant);
    tracing::info!(
        action = action.as_str(),
        sagas = sagas.len(),
        operator = operator.name,
        reason = wish.reason,
        "an operator acts"
    );
    let operated = console
        .ask(async move |console| {
            let wait = Duration::from_millis(console.limits.action_wait_ms);
            wish.carry_out(&console.target, &sagas, wait, &|_| {}).await
        })
        .await?;
    let count = operated.iter().filter(|one| one.is_done()).count();
    let title = format!("{}: {count} of {} done", name(action), carts.len());
    let body = html! {
        h1 { (title) }
        (unknown(&missing))
        @for other in &others {
            p.notice {
                "Cart " (layout::cart(other.cart_id)) " was checked out anew in the meantime, and was not touched."
            }
        }
        (results(&operated))
        p { a href="/sagas" { "To the list" } }
    };
    Ok(View::new(title, body))
}

fn action_of(text: &str) -> Result<OperationAction, Problem> {
    parse::action(text).map_err(|why| Problem::bad(format!("There is no such action; {why}.")))
}

fn plural(number: usize) -> &'static str {
    match number {
        1 => "saga",
        _ => "sagas",
    }
}

/// The sagas of these carts, and the carts that have none.
async fn chosen(console: &Shared, carts: &[CartId]) -> Result<(Vec<Listed>, Vec<CartId>), Problem> {
    let most = console.limits.page_carts as usize;
    match carts.len() {
        0 => {
            return Err(Problem::bad(
                "Nothing was done: no cart was chosen. Go back and choose some.",
            ));
        }
        number if number > most => {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "Too many at once",
                format!(
                    "These are {number} carts, and {most} can be acted on at once (PAGE_CARTS); \
                     `checkoutctl sagas` takes more."
                ),
            ));
        }
        _ => {}
    }
    let carts = carts.to_vec();
    console
        .ask(async move |console| {
            operate::of_carts(&console.target, &carts, console.limits.timeout()).await
        })
        .await
}

/// The step that all of these stand at.
fn step_of(sagas: &[Listed]) -> Option<Step> {
    let steps: Vec<_> = sagas
        .iter()
        .map(|of| of.saga.as_ref()?.progress.state.step())
        .collect();
    let first = steps.first().copied().flatten();
    first.filter(|_| steps.iter().all(|step| *step == first))
}

fn form(
    action: OperationAction,
    sagas: &[Listed],
    step: Option<Step>,
    operator: &Session,
) -> Markup {
    html! {
        form.confirm action="/actions/sagas" method="post" {
            input type="hidden" name="action" value=(action);
            @for saga in sagas {
                input type="hidden" name="saga" value={ (saga.cart_id) "." (saga.checkout_id) };
            }
            (why(operator))
            @if action == OperationAction::Resolve {
                @if let Some(step) = step { input type="hidden" name="step" value=(step); }
                (words(
                    "evidence",
                    "Evidence",
                    "what proves that the step holds nothing, such as the participant's own record",
                ))
            }
            button.danger { (name(action)) " " (sagas.len()) " " (plural(sagas.len())) }
        }
    }
}

fn unknown(missing: &[CartId]) -> Markup {
    html! {
        @for cart in missing {
            p.notice { "No checkout of cart " (layout::cart(cart)) " is known." }
        }
    }
}

fn results(all: &[Operated]) -> Markup {
    let table = html! {
        table.cards {
            caption { "Each saga" }
            thead { tr {
                th scope="col" { "Cart" } th scope="col" { "Result" } th scope="col" { "State" }
                th scope="col" { "Step" } th scope="col" { "Detail" }
            } }
            tbody { @for one in all { tr {
                th scope="row" { (layout::cart(one.cart_id)) }
                td data-name="Result" { (verdict(one.result)) }
                td data-name="State" { (layout::state(&one.state)) }
                td data-name="Step" { (one.step.as_deref().unwrap_or_default()) }
                td data-name="Detail" { (one.detail.as_deref().unwrap_or_default()) }
            } } }
        }
    };
    html! { @if !all.is_empty() { (wide("Results", &table)) } }
}

fn verdict(verdict: Verdict) -> Markup {
    let (class, text) = match verdict {
        Verdict::Operated => ("good", "done"),
        Verdict::WouldBeOperated => ("good", "would be done"),
        Verdict::Refused => ("bad", "refused"),
        Verdict::Unanswered => ("warn", "no answer yet"),
        Verdict::NotPublished => ("bad", "not published"),
    };
    html! { span class={ "mark " (class) } { (text) } }
}
