//! Whether this version understands every saga in flight: before it is deployed.
//!
//! Each saga is read with this version's types, and what may come next is tried on
//! it with this version's transition function, in memory ([`trial`]).

mod trial;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use audit::{Result, Target};
use flow::{Brakes, Rules};
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::databases::Db;
use crate::row::column;
use crate::sagas::understood;
use trial::Trial;

/// Carts that are named; the rest is counted.
const NAMED: usize = 1_000;

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

/// Tries all sagas in flight; changes nothing. `tell` hears how far it is.
///
/// # Errors
/// When the orchestrator's database cannot be read.
pub async fn run(
    target: &Target,
    timeout: Duration,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<Preflight> {
    tell("connecting to the orchestrator's database");
    let db = Db::orchestrator(target, timeout).await?;
    tell("asking for the sagas in flight");
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
        tell(&format!("{} sagas tried", found.sagas));
        // Rows may come without a pause; whoever tells of it wants a turn.
        tokio::task::coop::consume_budget().await;
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
    let trials = Trial::all(&saga, waiting);
    for trial in &trials {
        let transition = catch_unwind(AssertUnwindSafe(|| {
            flow::next(
                Some(saga.clone()),
                &trial.event.input(),
                waiting.due_at,
                &Rules::default(),
                Brakes::OPEN,
            )
        }));
        let Ok(transition) = transition else {
            return Err(format!("this version breaks down on {}", trial.what));
        };
        if let Some(fault) = trial.fault(transition.outcome) {
            return Err(format!("this version would {fault}"));
        }
    }
    Ok(trials.len() as u64)
}

/// A field of the stored row that is lost when it is written again, or an entry of a
/// list.
fn lost(stored: &Value, kept: &Value) -> Option<String> {
    match (stored, kept) {
        (Value::Object(stored), Value::Object(kept)) => {
            stored
                .iter()
                .find_map(|(name, value)| match kept.get(name) {
                    // What has its default is left out when it is written.
                    None if is_default(value) => None,
                    None => Some(format!("`{name}`")),
                    Some(kept) => lost(value, kept).map(|inner| format!("`{name}`.{inner}")),
                })
        }
        (Value::Array(stored), Value::Array(kept)) => {
            stored
                .iter()
                .enumerate()
                .find_map(|(number, value)| match kept.get(number) {
                    None => Some(format!("[{number}]")),
                    Some(kept) => lost(value, kept).map(|inner| format!("[{number}].{inner}")),
                })
        }
        _ => None,
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
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
                assert!(
                    inputs.as_ref().is_ok_and(|inputs| *inputs >= 8),
                    "{state} {step}: {inputs:?}"
                );
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
        let mut inside = progress("COMPENSATING", "RESERVE_INVENTORY");
        let missing = json!({ "productId": "mug", "requested": 2, "available": 1 });
        let mut newer = missing.clone();
        newer["expectedAt"] = json!("2026-02-01T00:00:00Z");
        inside["failure"] = json!({
            "reason": "OUT_OF_STOCK", "detail": "", "missing": [missing, newer],
        });
        let lost = why(inside);
        assert!(
            lost.contains("`failure`.`missing`.[1].`expectedAt`"),
            "{lost}"
        );
        let mut default = progress("IN_PROGRESS", "CREATE_ORDER");
        default["gift"] = json!(null);
        assert!(tried(Uuid::nil(), cart(), default).is_ok());
    }

    #[test]
    fn an_entry_of_a_list_that_would_be_dropped_is_told() {
        let (stored, kept) = (json!({ "seen": [1, 2] }), json!({ "seen": [1] }));
        assert_eq!(lost(&stored, &kept).as_deref(), Some("`seen`.[1]"));
        assert_eq!(lost(&stored, &stored), None);
        assert_eq!(lost(&json!([]), &json!([])), None);
    }
}
