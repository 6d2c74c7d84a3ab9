//! The way in, and out.

use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use operations::parse;

use crate::console::Shared;
use crate::fields::Fields;
use crate::layout::View;
use crate::problem::Problem;
use crate::security::{Posted, SignIn, Visitor, form, read_only};

/// How long the answer to a wrong token takes: whoever mistypes does not mind.
const WRONG_TOKEN_PAUSE: Duration = Duration::from_millis(500);

pub(super) async fn page(
    Extension(visitor): Extension<Visitor>,
    RawQuery(text): RawQuery,
) -> Response {
    let fields = Fields::parse(&text.unwrap_or_default());
    let next = next(&fields);
    match (visitor.can_act, &visitor.session) {
        (false, _) => read_only().into_response(),
        (true, Some(_)) => Redirect::to(next).into_response(),
        (true, None) => view(next, None).into_response(),
    }
}

/// Where to go then: a page of ours, whatever the query says.
fn next(fields: &Fields) -> &str {
    let is_ours =
        |path: &&str| path.starts_with('/') && !path.contains('\\') && !path.starts_with("//");
    fields.get("next").filter(is_ours).unwrap_or("/")
}

fn view(next: &str, wrong: Option<&str>) -> View {
    let body: Markup = html! {
        h1 { "Sign in" }
        p { "To look, nothing is needed. To act, sign in with the token that the console was started with." }
        @if let Some(wrong) = wrong { p.notice #wrong role="alert" { (wrong) } }
        form.confirm action="/sign-in" method="post" {
            input type="hidden" name="next" value=(next);
            p.field {
                label for="name" { "Your name" }
                input #name name="name" required autocomplete="username"
                    maxlength=(parse::TEXT_MAX_CHARS) aria-describedby="name-help";
                span.quiet #name-help { "or your role: it is kept with everything that you do" }
            }
            p.field {
                label for="token" { "Token" }
                input #token name="token" type="password" required autocomplete="current-password"
                    aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| "wrong")];
            }
            button { "Sign in" }
        }
    };
    View::new("Sign in", body)
}

pub(super) async fn enter(
    State(console): State<Shared>,
    request: Request,
) -> Result<Response, Response> {
    let fields = form(request, &console).await?;
    let next = next(&fields);
    let name = parse::words(fields.get("name").unwrap_or_default()).map_err(|why| {
        Problem::bad(format!(
            "Your name is needed: {why}. Go back and try again."
        ))
        .into_response()
    })?;
    let token = fields.get("token").unwrap_or_default();
    match console.access.sign_in(token, &name, Instant::now()) {
        SignIn::Welcome(cookie) => {
            tracing::info!(operator = name, "an operator signed in");
            Ok(([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response())
        }
        SignIn::WrongToken => {
            tracing::warn!(operator = name, "a sign-in with a wrong token");
            tokio::time::sleep(WRONG_TOKEN_PAUSE).await;
            let view = view(next, Some("This is not the token. Nobody was signed in."));
            Ok((StatusCode::FORBIDDEN, view).into_response())
        }
        SignIn::TooMany { seconds } => {
            let problem = Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "Too many tries",
                format!("Too many wrong tokens were tried. Try again in {seconds} s."),
            );
            Ok(([(header::RETRY_AFTER, seconds.to_string())], problem).into_response())
        }
        SignIn::ReadOnly => Err(read_only().into_response()),
    }
}

pub(super) async fn leave(State(console): State<Shared>, posted: Posted) -> Response {
    let cookie = console.access.sign_out(&posted.operator);
    tracing::info!(operator = posted.operator.name, "an operator signed out");
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_comes_back_to_pages_of_ours_alone() {
        let of = |text: &str| next(&Fields::parse(text)).to_owned();
        assert_eq!(of("next=%2Fcarts%2F1%3Fa%3D2"), "/carts/1?a=2");
        for foreign in [
            "",
            "next=https://evil.example",
            "next=//evil.example",
            "next=/\\evil",
        ] {
            assert_eq!(of(foreign), "/", "{foreign}");
        }
    }
}
