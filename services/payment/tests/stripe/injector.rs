//! An HTTP server that gives the responses a test lists, in order, and keeps what
//! it was asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    /// The form, decoded, in order.
    pub(crate) form: Vec<(String, String)>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What to respond.
#[derive(Clone)]
pub(crate) enum Reply {
    /// A status and a body.
    Json(u16, Value),
    /// A status and bytes.
    Raw(u16, Vec<u8>),
    /// A redirection to this place.
    Redirect(String),
    /// Nothing, ever.
    Silence,
}

#[derive(Clone, Default)]
struct Shared {
    replies: Arc<Mutex<VecDeque<Reply>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// The running server; it ends with its test.
pub(crate) struct Injector {
    pub(crate) url: String,
    shared: Shared,
}

impl Injector {
    /// Starts a server that gives these responses; any further request gets 418.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let shared = Shared::default();
        *shared.replies.lock().unwrap() = replies.into_iter().collect();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(reply).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

async fn reply(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let form = reqwest::Url::parse(&format!("form:?{}", String::from_utf8_lossy(&body)))
        .unwrap()
        .query_pairs()
        .into_owned()
        .collect();
    shared.asked.lock().unwrap().push(Asked {
        method,
        target: uri.to_string(),
        headers,
        form,
    });
    let reply = shared.replies.lock().unwrap().pop_front();
    match reply {
        Some(Reply::Json(status, body)) => (
            status_of(status),
            [("request-id", "req_1")],
            body.to_string(),
        )
            .into_response(),
        Some(Reply::Raw(status, body)) => (status_of(status), body).into_response(),
        Some(Reply::Redirect(to)) => (StatusCode::FOUND, [("location", to)]).into_response(),
        Some(Reply::Silence) => std::future::pending().await,
        None => StatusCode::IM_A_TEAPOT.into_response(),
    }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap()
}
