//! The frame of every page: head, navigation, who is signed in; and small things that
//! pages have in common.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::fields::query;
use crate::security::Visitor;

/// The pages of the navigation.
const PAGES: &[(&str, &str)] = &[
    ("/", "Overview"),
    ("/sagas", "Sagas"),
    ("/letters", "Dead letters"),
];

/// The content of a page; [`framed`] puts it into its frame.
#[derive(Clone)]
pub(crate) struct View {
    title: String,
    body: String,
    live_seconds: Option<u32>,
}

impl View {
    /// A page that stays as it is.
    pub(crate) fn new(title: impl Into<String>, body: Markup) -> Self {
        Self {
            title: title.into(),
            body: body.into_string(),
            live_seconds: None,
        }
    }

    /// A page that is looked at again after so many seconds, where the browser can.
    #[must_use]
    pub(crate) fn live(mut self, seconds: u32) -> Self {
        self.live_seconds = Some(seconds);
        self
    }
}

impl IntoResponse for View {
    fn into_response(self) -> Response {
        let mut response = StatusCode::OK.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Puts the content of a page, if that is what the answer is, into its frame.
pub(crate) fn framed(mut answer: Response, visitor: &Visitor) -> Response {
    let Some(view) = answer.extensions_mut().remove::<View>() else {
        return answer;
    };
    let page = frame(&view, visitor).into_string();
    let (mut parts, _) = answer.into_parts();
    // The empty body that the answer had so far told its length and type.
    let mut headers = HeaderMap::new();
    for name in [header::SET_COOKIE, header::RETRY_AFTER] {
        headers.extend(parts.headers.remove(&name).map(|value| (name, value)));
    }
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    parts.headers = headers;
    Response::from_parts(parts, page.into())
}

fn frame(view: &View, visitor: &Visitor) -> Markup {
    let path = visitor.path.split('?').next().unwrap_or_default();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (view.title) " · Checkout console" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/style.css";
                script src="/live.js" defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    div.bar {
                        p.name { a href="/" { "Checkout console" } }
                        nav aria-label="Pages" {
                            ul {
                                @for (href, name) in PAGES {
                                    li {
                                        @if *href == path {
                                            a href=(href) aria-current="page" { (name) }
                                        } @else {
                                            a href=(href) { (name) }
                                        }
                                    }
                                }
                            }
                        }
                        form.find action="/carts" method="get" role="search" {
                            label for="find" { "Cart" }
                            input #find name="id" type="search" autocomplete="off" spellcheck="false"
                                placeholder="id" required;
                            button { "Show" }
                        }
                        (who(visitor))
                    }
                    @if view.live_seconds.is_some() { (live(visitor)) }
                }
                main #main tabindex="-1" data-live=[view.live_seconds] {
                    (PreEscaped(&view.body))
                }
                footer {
                    p.quiet { "Times are in UTC. Money is in minor units of its currency." }
                }
            }
        }
    }
}

/// Over the page, so that it is at hand before what changes.
fn live(visitor: &Visitor) -> Markup {
    html! {
        div.live {
            // Of use only to a script, which shows it.
            p hidden {
                span.quiet #live-status role="status" {} " "
                button type="button" #pause aria-pressed="false" { "Pause updates" }
            }
            noscript { p { a href=(visitor.path) { "Refresh this page" } } }
        }
    }
}

fn who(visitor: &Visitor) -> Markup {
    html! {
        @match (&visitor.session, visitor.can_act) {
            (Some(session), _) => form.who action="/sign-out" method="post" {
                input type="hidden" name="csrf" value=(session.csrf);
                span { span.words { "Signed in as " } strong { (session.name) } }
                " " button { "Sign out" }
            },
            (None, true) => p.who {
                a href={ "/sign-in?" (query([("next", visitor.path.as_str())])) } { "Sign in to act" }
            },
            (None, false) => p.who { span.quiet { "Read-only" } },
        }
    }
}

/// A time, with how long ago it is for who hovers, and for programs.
pub(crate) fn time(at: Timestamp) -> Markup {
    html! { time datetime=(at) title=(operations::clock(at)) { (operations::ago(at, Timestamp::now())) } }
}

/// A time by the clock.
pub(crate) fn clock(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (format!("{at:.3}").replace('T', " ").trim_end_matches('Z')) } }
}

/// A span such as `+12 ms`, from one time to another.
pub(crate) fn span(from: Timestamp, to: Timestamp) -> String {
    let span = to.duration_since(from);
    let sign = match span.is_negative() {
        true => "−",
        false => "+",
    };
    let span = span.abs();
    match span {
        span if span < SignedDuration::from_secs(1) => format!("{sign}{} ms", span.as_millis()),
        span if span < SignedDuration::from_secs(120) => {
            format!("{sign}{:.1} s", span.as_secs_f64())
        }
        span if span < SignedDuration::from_hours(2) => format!("{sign}{} min", span.as_mins()),
        span => format!("{sign}{} h", span.as_hours()),
    }
}

/// A state, marked by how urgent it is; the word says it, too.
pub(crate) fn state(state: &str) -> Markup {
    let class = match state {
        "COMPLETED" => "good",
        "STUCK" | "ABANDONED" => "bad",
        "IN_DOUBT" | "COMPENSATING" => "warn",
        _ => "plain",
    };
    html! { span class={ "mark " (class) } { (state) } }
}

/// A cart, as a link to its page.
pub(crate) fn cart(id: impl std::fmt::Display) -> Markup {
    html! { a.id href={ "/carts/" (id) } { (id) } }
}

/// A part that scrolls sideways by itself where it is too wide; `name` is told to who
/// cannot see it.
pub(crate) fn wide(name: &str, content: &Markup) -> Markup {
    html! { div.wide role="group" aria-label=(name) tabindex="0" { (content) } }
}

/// A value as text that is easy to read.
pub(crate) fn json(value: &Value) -> Markup {
    let text = serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string());
    html! { pre tabindex="0" { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_one_unit() {
        let from = Timestamp::UNIX_EPOCH;
        for (ms, text) in [
            (0, "+0 ms"),
            (999, "+999 ms"),
            (1_500, "+1.5 s"),
            (180_000, "+3 min"),
            (7_200_000, "+2 h"),
            (-5, "−5 ms"),
        ] {
            let to = Timestamp::from_millisecond(ms).unwrap();
            assert_eq!(span(from, to), text);
        }
    }

    #[test]
    fn what_others_wrote_is_no_markup() {
        let hostile = "<script>alert(1)</script>";
        let visitor = Visitor {
            session: None,
            can_act: true,
            path: format!("/sagas?step=\"{hostile}"),
        };
        let view = View::new(hostile, json(&Value::String(hostile.to_owned())));
        let page = frame(&view, &visitor).into_string();
        assert!(!page.contains(hostile), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
    }
}
