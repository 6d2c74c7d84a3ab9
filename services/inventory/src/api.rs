//! HTTP routes: what is there, and what is held for a cart.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::ids::{CartId, CartKind, CheckoutId, GenericUuid, ReservationId};
use contracts::messages::ReservationItem;
use deadpool_postgres::Pool;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use service::{ApiError, query_rows};
use uuid::Uuid;

const STOCK: &str = "SELECT on_hand, reserved FROM stock WHERE product_id = $1";

/// The newest first; a cart has few checkouts.
const RESERVATIONS: &str = "
SELECT r.checkout_id, r.state, r.reservation_id, r.answered_at, r.expires_at, r.unavailable_items,
       r.release_reason, r.released_at, i.products, i.quantities
FROM reservations r
CROSS JOIN LATERAL (
    SELECT COALESCE(array_agg(product_id ORDER BY line), '{}') AS products,
           COALESCE(array_agg(quantity ORDER BY line), '{}') AS quantities
    FROM reservation_items WHERE checkout_id = r.checkout_id
) i
WHERE r.cart_id = $1
ORDER BY COALESCE(r.answered_at, r.released_at) DESC LIMIT 100";

/// The service's own routes.
pub(crate) fn routes(pool: Pool) -> Router {
    Router::new()
        .route("/stock/{product_id}", get(stock))
        .route("/reservations/{cart_id}", get(reservations))
        .with_state(pool)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StockView {
    product_id: String,
    on_hand: i64,
    reserved: i64,
    available: i64,
}

async fn stock(
    State(pool): State<Pool>,
    Path(product_id): Path<String>,
) -> Result<Json<StockView>, ApiError> {
    // The database cannot hold this character, and would refuse the question.
    if product_id.contains('\0') {
        return Err(ApiError::bad_request("a product id holds no NUL"));
    }
    let rows = query_rows(&pool, STOCK, &[&product_id]).await?;
    let Some(row) = rows.first() else {
        return Err(ApiError::not_found(format!(
            "no stock was ever set for product `{product_id}`"
        )));
    };
    let (on_hand, reserved): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Json(StockView {
        product_id,
        on_hand,
        reserved,
        available: on_hand.saturating_sub(reserved).max(0),
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReservationView {
    checkout_id: CheckoutId,
    state: String,
    reservation_id: Option<ReservationId>,
    /// What is held, or was held until the release.
    items: Vec<ReservationItem>,
    unavailable_items: Option<Value>,
    answered_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    release_reason: Option<String>,
    released_at: Option<Timestamp>,
}

async fn reservations(
    State(pool): State<Pool>,
    Path(cart_id): Path<String>,
) -> Result<Json<Vec<ReservationView>>, ApiError> {
    let cart: CartId = ApiError::parse_id::<CartKind>(&cart_id)?;
    let rows = query_rows(&pool, RESERVATIONS, &[&cart.into_untyped_uuid()]).await?;
    if rows.is_empty() {
        return Err(ApiError::not_found(format!(
            "inventory has heard of no checkout of cart {cart}"
        )));
    }
    let views: Result<Vec<_>, ApiError> = rows
        .iter()
        .map(|row| {
            let products: Vec<String> = row.try_get("products")?;
            let quantities: Vec<i32> = row.try_get("quantities")?;
            let items = products.into_iter().zip(quantities);
            Ok(ReservationView {
                checkout_id: CheckoutId::from_untyped_uuid(row.try_get("checkout_id")?),
                state: row.try_get("state")?,
                reservation_id: row
                    .try_get::<_, Option<Uuid>>("reservation_id")?
                    .map(ReservationId::from_untyped_uuid),
                items: items
                    .map(|(product_id, quantity)| ReservationItem {
                        product_id,
                        quantity,
                    })
                    .collect(),
                unavailable_items: row.try_get("unavailable_items")?,
                answered_at: row.try_get("answered_at")?,
                expires_at: row.try_get("expires_at")?,
                release_reason: row.try_get("release_reason")?,
                released_at: row.try_get("released_at")?,
            })
        })
        .collect();
    Ok(Json(views?))
}
