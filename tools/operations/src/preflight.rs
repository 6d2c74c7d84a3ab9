//! Whether this version understands every saga in flight: before it is deployed.
//!
//! Each saga is read with this version's types, and what may come next is tried on
//! it with this version's transition function, in memory: its timer, and each
//! answer of the participant it waits for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use audit::{Result, Target};
use flow::input::{ReplyKind, StepReply};
use flow::step::Refusal;
use flow::{Brakes, Ignored, Input, Outcome, Rules, Saga, State, Waiting};
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::databases::Db;
use crate::row::column;
use crate::sagas::understood;

/// Carts that are named; the rest is counted.
const NAMED: usize = 1_000;
/// How many sagas are tried between two words about it.
const TELL_EVERY: u64 = 1_000;

const IN_FLIGHT: &str = "SELECT cart_id, cart, progress FROM sagas WHERE wake_at IS NOT NULL";

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preflight {
    /// Sagas in flight that were tried.
    pub sagas: u64,
    /// Inputs that were tried on them.
    pub inputs: u64,
    /// How many of them this version does not understand.
    pub not_understood: u64,
    /// Which, the first of them.
    pub carts: Vec<NotUnderstood>,
}

/// A saga that this version does not understand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NotUnderstood {
    /// The cart.
    pub cart_id: Uuid,
    /// Why.
    pub why: String,
}

/// Tries all sagas in flight; changes nothing. `tell` hears how many.
///
/// # Errors
/// When the orchestrator's database cannot be read.
pub async fn run(
    target: &Target,
    timeout: Duration,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<Preflight> {
    let db = Db::orchestrator(target, timeout).await?;
    let mut found = Preflight::default();
    let rows = db.stream(IN_FLIGHT).await?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await? {
        let cart_id: Uuid = column(&row, "cart_id")?;
        let Json(cart): Json<Value> = column(&row, "cart")?;
        let Json(progress): Json<Value> = column(&row, "progress")?;
        found.sagas += 1;
        match tried(cart_id, cart, progress) {
            Ok(inputs) => found.inputs += inputs,
            Err(why) => {
                found.not_understood += 1;
                if found.carts.len() < NAMED {
                    found.carts.push(NotUnderstood { cart_id, why });
                }
            }
        }
        if found.sagas.is_multiple_of(TELL_EVERY) {
            tell(&format!("{} sagas tried", found.sagas));
        }
    }
    Ok(found)
}

/// Reads a saga and tries what may come next on it; how much that was.
fn tried(cart_id: Uuid, cart: Value, progress: Value) -> std::result::Result<u64, String> {
    let saga = understood(cart_id, cart, progress.clone())
        .map_err(|error| format!("its row cannot be read: {error}"))?;
    let kept = serde_json::to_value(&saga.progress).map_err(|error| error.to_string())?;
    if let Some(lost) = lost(&progress, &kept) {
        return Err(format!(
            "its row has {lost}, which this version does not know and would drop"
        ));
    }
    let Some(waiting) = saga.progress.state.waiting() else {
        return Err("it has a timer, and its state needs none".to_owned());
    };
    let inputs = inputs(&saga, waiting);
    let due = waiting.due_at;
    for (what, input) in &inputs {
        let transition = catch_unwind(AssertUnwindSafe(|| {
            flow::next(
                Some(saga.clone()),
                input,
                due,
                &Rules::default(),
                Brakes::OPEN,
            )
        }));
        let outcome = match transition {
            Ok(transition) => transition.outcome,
            Err(_) => return Err(format!("this version breaks down on {what}")),
        };
        if let Outcome::Ignored(
            ignored @ (Ignored::ForeignCommand | Ignored::NotAwaited | Ignored::OtherCheckout),
        ) = outcome
        {
            return Err(format!("this version would ignore {what}: {ignored}"));
        }
    }
    Ok(inputs.len() as u64)
}

/// A field of the stored row that is lost when it is written again.
fn lost(stored: &Value, kept: &Value) -> Option<String> {
    let (Value::Object(stored), Value::Object(kept)) = (stored, kept) else {
        return None;
    };
    stored
        .iter()
        .find_map(|(name, value)| match kept.get(name) {
            // What has its default is left out when it is written.
            None if is_default(value) => None,
            None => Some(format!("`{name}`")),
            Some(kept) => lost(value, kept).map(|inner| format!("`{name}`.{inner}")),
        })
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// What may come next, with a name for people.
fn inputs(saga: &Saga, waiting: Waiting) -> Vec<(String, Input<'static>)> {
    let definition = waiting.step.definition();
    let reply = |record, kind| StepReply {
        step: waiting.step,
        checkout_id: saga.progress.checkout_id,
        command_id: saga.command_id(record),
        kind,
    };
    let mut inputs = vec![("its timer".to_owned(), Input::DeadlinePassed)];
    match saga.progress.state {
        State::InProgress(_) => {
            let command = definition.command.record;
            let handle = Uuid::nil();
            inputs.push((
                definition.success.record.to_string(),
                Input::Reply(reply(command, ReplyKind::Done { handle })),
            ));
            for failure in definition.failures.iter() {
                let kind = ReplyKind::Refused {
                    reason: failure.reason,
                    refusal: Refusal {
                        detail: String::new(),
                        missing: Vec::new(),
                    },
                };
                inputs.push((
                    failure.record.to_string(),
                    Input::Reply(reply(command, kind)),
                ));
            }
        }
        _ => inputs.push((
            definition.compensation.acknowledged_by.to_string(),
            Input::Reply(reply(definition.compensation.record, ReplyKind::Undone)),
        )),
    }
    inputs
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cart() -> Value {
        json!({
            "customerId": Uuid::nil(), "items": [], "total": 1, "currency": "EUR",
        })
    }

    fn progress(state: &str, step: &str) -> Value {
        json!({
            "checkoutId": Uuid::from_u128(1), "state": state, "step": step, "tries": 1,
            "since": "2026-01-01T00:00:00Z", "dueAt": "2026-01-01T00:00:05Z",
            "startedAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
        })
    }

    #[test]
    fn every_state_and_step_of_this_version_is_understood() {
        for step in flow::Step::ALL {
            for state in ["IN_PROGRESS", "IN_DOUBT", "COMPENSATING", "STUCK"] {
                let inputs = tried(Uuid::nil(), cart(), progress(state, step.name()));
                assert!(inputs.is_ok_and(|inputs| inputs >= 2), "{state} {step}");
            }
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_told() {
        let why = |progress| tried(Uuid::nil(), cart(), progress).unwrap_err();
        let unknown = why(progress("IN_PROGRESS", "SHIP_PARCEL"));
        assert!(unknown.contains("SHIP_PARCEL"), "{unknown}");
        let mut newer = progress("IN_PROGRESS", "CREATE_ORDER");
        newer["gift"] = json!("wrapped");
        assert!(why(newer.clone()).contains("`gift`"), "{}", why(newer));
        let mut default = progress("IN_PROGRESS", "CREATE_ORDER");
        default["gift"] = json!(null);
        assert!(tried(Uuid::nil(), cart(), default).is_ok());
    }
}
