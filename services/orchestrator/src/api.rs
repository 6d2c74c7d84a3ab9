//! The status of a checkout, for whoever waits for its end: once, or as a stream
//! of server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::CACHE_CONTROL;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use contracts::ids::{CartId, CartKind, GenericUuid};
use deadpool_postgres::Pool;
use flow::{CustomerStatus, Saga};
use futures::Stream;
use futures::stream::unfold;
use serde_json::json;
use service::{ApiError, query_rows};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::history::{self, Shown};
use crate::store;

/// Silence after which a stream sends a comment, so that proxies keep it open and a
/// client that is gone is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The transitions of a cart that are shown, the newest.
const TRANSITIONS_SHOWN: i64 = 1_000;

/// Limits of the streams of status events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamLimits {
    /// How often a stream looks for a change.
    pub(crate) poll: Duration,
    /// Most streams at once.
    pub(crate) streams: usize,
    /// How long one lasts at most.
    pub(crate) lifetime: Duration,
}

#[derive(Clone)]
struct Api {
    pool: Pool,
    limits: StreamLimits,
    slots: Arc<Semaphore>,
}

/// The service's own routes.
pub(crate) fn routes(pool: Pool, limits: StreamLimits) -> Router {
    let api = Api {
        pool,
        limits,
        slots: Arc::new(Semaphore::new(limits.streams)),
    };
    Router::new()
        .route("/checkouts/{cart_id}", get(checkout))
        .route("/checkouts/{cart_id}/events", get(events))
        .route("/sagas/{cart_id}", get(saga))
        .with_state(api)
}

async fn checkout(
    State(api): State<Api>,
    Path(cart_id): Path<String>,
) -> Result<Response, ApiError> {
    let status = api
        .status(ApiError::parse_id::<CartKind>(&cart_id)?)
        .await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(status)).into_response())
}

/// Everything that is known of a saga, for operators; not for customers.
async fn saga(State(api): State<Api>, Path(cart_id): Path<String>) -> Result<Response, ApiError> {
    let cart = ApiError::parse_id::<CartKind>(&cart_id)?;
    let saga = api.saga(cart).await?;
    let (cart_id, most) = (cart.into_untyped_uuid(), TRANSITIONS_SHOWN);
    let rows = query_rows(&api.pool, history::OF_CART, &[&cart_id, &most]).await?;
    let transitions = rows
        .iter()
        .map(Shown::of)
        .collect::<Result<Vec<_>, tokio_postgres::Error>>()?;
    let shown = json!({ "saga": saga, "transitions": transitions });
    Ok(([(CACHE_CONTROL, "no-store")], Json(shown)).into_response())
}

async fn events(State(api): State<Api>, Path(cart_id): Path<String>) -> Result<Response, ApiError> {
    let cart = ApiError::parse_id::<CartKind>(&cart_id)?;
    let slot = Arc::clone(&api.slots).try_acquire_owned().map_err(|_| {
        ApiError::unavailable(format!(
            "{} event streams are open, which is the limit; try again later, or ask for \
             /checkouts/{cart} from time to time",
            api.limits.streams
        ))
    })?;
    let first = api.status(cart).await?;
    let stream =
        Sse::new(changes(api, cart, first, slot)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([(CACHE_CONTROL, "no-store")], stream).into_response())
}

impl Api {
    async fn status(&self, cart: CartId) -> Result<CustomerStatus, ApiError> {
        Ok(self.saga(cart).await?.customer_status())
    }

    async fn saga(&self, cart: CartId) -> Result<Saga, ApiError> {
        let rows = query_rows(&self.pool, store::READ_ONE, &[&cart.into_untyped_uuid()]).await?;
        let Some(row) = rows.first() else {
            return Err(ApiError::not_found(format!(
                "no checkout of cart {cart} is known; if it was asked for just now, try again in \
                 a moment"
            )));
        };
        Ok(store::saga(row)?)
    }
}

/// A stream while it is open.
struct Watch {
    api: Api,
    cart: CartId,
    shown: Option<CustomerStatus>,
    next: Option<CustomerStatus>,
    ends_at: Instant,
    /// Given back when the stream ends, or its client is gone.
    _slot: OwnedSemaphorePermit,
}

/// The first status and every change, until the checkout has ended.
fn changes(
    api: Api,
    cart: CartId,
    first: CustomerStatus,
    slot: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let watch = Watch {
        ends_at: Instant::now() + api.limits.lifetime,
        api,
        cart,
        shown: None,
        next: Some(first),
        _slot: slot,
    };
    unfold(watch, |mut watch| async move {
        let status = watch.change().await?;
        let event = Event::default()
            .event("status")
            .json_data(&status)
            .unwrap_or_else(|error| Event::default().event("error").data(error.to_string()));
        watch.shown = Some(status);
        Some((Ok(event), watch))
    })
}

impl Watch {
    /// Waits for a status that was not shown yet; `None` when there will be none.
    async fn change(&mut self) -> Option<CustomerStatus> {
        if let Some(next) = self.next.take() {
            return Some(next);
        }
        if self.shown.as_ref().is_some_and(|shown| shown.ended) {
            return None;
        }
        loop {
            let poll_at = Instant::now() + self.api.limits.poll;
            sleep_until(poll_at.min(self.ends_at)).await;
            if Instant::now() >= self.ends_at {
                return None;
            }
            // A database that is away for a moment was logged; the stream goes on.
            if let Ok(status) = self.api.status(self.cart).await
                && self.shown.as_ref() != Some(&status)
            {
                return Some(status);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use deadpool_postgres::Manager;
    use tower::ServiceExt;

    use super::*;

    /// The answer of an API whose database is away.
    async fn ask(path: &str, streams: usize) -> (u16, String) {
        let nowhere = "host=127.0.0.1 port=1 user=nobody connect_timeout=1"
            .parse()
            .unwrap();
        let manager = Manager::new(nowhere, tokio_postgres::NoTls);
        let pool = Pool::builder(manager).max_size(1).build().unwrap();
        let limits = StreamLimits {
            poll: Duration::from_millis(10),
            streams,
            lifetime: Duration::from_secs(1),
        };
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes(pool, limits).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 16).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_is_no_cart_id_is_refused_in_json() {
        for path in ["/checkouts/seven", "/checkouts/seven/events"] {
            let (status, body) = ask(path, 1).await;
            assert_eq!(status, 400);
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert!(body["error"].as_str().unwrap().contains("cart"), "{body}");
        }
    }

    #[tokio::test]
    async fn streams_are_bounded() {
        let cart = uuid::Uuid::from_u128(1);
        let (status, body) = ask(&format!("/checkouts/{cart}/events"), 0).await;
        assert_eq!(status, 503);
        assert!(body.contains("0 event streams"), "{body}");
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_told_apart_from_an_unknown_cart() {
        let cart = uuid::Uuid::from_u128(1);
        assert_eq!(ask(&format!("/checkouts/{cart}"), 1).await.0, 503);
        assert_eq!(ask(&format!("/checkouts/{cart}/events"), 1).await.0, 503);
    }
}
