//! `GET /authorizations/{cartId}`: what was held and given up for a cart, for
//! operators.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::ids::CartId;
use contracts::ids::GenericUuid;
use deadpool_postgres::Pool;
use jiff::Timestamp;
use serde::Serialize;
use service::{ApiError, query_rows};
use tokio_postgres::Row;
use uuid::Uuid;

/// A cart has one row for each time it was checked out; more than these are not
/// shown.
const ROWS_MAX: i64 = 100;

const BY_CART: &str = "\
    SELECT checkout_id, state, void_requested, authorization_id, amount, currency, \
           decline_reason, gateway_reference, attempts, requested_at, authorized_at, \
           declined_at, voided_at, wake_at \
    FROM authorizations WHERE cart_id = $1 ORDER BY requested_at DESC LIMIT $2";

/// The service's own routes.
pub fn routes(pool: Pool) -> Router {
    Router::new()
        .route("/authorizations/{cartId}", get(authorizations))
        .with_state(pool)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Authorizations {
    cart_id: CartId,
    /// Newest first.
    authorizations: Vec<Shown>,
}

/// One authorization as operators see it; times are RFC 3339, amounts minor units.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    checkout_id: Uuid,
    state: String,
    /// A void waits for the answer to the authorization.
    void_requested: bool,
    authorization_id: Option<Uuid>,
    amount: Option<i64>,
    currency: Option<String>,
    decline_reason: Option<String>,
    /// The gateway's own name of the hold, to look it up there.
    gateway_reference: Option<String>,
    /// How often the gateway was asked in the present state.
    attempts: i32,
    requested_at: Timestamp,
    authorized_at: Option<Timestamp>,
    declined_at: Option<Timestamp>,
    voided_at: Option<Timestamp>,
    /// When the gateway is asked again, unless it answers before; none while it is
    /// not asked anything.
    asked_again_at: Option<Timestamp>,
}

async fn authorizations(
    State(pool): State<Pool>,
    Path(cart_id): Path<String>,
) -> Result<Json<Authorizations>, ApiError> {
    let cart_id: CartId = ApiError::parse_id(&cart_id)?;
    let rows = query_rows(&pool, BY_CART, &[&cart_id.into_untyped_uuid(), &ROWS_MAX]).await?;
    if rows.is_empty() {
        return Err(ApiError::not_found(format!(
            "no payment was ever asked for cart {cart_id}"
        )));
    }
    let authorizations = rows.iter().map(shown).collect::<Result<_, _>>()?;
    Ok(Json(Authorizations {
        cart_id,
        authorizations,
    }))
}

fn shown(row: &Row) -> Result<Shown, tokio_postgres::Error> {
    Ok(Shown {
        checkout_id: row.try_get("checkout_id")?,
        state: row.try_get("state")?,
        void_requested: row.try_get("void_requested")?,
        authorization_id: row.try_get("authorization_id")?,
        amount: row.try_get("amount")?,
        currency: row.try_get("currency")?,
        decline_reason: row.try_get("decline_reason")?,
        gateway_reference: row.try_get("gateway_reference")?,
        attempts: row.try_get("attempts")?,
        requested_at: row.try_get("requested_at")?,
        authorized_at: row.try_get("authorized_at")?,
        declined_at: row.try_get("declined_at")?,
        voided_at: row.try_get("voided_at")?,
        asked_again_at: row.try_get("wake_at")?,
    })
}
