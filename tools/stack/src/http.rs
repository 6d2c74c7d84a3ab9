//! The little HTTP that waiting needs.

use std::time::Duration;

/// One request; what is waited for answers within milliseconds when it is up.
const LIMIT: Duration = Duration::from_secs(3);

/// Whether a GET of `url` is answered with success; says why not.
pub(crate) async fn is_ok(url: &str) -> Result<(), String> {
    let response = client()?
        .get(url)
        .send()
        .await
        .map_err(|error| describe(url, &error))?;
    match response.status() {
        status if status.is_success() => Ok(()),
        status => {
            let text = response.text().await.unwrap_or_default();
            Err(format!("{url} answers {status} {text}"))
        }
    }
}

/// A client of its own for each call: a client's connections belong to one
/// async runtime, and tests have many.
fn client() -> Result<reqwest::Client, String> {
    // Another part of the program may have installed one; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(LIMIT)
        .no_proxy()
        // What is asked is on this machine: reading the system's certificates each time
        // takes longer than the request.
        .tls_certs_only([])
        .build()
        .map_err(|error| error.to_string())
}

/// reqwest's own text leaves out the cause.
fn describe(url: &str, error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("{url}: {cause}")
}
