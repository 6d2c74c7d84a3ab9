//! HTTP routes: an order by its id.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::ids::{
    AuthorizationId, CartId, CheckoutId, CustomerId, GenericUuid, OrderId, OrderKind,
};
use contracts::messages::OrderLine;
use deadpool_postgres::Pool;
use jiff::Timestamp;
use serde::Serialize;
use service::{ApiError, query_rows};
use tokio_postgres::Row;

const ORDER: &str = "
SELECT o.checkout_id, o.cart_id, o.customer_id, o.state, o.total, o.currency,
       o.payment_authorization_id, o.answered_at, o.cancelled_at, o.cancel_reason,
       i.products, i.quantities, i.unit_prices
FROM orders o
CROSS JOIN LATERAL (
    SELECT COALESCE(array_agg(product_id ORDER BY line), '{}') AS products,
           COALESCE(array_agg(quantity ORDER BY line), '{}') AS quantities,
           COALESCE(array_agg(unit_price ORDER BY line), '{}') AS unit_prices
    FROM order_items WHERE order_id = o.order_id
) i
WHERE o.order_id = $1";

/// The service's own routes.
pub(crate) fn routes(pool: Pool) -> Router {
    Router::new()
        .route("/orders/{order_id}", get(order))
        .with_state(pool)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OrderView {
    order_id: OrderId,
    checkout_id: CheckoutId,
    cart_id: CartId,
    customer_id: CustomerId,
    /// RECORDED or CANCELLED.
    status: String,
    /// Minor units of the currency.
    total: i64,
    currency: String,
    payment_authorization_id: AuthorizationId,
    recorded_at: Timestamp,
    cancelled_at: Option<Timestamp>,
    cancel_reason: Option<String>,
    items: Vec<OrderLine>,
}

async fn order(
    State(pool): State<Pool>,
    Path(order_id): Path<String>,
) -> Result<Json<OrderView>, ApiError> {
    let order_id: OrderId = ApiError::parse_id::<OrderKind>(&order_id)?;
    let rows = query_rows(&pool, ORDER, &[&order_id.into_untyped_uuid()]).await?;
    match rows.first() {
        Some(row) => Ok(Json(view(order_id, row)?)),
        None => Err(ApiError::not_found(format!("there is no order {order_id}"))),
    }
}

fn view(order_id: OrderId, row: &Row) -> Result<OrderView, tokio_postgres::Error> {
    let products: Vec<String> = row.try_get("products")?;
    let quantities: Vec<i32> = row.try_get("quantities")?;
    let unit_prices: Vec<i64> = row.try_get("unit_prices")?;
    let items = products.into_iter().zip(quantities).zip(unit_prices);
    Ok(OrderView {
        order_id,
        checkout_id: CheckoutId::from_untyped_uuid(row.try_get("checkout_id")?),
        cart_id: CartId::from_untyped_uuid(row.try_get("cart_id")?),
        customer_id: CustomerId::from_untyped_uuid(row.try_get("customer_id")?),
        status: row.try_get("state")?,
        total: row.try_get("total")?,
        currency: row.try_get("currency")?,
        payment_authorization_id: AuthorizationId::from_untyped_uuid(
            row.try_get("payment_authorization_id")?,
        ),
        recorded_at: row.try_get("answered_at")?,
        cancelled_at: row.try_get("cancelled_at")?,
        cancel_reason: row.try_get("cancel_reason")?,
        items: items
            .map(|((product_id, quantity), unit_price)| OrderLine {
                product_id,
                quantity,
                unit_price,
            })
            .collect(),
    })
}
