//! The HTTP server: a service's own routes beside health and metrics, all of
//! them bounded in time, size and number.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use metrics::{counter, histogram};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::listener::BoundedListener;
use crate::readiness::{Readiness, Report};
use crate::{ApiError, HttpArgs};

/// All routes of a service.
pub(crate) fn router(
    own: Router,
    metrics: PrometheusHandle,
    readiness: Readiness,
    args: &HttpArgs,
) -> Router {
    let readyz = get(readyz).with_state(readiness);
    let routes = own
        .merge(shared(metrics, readyz))
        .fallback(|| async { ApiError::not_found("there is no such path") })
        .method_not_allowed_fallback(method_not_allowed);
    bounded(routes, args)
}

/// All routes of a program that shows pages, and so answers unknown paths itself.
/// It is ready while it serves: what it looks at may be away.
pub(crate) fn pages(own: Router, metrics: PrometheusHandle, args: &HttpArgs) -> Router {
    let readyz = get(|| async { Json(serde_json::json!({ "ready": true })) });
    bounded(own.merge(shared(metrics, readyz)), args)
}

/// What every program has.
fn shared(metrics: PrometheusHandle, readyz: MethodRouter) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", readyz)
        .route("/metrics", get(move || render(metrics.clone())))
}

fn bounded(routes: Router, args: &HttpArgs) -> Router {
    let limit = Duration::from_millis(args.http_timeout_ms);
    routes
        .layer(DefaultBodyLimit::max(args.http_max_body_bytes as usize))
        .layer(from_fn_with_state(limit, limit_time))
        .layer(from_fn(measure))
}

async fn readyz(State(readiness): State<Readiness>) -> (StatusCode, Json<Report>) {
    let report = readiness.report();
    let status = if report.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(report))
}

async fn render(metrics: PrometheusHandle) -> impl IntoResponse {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], metrics.render())
}

async fn method_not_allowed() -> Response {
    let body = Json(serde_json::json!({ "error": "this path does not take this method" }));
    (StatusCode::METHOD_NOT_ALLOWED, body).into_response()
}

/// Bounds the time until the head of the answer; a stream may go on after it.
async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::unavailable(format!("no answer within {} ms", limit.as_millis()))
            .into_response(),
    }
}

/// Counts and times requests by route, never by path: paths hold ids.
async fn measure(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let method = match request.method().as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let started = Instant::now();
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    counter!("http_requests_total", "method" => method, "route" => route.clone(), "status" => status)
        .increment(1);
    histogram!("http_request_duration_seconds", "route" => route).record(started.elapsed());
    response
}

/// Opens the port and tells who waits for it.
///
/// # Errors
/// The address is taken, or the port file cannot be written.
pub(crate) async fn bind(
    address: SocketAddr,
    args: &HttpArgs,
) -> anyhow::Result<(BoundedListener, SocketAddr)> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--http-listen {address} cannot be opened"))?;
    let bound = listener
        .local_addr()
        .context("the listener has no address")?;
    if let Some(path) = &args.http_port_file {
        write_port(path, bound.port())
            .with_context(|| format!("--http-port-file {} cannot be written", path.display()))?;
    }
    let listener = BoundedListener::new(listener, args.http_max_connections as usize);
    Ok((listener, bound))
}

/// Writes the file in one step, so that a reader never sees half of it.
fn write_port(path: &Path, port: u16) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    std::fs::write(&name, format!("{port}\n"))?;
    std::fs::rename(&name, path)
}

/// Serves until `stop` becomes true and the requests at hand are answered.
pub(crate) async fn serve(
    listener: BoundedListener,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let stopped = async move {
        // An error means that the sender is gone: the service ends.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let server = axum::serve(listener, router).with_graceful_shutdown(stopped);
    if let Err(error) = server.await {
        tracing::error!(%error, "the HTTP server ended");
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::extract::Path;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tower::ServiceExt;

    use super::*;

    fn args() -> HttpArgs {
        HttpArgs {
            http_listen: None,
            http_port_file: None,
            http_timeout_ms: 50,
            http_max_connections: 4,
            http_max_body_bytes: 8,
        }
    }

    fn router_of(own: Router) -> Router {
        let handle = PrometheusBuilder::new().build_recorder().handle();
        router(own, handle, Readiness::default(), &args())
    }

    async fn ask(router: Router, method: &str, path: &str, body: &'static str) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::from(body))
            .unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_live_service_need_not_be_ready() {
        let router = router_of(Router::new());
        assert_eq!(ask(router.clone(), "GET", "/livez", "").await.0, 200);
        let (status, body) = ask(router, "GET", "/readyz", "").await;
        assert_eq!(status, 503);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["ready"], false);
        assert_eq!(body["schemas"], "schema ids not resolved yet");
    }

    #[tokio::test]
    async fn unknown_paths_and_methods_are_json_errors() {
        let router = router_of(Router::new());
        let (status, body) = ask(router.clone(), "GET", "/nothing", "").await;
        assert_eq!(
            (status, body.as_str()),
            (404, r#"{"error":"there is no such path"}"#)
        );
        let (status, body) = ask(router, "POST", "/livez", "").await;
        assert_eq!(status, 405);
        assert!(body.contains("error"), "{body}");
    }

    #[tokio::test]
    async fn a_slow_answer_is_cut_off() {
        let own = Router::new().route(
            "/slow",
            get(|| async {
                std::future::pending::<()>().await;
                "never"
            }),
        );
        let (status, body) = ask(router_of(own), "GET", "/slow", "").await;
        assert_eq!(status, 503);
        assert!(body.contains("50 ms"), "{body}");
    }

    #[tokio::test]
    async fn a_large_body_is_refused() {
        let own = Router::new().route("/take", axum::routing::post(|body: String| async { body }));
        let router = router_of(own);
        assert_eq!(
            ask(router.clone(), "POST", "/take", "12345678").await.0,
            200
        );
        assert_eq!(ask(router, "POST", "/take", "123456789").await.0, 413);
    }

    #[test]
    fn requests_are_counted_by_route_not_by_path() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let own = Router::new().route(
                "/stock/{product}",
                get(|Path(product): Path<String>| async { product }),
            );
            let router = router(own, handle.clone(), Readiness::default(), &args());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(async {
                ask(router.clone(), "GET", "/stock/one", "").await;
                ask(router.clone(), "GET", "/stock/two", "").await;
                let (status, text) = ask(router, "GET", "/metrics", "").await;
                assert_eq!(status, 200);
                let line =
                    r#"http_requests_total{method="GET",route="/stock/{product}",status="200"} 2"#;
                assert!(text.contains(line), "{text}");
            });
        });
    }

    #[tokio::test]
    async fn the_port_file_names_the_port() {
        let path = std::env::temp_dir().join(format!("port-file-{}", std::process::id()));
        let args = HttpArgs {
            http_port_file: Some(path.clone()),
            ..args()
        };
        let (_listener, address) = bind("127.0.0.1:0".parse().unwrap(), &args).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text.trim(), address.port().to_string());
        let taken = bind(address, &args).await.err().unwrap();
        assert!(format!("{taken:#}").contains("--http-listen"), "{taken:#}");
    }
}
