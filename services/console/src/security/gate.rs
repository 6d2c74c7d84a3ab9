//! What every request passes, and what a handler asks for that acts.

use std::time::Instant;

use axum::Extension;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::{Session, check_origin};
use crate::console::Shared;
use crate::fields::{Fields, query};
use crate::layout;
use crate::problem::Problem;

/// What a page may contain and who may embed it: nothing that is not our own.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
                      img-src 'self' data:";

/// Said of every answer.
const HEADERS: &[(header::HeaderName, &str)] = &[
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Whoever sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// Absent for somebody who only looks.
    pub(crate) session: Option<Session>,
    /// Whether anybody may act at all.
    pub(crate) can_act: bool,
    /// What was asked for, to come back to.
    pub(crate) path: String,
}

/// Passes requests that name a host of ours, finds out whose they are, frames the page
/// that answers, and says what browsers may do with it.
pub(crate) async fn guard(
    State(console): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let access = &console.access;
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let visitor = Visitor {
        session: access.sessions.of(request.headers(), Instant::now()),
        can_act: access.can_act(),
        path: path.to_owned(),
    };
    let answer = match access.hosts.allow(request.headers()) {
        true => {
            request.extensions_mut().insert(visitor.clone());
            let made = tokio::time::timeout(console.page_limit, next.run(request));
            made.await.unwrap_or_else(|_| {
                Problem::unavailable(format!(
                    "No answer within {} ms. What was asked for may still be done: look before \
                     you ask again.",
                    console.page_limit.as_millis()
                ))
                .into_response()
            })
        }
        false => Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "Not this host",
            "The console does not answer to this host name. If it is meant to, start it with \
             --allowed-host.",
        )
        .into_response(),
    };
    let mut answer = layout::framed(answer, &visitor);
    for (name, value) in HEADERS {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Somebody who is signed in, and so may act.
#[derive(Clone, Debug)]
pub(crate) struct Operator(pub(crate) Session);

impl FromRequestParts<Shared> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Response> {
        let Extension(visitor) = Extension::<Visitor>::from_request_parts(parts, state)
            .await
            .map_err(IntoResponse::into_response)?;
        match (visitor.session, visitor.can_act) {
            (_, false) => Err(read_only().into_response()),
            (Some(session), true) => Ok(Self(session)),
            (None, true) if parts.method == Method::GET => {
                let next = query([("next", visitor.path.as_str())]);
                Err(Redirect::to(&format!("/sign-in?{next}")).into_response())
            }
            (None, true) => Err(Problem::forbidden(
                "Sign in first",
                "Nothing was done: you are not signed in, or no longer. Sign in, and ask again.",
            )
            .into_response()),
        }
    }
}

/// What is said where nobody may act.
pub(crate) fn read_only() -> Problem {
    Problem::forbidden(
        "Read-only",
        "This console only shows. To let operators act, start it with CONSOLE_TOKEN set to at \
         least 16 characters, such as `openssl rand -hex 16` makes; checkoutctl acts in any case.",
    )
}

/// A form that an operator sent from a page of their session.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) operator: Session,
    pub(crate) fields: Fields,
}

impl FromRequest<Shared> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Operator(operator) = Operator::from_request_parts(&mut parts, state).await?;
        let fields = form(Request::from_parts(parts, body), state).await?;
        if !operator.has_made(fields.get("csrf").unwrap_or_default()) {
            return Err(forged("it has not the secret of your session's pages"));
        }
        Ok(Self { operator, fields })
    }
}

/// The fields of a form that was sent by a page of this console.
pub(crate) async fn form(request: Request, state: &Shared) -> Result<Fields, Response> {
    check_origin(request.headers()).map_err(|why| forged(&why))?;
    if !is_form(request.headers()) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "No form",
            "This takes forms alone: application/x-www-form-urlencoded.",
        )
        .into_response());
    }
    let body = String::from_request(request, state)
        .await
        .map_err(|error| {
            Problem::new(error.status(), "No form", error.body_text()).into_response()
        })?;
    Ok(Fields::parse(&body))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

fn forged(why: &str) -> Response {
    Problem::forbidden(
        "Not from this console",
        format!(
            "Nothing was done: the form was not sent by a page of this console that you have \
             open; {why}. Load the page again, and send it from there."
        ),
    )
    .into_response()
}
