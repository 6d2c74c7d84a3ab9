//! HTTP routes: the points of a customer.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use contracts::ids::{CustomerId, CustomerKind, GenericUuid};
use deadpool_postgres::Pool;
use serde::Serialize;
use service::{ApiError, query_rows};

const POINTS: &str = "
SELECT COALESCE(sum(points), 0)::int8 FROM awards
WHERE customer_id = $1 AND state = 'AWARDED'";

/// The service's own routes.
pub(crate) fn routes(pool: Pool) -> Router {
    Router::new()
        .route("/points/{customer_id}", get(points))
        .with_state(pool)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PointsView {
    customer_id: CustomerId,
    points: i64,
}

async fn points(
    State(pool): State<Pool>,
    Path(customer_id): Path<String>,
) -> Result<Json<PointsView>, ApiError> {
    let customer_id: CustomerId = ApiError::parse_id::<CustomerKind>(&customer_id)?;
    let rows = query_rows(&pool, POINTS, &[&customer_id.into_untyped_uuid()]).await?;
    let points = match rows.first() {
        Some(row) => row.try_get(0)?,
        None => 0,
    };
    Ok(Json(PointsView {
        customer_id,
        points,
    }))
}
