//! A gateway that speaks Stripe's HTTP API: a hold is a PaymentIntent with manual
//! capture.
//!
//! **Authorizing** creates and confirms the PaymentIntent in one request. What its
//! status means:
//!
//! | status                                   | answer                                         |
//! |------------------------------------------|------------------------------------------------|
//! | `requires_capture`                       | placed                                         |
//! | `succeeded` (captured by someone else)   | placed: the money is more than held            |
//! | `processing`                             | looked up again; while it lasts, no answer     |
//! | `canceled`                               | refused                                        |
//! | all others, such as `requires_action`    | cancelled, then refused with `CARD_DECLINED`   |
//!
//! Nobody is there to take a customer through an authentication, so the request
//! asks Stripe to fail such payments (`error_on_requires_action`).
//!
//! **Voiding** cancels the PaymentIntent. One that was captured meanwhile, outside
//! this system, cannot be cancelled: that is reported as an error until it is
//! refunded, which then counts as given up.
//!
//! **Errors.** A declined card is a refusal with its reason. Whatever leaves open
//! what became of the payment is no answer, and is asked again with the same key:
//! broken connections, time-outs, 409, 429, 5xx, and also refusals of this service
//! as a whole (401, 403, 404), for they say nothing about an earlier attempt. Any
//! other 4xx is a refusal with `PROCESSING_ERROR`, and an error in the log.
//!
//! **Idempotency.** Stripe keeps the answer to a key for at least a day, errors of
//! its own included: a payment that broke down inside Stripe stays REQUESTED for
//! that long. An answer that stays lost for longer than that can leave a second
//! hold, which Stripe lets go by itself after some days.

mod amount;
mod settings;
mod wire;

use contracts::ids::CartId;
use contracts::messages::DeclineReason;
use futures::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};

use self::amount::stripe_amount;
pub use self::settings::{ApiKey, StripeSettings, StripeSettingsError};
use self::wire::{PaymentIntent, Response};
use super::{AuthorizeRequest, Cause, Gateway, Hold, Unsettled, VoidRequest};

/// The version of Stripe's API that is spoken; the contract test checks the
/// requests against this one.
pub const API_VERSION: &str = "2026-08-26.dahlia";

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const STRIPE_VERSION: HeaderName = HeaderName::from_static("stripe-version");

/// The gateway.
#[derive(Debug)]
pub struct Stripe {
    client: Client,
    payment_intents: Url,
    payment_method: String,
    max_response_bytes: usize,
}

impl Stripe {
    /// Checks the settings; does not reach out.
    ///
    /// # Errors
    /// Settings that cannot work.
    pub fn new(settings: StripeSettings) -> Result<Self, StripeSettingsError> {
        let url = settings.url.trim_end_matches('/');
        let payment_intents = Url::parse(&format!("{url}/v1/payment_intents"))
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| StripeSettingsError::Url(settings.url.clone()))?;
        if settings.api_key.is_live() && payment_intents.scheme() != "https" {
            return Err(StripeSettingsError::LiveKeyUnencrypted(settings.url));
        }
        if settings.api_key.0.is_empty() {
            return Err(StripeSettingsError::Key);
        }
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", settings.api_key.0))
            .map_err(|_| StripeSettingsError::Key)?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(STRIPE_VERSION, HeaderValue::from_static(API_VERSION));

        // One provider for every TLS connection of the process; where one was installed
        // before, it serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("checkout-payment/", env!("CARGO_PKG_VERSION")))
            .timeout(settings.timeout)
            // A redirect would carry the key to another place.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(StripeSettingsError::Client)?;
        Ok(Self {
            client,
            payment_intents,
            payment_method: settings.payment_method,
            max_response_bytes: settings.max_response_bytes,
        })
    }

    async fn place(&self, request: &AuthorizeRequest) -> Result<Hold, Unsettled> {
        let cart_id = request.cart_id;
        let Some(amount) = stripe_amount(request.amount, &request.currency) else {
            tracing::warn!(
                %cart_id, amount = request.amount, currency = request.currency,
                "Stripe cannot charge this amount of this currency exactly"
            );
            return Ok(refused(DeclineReason::ProcessingError));
        };
        let form = [
            ("amount", amount.to_string()),
            ("currency", request.currency.to_ascii_lowercase()),
            ("capture_method", "manual".to_owned()),
            ("confirm", "true".to_owned()),
            ("error_on_requires_action", "true".to_owned()),
            ("payment_method_types[]", "card".to_owned()),
            ("payment_method", self.payment_method.clone()),
            ("metadata[checkout_id]", request.checkout_id.to_string()),
            ("metadata[cart_id]", cart_id.to_string()),
        ];
        let key = request.key.to_string();
        let url = self.payment_intents.clone();
        let response = self.send(Method::POST, url, Some(&key), &form).await?;
        if response.status.is_success() {
            return self.settle(response.object()?, request, true).await;
        }
        let error = response.error();
        if let Some(trouble) = response.trouble(&error) {
            return Err(trouble);
        }
        if error.kind == "card_error" {
            return Ok(refused(error.decline_reason()));
        }
        tracing::error!(
            %cart_id, status = response.status.as_u16(), request_id = response.request_id,
            reason = error.words(),
            "Stripe refuses the request itself, so the payment is declined: look the request up in \
             Stripe's dashboard; check --stripe-payment-method, the currency and the account's settings"
        );
        Ok(refused(DeclineReason::ProcessingError))
    }

    /// What the status of a PaymentIntent means for the hold.
    async fn settle(
        &self,
        intent: PaymentIntent,
        request: &AuthorizeRequest,
        may_look_up: bool,
    ) -> Result<Hold, Unsettled> {
        match intent.status.as_str() {
            "requires_capture" => Ok(Hold::Placed {
                reference: intent.id,
            }),
            "succeeded" => {
                tracing::error!(
                    cart_id = %request.cart_id, payment_intent = intent.id,
                    "the money is captured already; this service only holds it: find out who captured it"
                );
                Ok(Hold::Placed {
                    reference: intent.id,
                })
            }
            "canceled" => Ok(refused(DeclineReason::CardDeclined)),
            // The answer to a key is kept, so asking again would tell the same.
            "processing" if may_look_up => {
                let intent = self.look_up(&intent.id).await?;
                Box::pin(self.settle(intent, request, false)).await
            }
            "processing" => Err(Unsettled::new(
                Cause::Busy,
                format!("Stripe is still processing {}", intent.id),
            )),
            status => {
                tracing::info!(
                    cart_id = %request.cart_id, payment_intent = intent.id, status,
                    "the payment cannot go on without the customer: cancelling and declining it"
                );
                // Another request than the one the command's key stands for.
                let key = format!("{}-cancel-{}", request.key, request.attempt);
                self.cancel(&intent.id, &key, request.cart_id)
                    .await?
                    .done()?;
                Ok(refused(DeclineReason::CardDeclined))
            }
        }
    }

    async fn give_up(&self, request: &VoidRequest) -> Result<(), Unsettled> {
        let key = request.key.to_string();
        let intent = &request.reference;
        match self.cancel(intent, &key, request.cart_id).await? {
            Cancelled::Yes => Ok(()),
            Cancelled::NotIn { status } if request.attempt > 1 => {
                // The refusal may be an old one, kept for the key, and cancelling twice
                // does no harm.
                tracing::info!(
                    cart_id = %request.cart_id, payment_intent = intent, status,
                    "cancelling once more, with a key of its own"
                );
                let key = format!("{key}-{}", request.attempt);
                self.cancel(intent, &key, request.cart_id).await?.done()
            }
            not_yet => not_yet.done(),
        }
    }

    async fn cancel(
        &self,
        intent: &str,
        key: &str,
        cart_id: CartId,
    ) -> Result<Cancelled, Unsettled> {
        let url = self.url(&[intent, "cancel"])?;
        let form = [("cancellation_reason", "abandoned".to_owned())];
        let response = self.send(Method::POST, url, Some(key), &form).await?;
        let intent = if response.status.is_success() {
            response.object()?
        } else {
            let error = response.error();
            if let Some(trouble) = response.trouble(&error) {
                return Err(trouble);
            }
            // Its status does not allow it: it may be cancelled already.
            tracing::info!(
                %cart_id, payment_intent = intent, reason = error.words(),
                "Stripe did not cancel; looking at what became of the payment"
            );
            self.look_up(intent).await?
        };
        match intent.status.as_str() {
            "canceled" => Ok(Cancelled::Yes),
            "succeeded" if intent.is_refunded() => Ok(Cancelled::Yes),
            "succeeded" => Err(Unsettled::new(
                Cause::Misconfigured,
                format!(
                    "{} was captured outside this system and cannot be cancelled: refund it in \
                     Stripe's dashboard, which counts as voided",
                    intent.id
                ),
            )),
            _ => Ok(Cancelled::NotIn {
                status: intent.status,
            }),
        }
    }

    async fn look_up(&self, intent: &str) -> Result<PaymentIntent, Unsettled> {
        let mut url = self.url(&[intent])?;
        url.query_pairs_mut()
            .append_pair("expand[]", "latest_charge");
        let response = self.send(Method::GET, url, None, &[]).await?;
        if response.status.is_success() {
            return response.object();
        }
        let error = response.error();
        Err(response.trouble(&error).unwrap_or_else(|| {
            response.unsettled(
                Cause::Unclear,
                format_args!("the payment could not be looked up ({})", error.words()),
            )
        }))
    }

    fn url(&self, segments: &[&str]) -> Result<Url, Unsettled> {
        let mut url = self.payment_intents.clone();
        // Segments are escaped, so an id cannot lead to another path.
        url.path_segments_mut()
            .map_err(|()| Unsettled::new(Cause::Misconfigured, "--stripe-url has no path"))?
            .extend(segments);
        Ok(url)
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        key: Option<&str>,
        form: &[(&str, String)],
    ) -> Result<Response, Unsettled> {
        let mut request = self.client.request(method, url);
        if let Some(key) = key {
            request = request.header(IDEMPOTENCY_KEY, key).form(form);
        }
        let mut response = request.send().await.map_err(unanswered)?;
        let status = response.status();
        let request_id = response
            .headers()
            .get("request-id")
            .and_then(|id| id.to_str().ok())
            .unwrap_or("unknown")
            .chars()
            .take(100)
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if body.len() + chunk.len() > self.max_response_bytes {
                return Err(Unsettled::new(
                    Cause::Unclear,
                    format!(
                        "the response is larger than {} bytes (--stripe-max-response-bytes)",
                        self.max_response_bytes
                    ),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response {
            status,
            body,
            request_id,
        })
    }
}

impl Gateway for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn authorize<'a>(
        &'a self,
        request: &'a AuthorizeRequest,
    ) -> BoxFuture<'a, Result<Hold, Unsettled>> {
        Box::pin(self.place(request))
    }

    fn void<'a>(&'a self, request: &'a VoidRequest) -> BoxFuture<'a, Result<(), Unsettled>> {
        Box::pin(self.give_up(request))
    }
}

/// What became of a PaymentIntent that was to be cancelled.
enum Cancelled {
    /// No money is held.
    Yes,
    /// It stands in another status.
    NotIn { status: String },
}

impl Cancelled {
    fn done(self) -> Result<(), Unsettled> {
        match self {
            Self::Yes => Ok(()),
            Self::NotIn { status } => Err(Unsettled::new(
                Cause::Unclear,
                format!("Stripe left the payment in status {status}"),
            )),
        }
    }
}

fn refused(reason: DeclineReason) -> Hold {
    Hold::Refused { reason }
}

/// A request without a whole response.
fn unanswered(error: reqwest::Error) -> Unsettled {
    let cause = if error.is_timeout() {
        Cause::TimedOut
    } else {
        Cause::Unreachable
    };
    // Without the URL, which names the payment, but with what lies beneath.
    let error = error.without_url();
    let mut detail = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(beneath) = source {
        detail = format!("{detail}: {beneath}");
        source = beneath.source();
    }
    Unsettled::new(cause, detail)
}
