//! The page when something is wrong: what, and what to do.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use crate::layout::View;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    title: &'static str,
    text: String,
}

impl Problem {
    /// The request makes no sense: 400.
    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "This cannot be read", text)
    }

    /// There is no such thing: 404.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", text)
    }

    /// It is not allowed: 403.
    pub(crate) fn forbidden(title: &'static str, text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, title, text)
    }

    /// What is needed is away, or too slow: 503.
    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not now", text)
    }

    /// Something else.
    pub(crate) fn new(status: StatusCode, title: &'static str, text: impl Into<String>) -> Self {
        Self {
            status,
            title,
            text: text.into(),
        }
    }

    fn body(&self) -> Markup {
        html! {
            h1 { (self.title) }
            p.notice role="alert" { (self.text) }
            p { a href="/" { "To the overview" } }
        }
    }
}

impl From<operations::Error> for Problem {
    fn from(error: operations::Error) -> Self {
        tracing::warn!(%error, "a page could not be made");
        Self::unavailable(error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let view = View::new(self.title, self.body());
        (self.status, view).into_response()
    }
}
