//! What Stripe answers, as far as it matters here, and what it means.

use contracts::messages::DeclineReason;
use reqwest::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::gateway::{Cause, Unsettled};

/// Most characters of Stripe's own words that are logged.
const WORDS_MAX_CHARS: usize = 300;

/// A response, read whole.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) body: Vec<u8>,
    /// `Request-Id`: by it the request is found in Stripe's dashboard.
    pub(super) request_id: String,
}

/// A payment.
#[derive(Deserialize)]
pub(super) struct PaymentIntent {
    pub(super) id: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) latest_charge: Option<LatestCharge>,
}

/// A payment's last charge: its id, or all of it where that was asked for.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum LatestCharge {
    Expanded {
        #[serde(default)]
        refunded: bool,
    },
    Id(#[allow(dead_code, reason = "only told apart from the other")] String),
}

impl PaymentIntent {
    /// Whether money that was taken has been given back, all of it.
    pub(super) fn is_refunded(&self) -> bool {
        matches!(
            self.latest_charge,
            Some(LatestCharge::Expanded { refunded: true })
        )
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: StripeError,
}

/// Why Stripe did not do what it was asked.
#[derive(Deserialize, Default)]
pub(super) struct StripeError {
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) code: Option<String>,
    #[serde(default)]
    pub(super) decline_code: Option<String>,
    #[serde(default)]
    pub(super) message: Option<String>,
}

impl StripeError {
    /// The reason of a declined card.
    pub(super) fn decline_reason(&self) -> DeclineReason {
        // The decline code is the issuer's and the more exact one.
        let codes = [self.decline_code.as_deref(), self.code.as_deref()];
        codes
            .into_iter()
            .flatten()
            .find_map(|code| match code {
                "insufficient_funds" | "withdrawal_count_limit_exceeded" => {
                    Some(DeclineReason::InsufficientFunds)
                }
                "expired_card" => Some(DeclineReason::ExpiredCard),
                "processing_error"
                | "issuer_not_available"
                | "reenter_transaction"
                | "try_again_later" => Some(DeclineReason::ProcessingError),
                _ => None,
            })
            .unwrap_or(DeclineReason::CardDeclined)
    }

    /// The error in words, for a log.
    pub(super) fn words(&self) -> String {
        let words = [
            Some(self.kind.as_str()),
            self.code.as_deref(),
            self.decline_code.as_deref(),
            self.message.as_deref(),
        ];
        let words: Vec<&str> = words
            .into_iter()
            .flatten()
            .filter(|word| !word.is_empty())
            .collect();
        if words.is_empty() {
            return "no reason given".to_owned();
        }
        words.join(": ").chars().take(WORDS_MAX_CHARS).collect()
    }
}

impl Response {
    /// Reads the object that was asked for.
    ///
    /// # Errors
    /// It is not what Stripe documents: whoever answered may not be Stripe.
    pub(super) fn object<T: DeserializeOwned>(&self) -> Result<T, Unsettled> {
        serde_json::from_slice(&self.body).map_err(|error| {
            self.unsettled(
                Cause::Unclear,
                format_args!("the answer is not understood ({error})"),
            )
        })
    }

    /// Reads the error; an answer without one has an empty one.
    pub(super) fn error(&self) -> StripeError {
        serde_json::from_slice::<ErrorBody>(&self.body)
            .map(|body| body.error)
            .unwrap_or_default()
    }

    /// No final answer, told with what finds the request in Stripe's dashboard.
    pub(super) fn unsettled(&self, cause: Cause, what: std::fmt::Arguments<'_>) -> Unsettled {
        let status = self.status.as_u16();
        let request_id = &self.request_id;
        Unsettled::new(
            cause,
            format!("{what}; HTTP status {status}, request {request_id}"),
        )
    }

    /// Trouble that says nothing about the payment itself, so that it leaves open what
    /// became of it; none where the status and the error do say something.
    pub(super) fn trouble(&self, error: &StripeError) -> Option<Unsettled> {
        if error.kind == "idempotency_error" && self.status == StatusCode::BAD_REQUEST {
            return Some(self.unsettled(
                Cause::Misconfigured,
                format_args!(
                    "the command was sent to Stripe before with other parameters, and may hold money: \
                     go back to the former --stripe-payment-method until no payment is REQUESTED ({})",
                    error.words()
                ),
            ));
        }
        let (cause, what) = match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
                Cause::Misconfigured,
                "Stripe refuses the API key: check STRIPE_API_KEY and its permissions",
            ),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => (
                Cause::Misconfigured,
                "Stripe does not know what was asked for: check --stripe-url, and that STRIPE_API_KEY is \
                 of the account and mode (test or live) that the payment was made with",
            ),
            StatusCode::REQUEST_TIMEOUT => (Cause::TimedOut, "Stripe gave the request up"),
            StatusCode::CONFLICT | StatusCode::TOO_EARLY => {
                (Cause::Busy, "Stripe is still busy with this command")
            }
            StatusCode::TOO_MANY_REQUESTS => (
                Cause::Busy,
                "Stripe gets too many requests, or a lock timed out",
            ),
            status if status.is_server_error() => (Cause::Failed, "Stripe broke down"),
            status if !status.is_client_error() => {
                (Cause::Unclear, "not a status that Stripe documents")
            }
            _ => return None,
        };
        Some(self.unsettled(cause, format_args!("{what} ({})", error.words())))
    }
}
