//! The Stripe gateway, against Stripe's own mock server (`contract`), which checks
//! each request with Stripe's published API description, and against HTTP responses
//! that the mock server cannot give (`responses`).

#![allow(
    clippy::unwrap_used,
    reason = "all of it is test code, outside of test functions too"
)]

mod contract;
mod injector;
mod mock;
mod responses;

use std::time::Duration;

use contracts::ids::{CartId, CheckoutId, CommandId, GenericUuid};
use payment::gateway::stripe::{ApiKey, Stripe, StripeSettings};
use payment::gateway::{AuthorizeRequest, VoidRequest};
use uuid::Uuid;

/// A key of the form that test keys have.
const TEST_KEY: &str = "sk_test_0123456789";

fn settings(url: &str) -> StripeSettings {
    StripeSettings {
        url: url.to_owned(),
        api_key: ApiKey::new(TEST_KEY),
        payment_method: "pm_card_visa".to_owned(),
        timeout: Duration::from_secs(20),
        max_response_bytes: 64 * 1024,
    }
}

fn gateway(url: &str) -> Stripe {
    Stripe::new(settings(url)).unwrap()
}

fn authorize() -> AuthorizeRequest {
    AuthorizeRequest {
        key: CommandId::from_untyped_uuid(Uuid::from_u128(1)),
        checkout_id: CheckoutId::from_untyped_uuid(Uuid::from_u128(2)),
        cart_id: CartId::from_untyped_uuid(Uuid::from_u128(3)),
        customer_id: None,
        amount: 1_999,
        currency: "EUR".to_owned(),
        attempt: 1,
    }
}

fn void() -> VoidRequest {
    VoidRequest {
        key: CommandId::from_untyped_uuid(Uuid::from_u128(4)),
        checkout_id: authorize().checkout_id,
        cart_id: authorize().cart_id,
        reference: "pi_1".to_owned(),
        attempt: 1,
    }
}
