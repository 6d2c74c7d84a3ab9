//! What is logged and measured of each call to the gateway.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_histogram, histogram};

use crate::gateway::{Cause, Hold, Unsettled};
use crate::handler::{Call, Outcome, Request};

/// Names and units, for `/metrics`. Called when the service is put together, after
/// the recorder is there.
pub fn describe() {
    describe_counter!(
        "payment_gateway_calls_total",
        "Calls to the payment gateway, by operation (authorize, void) and result (placed, refused, voided, or why there was no final answer)"
    );
    describe_histogram!(
        "payment_gateway_call_seconds",
        "Duration of a call to the payment gateway, by operation"
    );
}

pub(crate) fn record(gateway: &'static str, call: &Call, outcome: &Outcome, took: Duration) {
    let operation = match call.request {
        Request::Authorize(_) => "authorize",
        Request::Void(_) => "void",
    };
    let result = match outcome {
        Outcome::Authorize(Ok(Hold::Placed { .. })) => "placed",
        Outcome::Authorize(Ok(Hold::Refused { .. })) => "refused",
        Outcome::Void(Ok(())) => "voided",
        Outcome::Authorize(Err(error)) | Outcome::Void(Err(error)) => error.cause.as_str(),
    };
    counter!("payment_gateway_calls_total", "operation" => operation, "result" => result)
        .increment(1);
    histogram!("payment_gateway_call_seconds", "operation" => operation).record(took);

    let cart_id = call.request.cart_id();
    let checkout_id = call.request.checkout_id();
    let trace_id = format_args!("{:032x}", u128::from_be_bytes(call.trace_id));
    let attempt = call.request.attempt();
    let took_ms = took.as_millis() as u64;
    macro_rules! tell {
        ($level:ident, $($what:tt)*) => {
            tracing::$level!(
                %cart_id, %checkout_id, %trace_id, gateway, operation, attempt, took_ms, $($what)*
            )
        };
    }
    match outcome {
        Outcome::Authorize(Err(error)) | Outcome::Void(Err(error)) => {
            let Unsettled { cause, detail } = error;
            if *cause == Cause::Misconfigured {
                tell!(error, %cause, detail, "the gateway refuses this service; asking again");
            } else {
                tell!(warn, %cause, detail, "the gateway gave no final answer; asking again");
            }
        }
        Outcome::Authorize(Ok(Hold::Refused { reason })) => {
            tell!(debug, %reason, "the gateway refused");
        }
        Outcome::Authorize(Ok(Hold::Placed { reference })) => {
            tell!(debug, reference, "the gateway holds the money");
        }
        Outcome::Void(Ok(())) => tell!(debug, "the gateway gave the hold up"),
    }
}
