//! What each response means: placed, refused, or to be asked again.

use std::time::Duration;

use contracts::messages::DeclineReason;
use payment::gateway::stripe::{API_VERSION, ApiKey, Stripe, StripeSettings, StripeSettingsError};
use payment::gateway::{AuthorizeRequest, Cause, Gateway, Hold, Unsettled, VoidRequest};
use serde_json::{Value, json};

use crate::injector::{Asked, Injector, Reply};
use crate::{TEST_KEY, authorize, gateway, settings, void};

fn intent(status: &str) -> Reply {
    Reply::Json(
        200,
        json!({ "id": "pi_1", "status": status, "latest_charge": "ch_1" }),
    )
}

fn error(status: u16, error: Value) -> Reply {
    Reply::Json(status, json!({ "error": error }))
}

fn placed() -> Result<Hold, Unsettled> {
    Ok(Hold::Placed {
        reference: "pi_1".to_owned(),
    })
}

fn refused(reason: DeclineReason) -> Result<Hold, Unsettled> {
    Ok(Hold::Refused { reason })
}

/// Authorizes where Stripe responds like this.
async fn authorize_with(
    replies: impl IntoIterator<Item = Reply>,
) -> (Result<Hold, Unsettled>, Vec<Asked>) {
    let stripe = Injector::start(replies).await;
    let hold = gateway(&stripe.url).authorize(&authorize()).await;
    (hold, stripe.asked())
}

/// Voids, for the n-th time, where Stripe responds like this.
async fn void_with(
    attempt: i32,
    replies: impl IntoIterator<Item = Reply>,
) -> (Result<(), Unsettled>, Vec<Asked>) {
    let stripe = Injector::start(replies).await;
    let request = VoidRequest { attempt, ..void() };
    let voided = gateway(&stripe.url).void(&request).await;
    (voided, stripe.asked())
}

fn targets(asked: &[Asked]) -> Vec<String> {
    asked
        .iter()
        .map(|asked| format!("{} {}", asked.method, asked.target))
        .collect()
}

const CREATE: &str = "POST /v1/payment_intents";
const CANCEL: &str = "POST /v1/payment_intents/pi_1/cancel";
const LOOK_UP: &str = "GET /v1/payment_intents/pi_1?expand%5B%5D=latest_charge";

#[tokio::test]
async fn a_hold_is_asked_for_with_the_command_as_its_key() {
    let (hold, asked) = authorize_with([intent("requires_capture")]).await;
    assert_eq!(hold, placed());
    assert_eq!(targets(&asked), [CREATE]);
    let bearer = format!("Bearer {TEST_KEY}");
    assert_eq!(asked[0].header("authorization"), Some(bearer.as_str()));
    assert_eq!(asked[0].header("stripe-version"), Some(API_VERSION));
    let key = authorize().key.to_string();
    assert_eq!(asked[0].header("idempotency-key"), Some(key.as_str()));
    let checkout = authorize().checkout_id.to_string();
    let cart = authorize().cart_id.to_string();
    let form: Vec<(&str, &str)> = asked[0]
        .form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        form,
        [
            ("amount", "1999"),
            ("currency", "eur"),
            ("capture_method", "manual"),
            ("confirm", "true"),
            ("error_on_requires_action", "true"),
            ("payment_method_types[]", "card"),
            ("payment_method", "pm_card_visa"),
            ("metadata[checkout_id]", checkout.as_str()),
            ("metadata[cart_id]", cart.as_str()),
        ]
    );
}

#[tokio::test]
async fn a_later_attempt_is_the_same_request() {
    let stripe = Injector::start([intent("requires_capture"), intent("requires_capture")]).await;
    let gateway = gateway(&stripe.url);
    let later = AuthorizeRequest {
        attempt: 7,
        ..authorize()
    };
    assert_eq!(gateway.authorize(&authorize()).await, placed());
    assert_eq!(gateway.authorize(&later).await, placed());
    let asked = stripe.asked();
    assert_eq!(asked[0].form, asked[1].form);
    assert_eq!(
        asked[0].header("idempotency-key"),
        asked[1].header("idempotency-key")
    );
}

#[tokio::test]
async fn declined_cards_are_refused_with_their_reason() {
    let cases = [
        (
            "card_declined",
            "insufficient_funds",
            DeclineReason::InsufficientFunds,
        ),
        (
            "card_declined",
            "generic_decline",
            DeclineReason::CardDeclined,
        ),
        ("card_declined", "stolen_card", DeclineReason::CardDeclined),
        (
            "card_declined",
            "issuer_not_available",
            DeclineReason::ProcessingError,
        ),
        ("card_declined", "", DeclineReason::CardDeclined),
        ("expired_card", "expired_card", DeclineReason::ExpiredCard),
        ("expired_card", "", DeclineReason::ExpiredCard),
        ("processing_error", "", DeclineReason::ProcessingError),
        (
            "authentication_required",
            "authentication_required",
            DeclineReason::CardDeclined,
        ),
        (
            "incorrect_cvc",
            "incorrect_cvc",
            DeclineReason::CardDeclined,
        ),
    ];
    for (code, decline_code, reason) in cases {
        let declined = json!({
            "type": "card_error", "code": code, "decline_code": decline_code, "message": "No.",
        });
        let (hold, asked) = authorize_with([error(402, declined)]).await;
        assert_eq!(hold, refused(reason), "{code} {decline_code}");
        assert_eq!(asked.len(), 1);
    }
}

#[tokio::test]
async fn requests_that_stripe_refuses_are_processing_errors() {
    let invalid = json!({ "type": "invalid_request_error", "code": "amount_too_small" });
    for status in [400, 402, 422] {
        let (hold, _) = authorize_with([error(status, invalid.clone())]).await;
        assert_eq!(hold, refused(DeclineReason::ProcessingError), "{status}");
    }
    let (hold, _) = authorize_with([Reply::Raw(400, b"<html>".to_vec())]).await;
    assert_eq!(hold, refused(DeclineReason::ProcessingError));
}

#[tokio::test]
async fn what_leaves_the_payment_open_is_asked_again() {
    let api = json!({ "type": "api_error", "message": "Ouch." });
    let in_use = json!({ "type": "idempotency_error", "code": "idempotency_key_in_use" });
    let changed = json!({ "type": "idempotency_error", "message": "Keys differ." });
    let lock = json!({ "type": "invalid_request_error", "code": "lock_timeout" });
    let cases = [
        (error(409, in_use), Cause::Busy),
        (error(429, lock), Cause::Busy),
        (error(500, api.clone()), Cause::Failed),
        (error(503, api.clone()), Cause::Failed),
        (
            Reply::Raw(502, b"<html>Bad gateway".to_vec()),
            Cause::Failed,
        ),
        (error(401, api.clone()), Cause::Misconfigured),
        (error(403, api.clone()), Cause::Misconfigured),
        (error(404, api), Cause::Misconfigured),
        (error(400, changed), Cause::Misconfigured),
        (Reply::Raw(200, b"".to_vec()), Cause::Unclear),
        (Reply::Raw(200, b"{\"id\": 7}".to_vec()), Cause::Unclear),
        (Reply::Raw(200, vec![b' '; 65 * 1024]), Cause::Unclear),
        (Reply::Redirect("/elsewhere".to_owned()), Cause::Unclear),
    ];
    for (reply, cause) in cases {
        let (hold, asked) = authorize_with([reply.clone()]).await;
        let error = hold.unwrap_err();
        assert_eq!(error.cause, cause, "{error}");
        assert!(!error.to_string().contains(TEST_KEY), "{error}");
        assert_eq!(asked.len(), 1, "{error}");

        // A void is left open by the same.
        let (voided, asked) = void_with(1, [reply]).await;
        assert_eq!(voided.unwrap_err().cause, cause);
        assert_eq!(targets(&asked), [CANCEL]);
    }
}

#[tokio::test]
async fn a_silent_stripe_is_given_up_in_time() {
    let stripe = Injector::start([Reply::Silence]).await;
    let gateway = Stripe::new(StripeSettings {
        timeout: Duration::from_millis(50),
        ..settings(&stripe.url)
    })
    .unwrap();
    let error = gateway.authorize(&authorize()).await.unwrap_err();
    assert_eq!(error.cause, Cause::TimedOut, "{error}");
}

#[tokio::test]
async fn a_stripe_that_is_not_there_is_unreachable() {
    // A port that is taken, so that nobody else gets it, but not listened on.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", socket.local_addr().unwrap());
    let error = gateway(&url).authorize(&authorize()).await.unwrap_err();
    assert_eq!(error.cause, Cause::Unreachable, "{error}");
    assert!(error.detail.contains("refused"), "{error}");
}

#[tokio::test]
async fn a_payment_in_processing_is_looked_up_until_it_is_settled() {
    let (hold, asked) = authorize_with([intent("processing"), intent("requires_capture")]).await;
    assert_eq!(hold, placed());
    assert_eq!(targets(&asked), [CREATE, LOOK_UP]);
    assert_eq!(asked[1].header("idempotency-key"), None);

    let (hold, _) = authorize_with([intent("processing"), intent("processing")]).await;
    assert_eq!(hold.unwrap_err().cause, Cause::Busy);
}

#[tokio::test]
async fn a_payment_that_needs_the_customer_is_cancelled_before_it_is_declined() {
    for status in ["requires_action", "requires_payment_method", "of_next_year"] {
        let (hold, asked) = authorize_with([intent(status), intent("canceled")]).await;
        assert_eq!(hold, refused(DeclineReason::CardDeclined), "{status}");
        assert_eq!(targets(&asked), [CREATE, CANCEL]);
        assert_ne!(
            asked[0].header("idempotency-key"),
            asked[1].header("idempotency-key")
        );
    }
    let (hold, _) = authorize_with([
        intent("requires_action"),
        error(500, json!({ "type": "api_error" })),
    ])
    .await;
    assert_eq!(
        hold.unwrap_err().cause,
        Cause::Failed,
        "it may still be paid"
    );
}

#[tokio::test]
async fn money_that_was_captured_counts_as_held() {
    let (hold, asked) = authorize_with([intent("succeeded")]).await;
    assert_eq!(hold, placed());
    assert_eq!(asked.len(), 1);
}

#[tokio::test]
async fn a_hold_is_cancelled_with_the_voids_key() {
    let (voided, asked) = void_with(1, [intent("canceled")]).await;
    assert_eq!(voided, Ok(()));
    assert_eq!(targets(&asked), [CANCEL]);
    let key = void().key.to_string();
    assert_eq!(asked[0].header("idempotency-key"), Some(key.as_str()));
    assert_eq!(
        asked[0].form,
        [("cancellation_reason".to_owned(), "abandoned".to_owned())]
    );
}

fn unexpected_state() -> Reply {
    error(
        400,
        json!({ "type": "invalid_request_error", "code": "payment_intent_unexpected_state" }),
    )
}

#[tokio::test]
async fn a_hold_that_was_cancelled_before_is_voided() {
    let (voided, asked) = void_with(1, [unexpected_state(), intent("canceled")]).await;
    assert_eq!(voided, Ok(()));
    assert_eq!(targets(&asked), [CANCEL, LOOK_UP]);
}

#[tokio::test]
async fn captured_money_is_voided_by_its_refund_alone() {
    let captured = |refunded: bool| {
        let charge = json!({ "id": "ch_1", "refunded": refunded });
        let intent = json!({ "id": "pi_1", "status": "succeeded", "latest_charge": charge });
        Reply::Json(200, intent)
    };
    let (voided, _) = void_with(1, [unexpected_state(), captured(false)]).await;
    let error = voided.unwrap_err();
    assert_eq!(error.cause, Cause::Misconfigured);
    assert!(error.detail.contains("refund"), "{error}");
    let (voided, _) = void_with(2, [unexpected_state(), captured(true)]).await;
    assert_eq!(voided, Ok(()));
}

#[tokio::test]
async fn an_old_refusal_kept_for_the_key_does_not_keep_the_hold() {
    let (voided, _) = void_with(1, [unexpected_state(), intent("requires_capture")]).await;
    assert_eq!(voided.unwrap_err().cause, Cause::Unclear);

    let (voided, asked) = void_with(
        2,
        [
            unexpected_state(),
            intent("requires_capture"),
            intent("canceled"),
        ],
    )
    .await;
    assert_eq!(voided, Ok(()));
    assert_eq!(targets(&asked), [CANCEL, LOOK_UP, CANCEL]);
    assert_ne!(
        asked[0].header("idempotency-key"),
        asked[2].header("idempotency-key")
    );
}

#[tokio::test]
async fn the_name_of_a_hold_leads_to_no_other_path() {
    let stripe = Injector::start([intent("canceled")]).await;
    let request = VoidRequest {
        reference: "../refunds?x".to_owned(),
        ..void()
    };
    assert_eq!(gateway(&stripe.url).void(&request).await, Ok(()));
    assert_eq!(
        targets(&stripe.asked()),
        ["POST /v1/payment_intents/..%2Frefunds%3Fx/cancel"]
    );
}

#[tokio::test]
async fn an_amount_that_stripe_cannot_charge_is_refused_unasked() {
    let stripe = Injector::start([]).await;
    let fine_dinar = AuthorizeRequest {
        amount: 5_124,
        currency: "KWD".to_owned(),
        ..authorize()
    };
    let hold = gateway(&stripe.url).authorize(&fine_dinar).await;
    assert_eq!(hold, refused(DeclineReason::ProcessingError));
    assert!(stripe.asked().is_empty());
}

#[test]
fn settings_that_cannot_work_are_told_at_the_start() {
    let with = |url: &str, key: &str| {
        Stripe::new(StripeSettings {
            api_key: ApiKey::new(key),
            ..settings(url)
        })
    };
    let url = "https://stripe.test";
    for wrong in ["", "stripe.test", "ftp://stripe.test"] {
        let error = with(wrong, TEST_KEY).unwrap_err();
        assert!(matches!(error, StripeSettingsError::Url(_)), "{error}");
    }
    for wrong in ["", "  ", "sk_test\n_1"] {
        let error = with(url, wrong).unwrap_err();
        assert!(matches!(error, StripeSettingsError::Key), "{error}");
    }
    for live in ["sk_live_1", "rk_live_1"] {
        let error = with("http://stripe.test", live).unwrap_err();
        assert!(
            matches!(error, StripeSettingsError::LiveKeyUnencrypted(_)),
            "{error}"
        );
        assert!(with(url, live).is_ok());
    }
}

#[test]
fn the_key_is_never_shown() {
    let settings = settings("https://stripe.test");
    assert!(!format!("{settings:?}").contains(TEST_KEY));
    let gateway = Stripe::new(settings).unwrap();
    assert!(!format!("{gateway:?}").contains(TEST_KEY), "{gateway:?}");
}
