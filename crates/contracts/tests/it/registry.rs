//! The registry's client where there is no registry. What a real one answers
//! is tested with a real one, in the workspace's integration tests.

use std::time::Duration;

use contracts::{Codec, RecordType, Registry, RegistryConfig, RegistryError, TopicNames};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::Instant,
};

/// Two attempts without much of a pause.
fn impatient(url: String) -> RegistryConfig {
    RegistryConfig {
        timeout: Duration::from_millis(200),
        attempts: 2,
        backoff: Duration::from_millis(1),
        ..RegistryConfig::at(url)
    }
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Answers each request with `response`; hands over what was asked.
async fn answer(listener: &TcpListener, response: &str) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
    }
    stream.write_all(response.as_bytes()).await.unwrap();
    String::from_utf8(request).unwrap()
}

#[tokio::test]
async fn one_that_never_answers_is_given_up_in_time() {
    let (listener, url) = listener().await;
    let config = impatient(url.clone());
    let begun = Instant::now();
    let error = Codec::connect(&config, TopicNames::default(), &[RecordType::SetStock])
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains(&url), "{error}");
    let limits = config.timeout * config.attempts;
    assert!(begun.elapsed() >= limits, "both attempts were made");
    drop(listener);
}

#[tokio::test]
async fn a_page_at_the_url_is_not_taken_for_a_registry() {
    const PAGE: &str =
        "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\nconnection: close\r\n\r\nnope";
    let (listener, url) = listener().await;
    let server = async {
        loop {
            answer(&listener, PAGE).await;
        }
    };
    let registry = Registry::new(&impatient(url)).unwrap();
    let client = async { (registry.schema(7).await, registry.compatibility("a").await) };
    let (schema, compatibility) = tokio::select! {
        found = client => found,
        () = server => unreachable!("the server serves for ever"),
    };
    // Had it said that schema 7 does not exist, a good record would be lost.
    assert!(schema.unwrap_err().is_transient());
    assert!(compatibility.unwrap_err().is_transient());
}

#[tokio::test]
async fn user_and_password_go_with_every_request() {
    const REFUSED: &str = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 43\r\nconnection: close\r\n\r\n\
         {\"error_code\":40101,\"message\":\"Wrong user\"}";
    let (listener, url) = listener().await;
    let config = RegistryConfig {
        basic_auth: Some(("user".to_owned(), "pass".to_owned())),
        // One request each: none is given up and made again.
        timeout: Duration::from_secs(10),
        ..impatient(url)
    };
    let registry = Registry::new(&config).unwrap();
    let server = async {
        for _ in 0..2 {
            let request = answer(&listener, REFUSED).await.to_lowercase();
            // user:pass in base64, in lower case.
            assert!(
                request.contains("authorization: basic dxnlcjpwyxnz"),
                "{request}"
            );
        }
    };
    let client = async { (registry.schema(7).await, registry.compatibility("a").await) };
    let ((schema, compatibility), ()) = tokio::join!(client, server);
    assert!(
        matches!(schema, Err(RegistryError::Refused(_))),
        "{schema:?}"
    );
    assert!(
        matches!(compatibility, Err(RegistryError::Refused(_))),
        "{compatibility:?}"
    );
}
