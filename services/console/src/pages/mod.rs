//! The pages, one file each, and their routes.

mod actions;
mod cart;
mod chart;
mod hops;
mod letters;
mod overview;
mod remedies;
mod sagas;
mod sign_in;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::console::Shared;
use crate::problem::Problem;
use crate::security;

/// All routes.
pub(crate) fn router(console: Shared) -> Router {
    Router::new()
        .route("/", get(overview::page))
        .route("/sagas", get(sagas::page))
        .route("/carts", get(cart::find))
        .route("/carts/{cart_id}", get(cart::page))
        .route("/letters", get(letters::page))
        .route(
            "/actions/sagas",
            get(actions::sagas::confirm).post(actions::sagas::act),
        )
        .route(
            "/actions/letters",
            get(actions::letters::confirm).post(actions::letters::act),
        )
        .route("/sign-in", get(sign_in::page).post(sign_in::enter))
        .route("/sign-out", post(sign_in::leave))
        .route(
            "/style.css",
            get(|| async { file("text/css", include_str!("../style.css")) }),
        )
        .route(
            "/live.js",
            get(|| async { file("text/javascript", include_str!("../live.js")) }),
        )
        .fallback(|| async { Problem::not_found("There is no such page.") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "Not so",
                "This page is not asked for in this way.",
            )
        })
        .layer(from_fn_with_state(console.clone(), security::guard))
        .with_state(console)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let kind = format!("{kind}; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

#[cfg(test)]
mod tests;
