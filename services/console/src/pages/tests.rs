//! The pages as browsers ask for them, of a console whose backends are all away.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header};
use clap::Parser;
use tower::ServiceExt;

use super::router;
use crate::console::Console;
use crate::fields::query;
use crate::options::Options;

const TOKEN: &str = "0123456789abcdef";
const HOST: &str = "127.0.0.1:8090";
const CART: &str = "6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e";

fn console(more: &[&str]) -> Router {
    let usual = [
        "console",
        "--backend-timeout-ms=200",
        "--kafka-bootstrap-servers=127.0.0.1:1",
        "--schema-registry-url=http://127.0.0.1:1",
        "--orchestrator-database-url=postgresql://nobody@127.0.0.1:1/none",
    ];
    let options = Options::parse_from(usual.iter().chain(more));
    router(Console::new(options, HOST.parse().unwrap()).unwrap())
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The cookie that came, as it is sent back.
    fn cookie(&self) -> String {
        let cookie = self.header(header::SET_COOKIE);
        cookie.split(';').next().unwrap().to_owned()
    }

    /// The secret of the forms on the page.
    fn csrf(&self) -> String {
        let (_, rest) = self.text.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8(body.to_vec()).unwrap(),
    }
}

async fn get(router: &Router, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path).header(header::HOST, HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(router, request.body(Body::empty()).unwrap()).await
}

async fn post(
    router: &Router,
    path: &str,
    fields: &[(&str, &str)],
    headers: &[(&str, &str)],
) -> Answer {
    let mut request = Request::post(path)
        .header(header::HOST, HOST)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = query(fields.iter().copied());
    send(router, request.body(Body::from(body)).unwrap()).await
}

/// Signs in; the cookie and the secret of the session's forms.
async fn sign_in(router: &Router) -> (String, String) {
    let fields = [
        ("name", "night shift"),
        ("token", TOKEN),
        ("next", "/sagas"),
    ];
    let answer = post(router, "/sign-in", &fields, &[]).await;
    assert_eq!(
        (answer.status, answer.header(header::LOCATION)),
        (303, "/sagas")
    );
    let cookie = answer.cookie();
    let page = get(router, "/", &[("cookie", &cookie)]).await;
    assert!(page.text.contains("night shift"), "{}", page.text);
    (cookie, page.csrf())
}

#[tokio::test]
async fn pages_may_contain_nothing_that_is_not_ours() {
    let router = console(&[]);
    for path in ["/", "/nothing", "/style.css", "/carts/7"] {
        let answer = get(&router, path, &[]).await;
        let policy = answer.header(header::CONTENT_SECURITY_POLICY);
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "script-src 'self'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(answer.header(header::REFERRER_POLICY), "no-referrer");
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
        assert!(!answer.text.contains(" style=\""), "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_with_what_to_do() {
    let router = console(&[]);
    let hostile = "/sagas?step=%3Cscript%3Ealert(1)%3C/script%3E";
    for (path, status, says) in [
        ("/carts/7", 400, "A cart"),
        ("/carts", 400, "Type the id"),
        ("/carts?id=x", 400, "6f2d7c1e"),
        ("/sagas?state=lost", 400, "COMPENSATING"),
        ("/sagas?after=x", 400, "UUID"),
        (hostile, 400, "the steps are"),
        ("/letters?code=x", 400, "NOT_FRAMED"),
        ("/letters?since=soon", 400, "2026-01-31T12:00:00Z"),
        ("/letters?after=x", 400, "TOPIC:PARTITION:OFFSET"),
        ("/nothing", 404, "no such page"),
        ("/sagas", 503, "orchestrator database"),
    ] {
        let answer = get(&router, path, &[]).await;
        assert_eq!(answer.status, status, "{path}");
        if path != "/carts/7" {
            assert!(answer.text.contains(says), "{path}: {}", answer.text);
        }
        assert!(!answer.text.contains("<script>alert"), "{path}");
        assert_eq!(answer.text.matches("<h1>").count(), 1, "{path}");
    }
    let answer = post(&router, "/sagas", &[], &[]).await;
    assert_eq!(answer.status, 405);
}

#[tokio::test]
async fn the_overview_is_there_while_everything_is_away() {
    let router = console(&[]);
    let answer = get(&router, "/", &[]).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("Not looked at yet"), "{}", answer.text);
    assert!(answer.text.contains("Read-only"), "{}", answer.text);
}

#[tokio::test]
async fn without_a_token_nobody_acts() {
    let router = console(&[]);
    let retry = format!("/actions/sagas?action=RETRY&cart={CART}");
    for answer in [
        get(&router, &retry, &[]).await,
        get(&router, "/actions/letters?action=redrive", &[]).await,
        get(&router, "/sign-in", &[]).await,
        post(&router, "/actions/sagas", &[("action", "RETRY")], &[]).await,
        post(&router, "/sign-in", &[("name", "x"), ("token", "")], &[]).await,
    ] {
        assert_eq!(answer.status, 403, "{}", answer.text);
        assert!(answer.text.contains("CONSOLE_TOKEN"), "{}", answer.text);
    }
}

#[tokio::test]
async fn who_is_not_signed_in_is_asked_to() {
    let router = console(&["--console-token", TOKEN]);
    let retry = format!("/actions/sagas?action=RETRY&cart={CART}");
    let answer = get(&router, &retry, &[]).await;
    assert_eq!(answer.status, 303);
    let way = answer.header(header::LOCATION);
    assert!(way.starts_with("/sign-in?next=%2Factions%2Fsagas"), "{way}");
    let answer = post(&router, "/actions/sagas", &[("action", "RETRY")], &[]).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text.contains("Sign in first"), "{}", answer.text);

    let wrong = [("name", "night shift"), ("token", "wrong")];
    let answer = post(&router, "/sign-in", &wrong, &[]).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text.contains("not the token"), "{}", answer.text);
    assert_eq!(answer.header(header::SET_COOKIE), "");
    let nobody = [("name", " "), ("token", TOKEN)];
    assert_eq!(post(&router, "/sign-in", &nobody, &[]).await.status, 400);
}

#[tokio::test]
async fn many_wrong_tokens_close_the_door() {
    let router = console(&["--console-token", TOKEN, "--sign-in-failures-per-minute=1"]);
    let with = |token| [("name", "x"), ("token", token)];
    assert_eq!(
        post(&router, "/sign-in", &with("wrong"), &[]).await.status,
        403
    );
    let answer = post(&router, "/sign-in", &with(TOKEN), &[]).await;
    assert_eq!(answer.status, 429);
    assert_ne!(answer.header(header::RETRY_AFTER), "");
}

#[tokio::test]
async fn forged_forms_do_nothing() {
    let router = console(&["--console-token", TOKEN]);
    let (cookie, csrf) = sign_in(&router).await;
    let (_, other) = sign_in(&router).await;
    let cookie = ("cookie", cookie.as_str());
    let act = async |csrf: &str, headers: &[(&str, &str)]| {
        let fields = [
            ("csrf", csrf),
            ("action", "nonsense"),
            ("reason", "the test"),
        ];
        let headers = [&[cookie], headers].concat();
        let answer = post(&router, "/actions/sagas", &fields, &headers).await;
        (answer.status, answer.text)
    };
    // The right form gets as far as to be read.
    let (status, text) = act(&csrf, &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!(status, 400, "{text}");
    assert!(text.contains("the actions are"), "{text}");
    for (csrf, headers) in [
        ("", vec![]),
        (other.as_str(), vec![]),
        (csrf.as_str(), vec![("sec-fetch-site", "cross-site")]),
        (csrf.as_str(), vec![("origin", "http://evil.example")]),
        (csrf.as_str(), vec![("origin", "null")]),
    ] {
        let (status, text) = act(csrf, &headers).await;
        assert_eq!(status, 403, "{csrf} {headers:?}");
        assert!(text.contains("Nothing was done"), "{text}");
    }
    let json = [cookie, ("content-type", "application/json")];
    let answer = post(&router, "/sign-out", &[("csrf", &csrf)], &json).await;
    assert_ne!(answer.status, 200, "a form alone is taken");
}

#[tokio::test]
async fn who_signs_out_is_out() {
    let router = console(&["--console-token", TOKEN]);
    let (cookie, csrf) = sign_in(&router).await;
    let answer = post(
        &router,
        "/sign-out",
        &[("csrf", &csrf)],
        &[("cookie", &cookie)],
    )
    .await;
    assert_eq!(answer.status, 303);
    assert!(answer.header(header::SET_COOKIE).contains("Max-Age=0"));
    let page = get(&router, "/", &[("cookie", &cookie)]).await;
    assert!(page.text.contains("Sign in to act"), "{}", page.text);
}

#[tokio::test]
async fn a_host_that_is_not_ours_sees_nothing() {
    let router = console(&["--allowed-host", "console.example.org"]);
    let of = async |host: &str| {
        let request = Request::get("/").header(header::HOST, host);
        send(&router, request.body(Body::empty()).unwrap())
            .await
            .status
    };
    assert_eq!(of("localhost:1").await, 200);
    assert_eq!(of("console.example.org").await, 200);
    assert_eq!(of("rebound.example").await, 421);
}

#[tokio::test]
async fn an_action_says_why_and_about_what() {
    let router = console(&["--console-token", TOKEN]);
    let (cookie, csrf) = sign_in(&router).await;
    let cookie = ("cookie", cookie.as_str());
    let saga = format!("{CART}.{CART}");
    let act = async |fields: &[(&str, &str)]| {
        let fields = [&[("csrf", csrf.as_str())], fields].concat();
        post(&router, "/actions/sagas", &fields, &[cookie]).await
    };
    let retry = ("action", "RETRY");
    for (fields, says) in [
        (vec![retry, ("saga", saga.as_str())], "Say why"),
        (vec![retry, ("reason", "x")], "no cart was chosen"),
        (
            vec![retry, ("reason", "x"), ("saga", CART)],
            "in a way that no page does",
        ),
        (
            vec![
                ("action", "RESOLVE"),
                ("reason", "x"),
                ("saga", saga.as_str()),
            ],
            "proves that nothing is held",
        ),
    ] {
        let answer = act(&fields).await;
        assert_eq!(answer.status, 400, "{fields:?}");
        assert!(answer.text.contains(says), "{fields:?}: {}", answer.text);
    }
    let page = get(&router, "/actions/sagas?cart=1", &[cookie]).await;
    assert!(
        page.text.contains("Say what is to be done"),
        "{}",
        page.text
    );
    let page = get(&router, "/actions/letters?action=redrive", &[cookie]).await;
    assert!(page.text.contains("no letter was chosen"), "{}", page.text);
    let many: Vec<(&str, &str)> = (0..101).map(|_| ("letter", "a:0:1")).collect();
    let many = query([&[("action", "redrive")], &many[..]].concat());
    let page = get(&router, &format!("/actions/letters?{many}"), &[cookie]).await;
    assert!(page.text.contains("PAGE_LETTERS"), "{}", page.text);
}
