//! What the HTTP routes of all services share: errors as JSON and reads.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use deadpool_postgres::{Pool, PoolError};
use newtype_uuid::{TypedUuid, TypedUuidKind};
use serde_json::json;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::database::describe_error;

/// A refused or failed request: a status and `{"error": "…"}`.
#[derive(Debug, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    message: String,
}

impl ApiError {
    /// The request makes no sense: 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }

    /// There is no such thing: 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            message: message.into(),
        }
    }

    /// Something this service needs is away, or too slow: 503. Trying again later
    /// makes sense.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            message: message.into(),
        }
    }

    /// Reads an id of a path.
    ///
    /// # Errors
    /// 400 where the text is not a UUID.
    pub fn parse_id<K: TypedUuidKind>(text: &str) -> Result<TypedUuid<K>, Self> {
        text.parse().map_err(|_| {
            let shown: String = text.chars().take(64).collect();
            Self::bad_request(format!(
                "`{shown}` is not a UUID, so no {} has this id",
                K::tag()
            ))
        })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

impl From<tokio_postgres::Error> for ApiError {
    fn from(error: tokio_postgres::Error) -> Self {
        // The client learns that, not what: SQL is not part of the API.
        tracing::warn!(error = describe_error(&error), "a database read failed");
        Self::unavailable("the database did not answer")
    }
}

impl From<PoolError> for ApiError {
    fn from(error: PoolError) -> Self {
        tracing::warn!(%error, "no database connection for a request");
        Self::unavailable("the database did not answer")
    }
}

/// Runs one read on a pooled connection.
///
/// # Errors
/// 503 where the database does not answer in time.
pub async fn query_rows(
    pool: &Pool,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, ApiError> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, params).await?)
}

#[cfg(test)]
mod tests {
    use contracts::ids::{OrderId, OrderKind};

    use super::*;

    #[test]
    fn ids_are_parsed_or_refused_with_their_kind() {
        let id: OrderId = ApiError::parse_id("6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e").unwrap();
        assert_eq!(id.to_string(), "6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e");
        let error = ApiError::parse_id::<OrderKind>("seven").unwrap_err();
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
        assert!(error.message.contains("`seven`"), "{}", error.message);
        assert!(error.message.contains("order"), "{}", error.message);
    }
}
