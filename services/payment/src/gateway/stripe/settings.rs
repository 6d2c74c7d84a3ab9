//! What the Stripe gateway has to be told.

use std::time::Duration;

/// An API key, which is never shown.
#[derive(Clone)]
pub struct ApiKey(pub(super) String);

impl ApiKey {
    /// The key as Stripe's dashboard gives it; space around it is dropped.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into().trim().to_owned())
    }

    /// Whether real money moves with it.
    pub(super) fn is_live(&self) -> bool {
        self.0.starts_with("sk_live_") || self.0.starts_with("rk_live_")
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ApiKey(not shown)")
    }
}

/// How to reach Stripe, and how to charge.
#[derive(Clone, Debug)]
pub struct StripeSettings {
    /// Where the API is, without `/v1`.
    pub url: String,
    /// The key.
    pub api_key: ApiKey,
    /// The PaymentMethod that is charged.
    pub payment_method: String,
    /// Limit of one HTTP request.
    pub timeout: Duration,
    /// Largest response that is read, in bytes.
    pub max_response_bytes: usize,
}

/// Settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum StripeSettingsError {
    /// No URL, or none of HTTP.
    #[error("--stripe-url: `{0}` is not an http or https URL")]
    Url(String),
    /// A key that moves real money would be sent unencrypted.
    #[error("--stripe-url: `{0}` is not encrypted, and STRIPE_API_KEY is a live key: use https")]
    LiveKeyUnencrypted(String),
    /// No key, or characters that a key does not have.
    #[error(
        "STRIPE_API_KEY is empty or has characters that no key has: copy it from Stripe's dashboard"
    )]
    Key,
    /// The HTTP client cannot start.
    #[error("the HTTP client cannot start; are the system's certificates installed? {0}")]
    Client(#[source] reqwest::Error),
}
