//! Every request the gateway makes is one that Stripe's API description allows, in
//! the API version that the gateway names.
//!
//! The mock server answers each PaymentIntent request with a fixture whose status
//! the test chooses; it keeps no payments.

use contracts::messages::DeclineReason;
use payment::gateway::stripe::{API_VERSION, ApiKey, Stripe, StripeSettings};
use payment::gateway::{AuthorizeRequest, Cause, Gateway, Hold};

use crate::mock::StripeMock;
use crate::{TEST_KEY, authorize, gateway, settings, void};

#[tokio::test]
async fn a_payment_is_created_confirmed_and_held() {
    let Some(mock) = StripeMock::start("requires_capture") else {
        return;
    };
    let gateway = gateway(&mock.url);
    let hold = gateway.authorize(&authorize()).await.unwrap();
    let Hold::Placed { reference } = hold else {
        panic!("{hold:?}");
    };
    assert!(reference.starts_with("pi_"), "{reference}");

    let krona = AuthorizeRequest {
        amount: 120,
        currency: "ISK".to_owned(),
        ..authorize()
    };
    assert!(matches!(
        gateway.authorize(&krona).await,
        Ok(Hold::Placed { .. })
    ));
}

#[tokio::test]
async fn a_payment_is_cancelled() {
    let Some(mock) = StripeMock::start("canceled") else {
        return;
    };
    let gateway = gateway(&mock.url);
    assert_eq!(gateway.void(&void()).await, Ok(()));
    // A payment that someone cancelled holds nothing.
    assert_eq!(
        gateway.authorize(&authorize()).await,
        Ok(Hold::Refused {
            reason: DeclineReason::CardDeclined
        })
    );
}

#[tokio::test]
async fn a_payment_that_is_processing_is_looked_up() {
    let Some(mock) = StripeMock::start("processing") else {
        return;
    };
    let error = gateway(&mock.url)
        .authorize(&authorize())
        .await
        .unwrap_err();
    assert_eq!(error.cause, Cause::Busy, "{error}");
}

#[tokio::test]
async fn a_payment_that_needs_the_customer_is_cancelled() {
    // The fixture's own status. It is the answer to the cancelling, too, which
    // therefore did not work: the gateway must not take the payment for settled.
    let Some(mock) = StripeMock::start("requires_payment_method") else {
        return;
    };
    let error = gateway(&mock.url)
        .authorize(&authorize())
        .await
        .unwrap_err();
    assert_eq!(error.cause, Cause::Unclear, "{error}");
    assert!(error.detail.contains("requires_payment_method"), "{error}");
}

#[tokio::test]
async fn the_mock_server_does_check_what_it_is_sent() {
    let Some(mock) = StripeMock::start("requires_capture") else {
        return;
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let create = async |name: &str, value: &str, version: &str| {
        let mut form = vec![("amount", "1999"), ("currency", "eur")];
        form.push((name, value));
        let request = client
            .post(format!("{}/v1/payment_intents", mock.url))
            .bearer_auth(TEST_KEY)
            .header("stripe-version", version)
            .form(&form);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(create("confirm", "true", API_VERSION).await, 200);
    assert_eq!(create("confirm", "true", "2015-01-01").await, 400);
    assert_eq!(create("confirm", "perhaps", API_VERSION).await, 400);
    assert_eq!(create("capture_method", "by_hand", API_VERSION).await, 400);
    assert_eq!(create("capture_metod", "manual", API_VERSION).await, 400);

    let wrong_key = Stripe::new(StripeSettings {
        api_key: ApiKey::new("no-key"),
        ..settings(&mock.url)
    })
    .unwrap();
    let error = wrong_key.authorize(&authorize()).await.unwrap_err();
    assert_eq!(error.cause, Cause::Misconfigured, "{error}");
}
