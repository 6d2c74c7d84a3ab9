//! One saga of a list, as far as this version understands it.

use audit::Result;
use contracts::ids::{CartId, CheckoutId, GenericUuid};
use flow::{Cart, Progress, Saga};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::row::column;

/// One saga of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// The cart.
    pub cart_id: CartId,
    /// Its current checkout.
    pub checkout_id: CheckoutId,
    /// Where it stands, such as `STUCK`.
    pub state: String,
    /// The step it is at.
    pub step: Option<String>,
    /// How often that step's command was sent.
    pub tries: Option<u32>,
    /// When the checkout began.
    pub started_at: Option<Timestamp>,
    /// When the state last changed.
    pub updated_at: Option<Timestamp>,
    /// When it is woken next; absent where it has ended.
    pub wake_at: Option<Timestamp>,
    /// Why it fails or failed.
    pub failure: Option<String>,
    /// The last thing that an operator did to it.
    pub operator_note: Option<String>,
    /// Why this version does not understand it, and what to do; absent where it does.
    pub note: Option<String>,
    /// All of it; absent where this version does not understand it.
    #[serde(skip)]
    pub saga: Option<Saga>,
}

/// What every version understands of a saga's row: the columns beside its content.
struct Plain {
    cart_id: CartId,
    checkout_id: CheckoutId,
    state: String,
    step: Option<String>,
    wake_at: Option<Timestamp>,
}

impl Listed {
    /// A saga, and when it is woken next.
    pub fn new(saga: Saga, wake_at: Option<Timestamp>) -> Self {
        let progress = &saga.progress;
        let state = progress.state;
        let failure = progress.failure.as_ref();
        Self {
            cart_id: saga.cart_id,
            checkout_id: progress.checkout_id,
            state: state.kind().to_string(),
            step: state.step().map(|step| step.to_string()),
            tries: state.waiting().map(|waiting| waiting.tries),
            started_at: Some(progress.started_at),
            updated_at: Some(progress.updated_at),
            wake_at,
            failure: failure.map(|failure| format!("{}: {}", failure.reason, failure.detail)),
            operator_note: progress.operator_note.clone(),
            note: None,
            saga: Some(saga),
        }
    }

    /// The saga of a row with the columns that every version has.
    pub(crate) fn of_row(row: &Row) -> Result<Self> {
        let plain = Plain {
            cart_id: CartId::from_untyped_uuid(column(row, "cart_id")?),
            checkout_id: CheckoutId::from_untyped_uuid(column(row, "checkout_id")?),
            state: column(row, "state")?,
            step: column(row, "step")?,
            wake_at: column(row, "wake_at")?,
        };
        let Json(cart): Json<Value> = column(row, "cart")?;
        let Json(progress): Json<Value> = column(row, "progress")?;
        Ok(Self::read(plain, cart, progress))
    }

    fn read(plain: Plain, cart: Value, progress: Value) -> Self {
        let time = |name: &str| -> Option<Timestamp> { progress[name].as_str()?.parse().ok() };
        let (started_at, updated_at) = (time("startedAt"), time("updatedAt"));
        let error = match understood(plain.cart_id.into_untyped_uuid(), cart, progress) {
            Ok(saga) => return Self::new(saga, plain.wake_at),
            Err(error) => error,
        };
        Self {
            cart_id: plain.cart_id,
            checkout_id: plain.checkout_id,
            state: plain.state,
            step: plain.step,
            tries: None,
            started_at,
            updated_at,
            wake_at: plain.wake_at,
            failure: None,
            operator_note: None,
            note: Some(not_understood(&error)),
            saga: None,
        }
    }
}

/// What an operator reads of a saga that cannot be read.
fn not_understood(error: &serde_json::Error) -> String {
    format!(
        "it was written by a version that this one does not understand ({error}): use programs \
         of the orchestrator's version"
    )
}

/// The saga that these columns are for this version.
pub(crate) fn understood(
    cart_id: Uuid,
    cart: Value,
    progress: Value,
) -> std::result::Result<Saga, serde_json::Error> {
    Ok(Saga {
        cart_id: CartId::from_untyped_uuid(cart_id),
        cart: serde_json::from_value::<Cart>(cart)?,
        progress: serde_json::from_value::<Progress>(progress)?,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// A saga that timed out, at this step, whether there is one of this name or not.
    pub(crate) fn example(state: &str, step: &str) -> Listed {
        let plain = Plain {
            cart_id: CartId::from_untyped_uuid(Uuid::from_u128(1)),
            checkout_id: CheckoutId::from_untyped_uuid(Uuid::from_u128(2)),
            state: state.to_owned(),
            step: Some(step.to_owned()),
            wake_at: None,
        };
        let cart = json!({
            "customerId": Uuid::nil(), "items": [], "total": 1, "currency": "EUR",
        });
        let progress = json!({
            "checkoutId": Uuid::from_u128(2), "state": state, "step": step, "tries": 1,
            "since": "2026-01-01T00:00:00Z", "dueAt": "2026-01-01T00:00:05Z",
            "failure": { "reason": "TIMED_OUT", "detail": "no answer" },
            "startedAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:01:00Z",
        });
        Listed::read(plain, cart, progress)
    }

    #[test]
    fn a_saga_of_a_newer_version_is_listed_by_its_plain_columns_and_a_note() {
        let known = example("STUCK", flow::Step::FIRST.name());
        assert_eq!((known.note.as_deref(), known.tries), (None, Some(1)));
        assert!(known.saga.is_some(), "{known:?}");
        let newer = example("STUCK", "SHIP_PARCEL");
        assert_eq!(
            (&newer.cart_id, &newer.checkout_id),
            (&known.cart_id, &known.checkout_id)
        );
        assert_eq!(newer.state, "STUCK");
        assert_eq!(newer.step.as_deref(), Some("SHIP_PARCEL"));
        assert_eq!(newer.started_at, known.started_at);
        assert_eq!(newer.updated_at, known.updated_at);
        assert!(newer.saga.is_none(), "{newer:?}");
        let note = newer.note.as_deref().unwrap_or_default();
        for part in ["SHIP_PARCEL", "use programs of the orchestrator's version"] {
            assert!(note.contains(part), "{part}: {note}");
        }
    }
}
