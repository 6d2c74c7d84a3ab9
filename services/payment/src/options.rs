//! Flags and environment of the payment service alone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::gateway::Gateway;
use crate::gateway::simulated::{Fault, Simulated};
use crate::gateway::stripe::{ApiKey, Stripe, StripeSettings};
use crate::{Payments, Retry};

/// The environment variable of the Stripe API key. It is no flag: arguments are
/// seen by every user of a machine.
pub const STRIPE_API_KEY: &str = "STRIPE_API_KEY";

/// Which gateway holds the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GatewayKind {
    /// None: fixed rules by the amount's last two digits decide.
    Simulated,
    /// Stripe, or whatever speaks its API.
    Stripe,
}

/// Flags of the gateways.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Payment gateway")]
pub struct GatewayArgs {
    /// Who holds the money. `simulated` moves none: an amount whose last two digits
    /// are 51 is refused with INSUFFICIENT_FUNDS, 05 CARD_DECLINED, 54 EXPIRED_CARD,
    /// 96 PROCESSING_ERROR, 91 is placed at the second attempt, all else is placed.
    /// `stripe` holds it by PaymentIntents with manual capture and takes its API key
    /// from the environment variable STRIPE_API_KEY.
    #[arg(
        long,
        env = "PAYMENT_GATEWAY",
        value_enum,
        default_value_t = GatewayKind::Simulated
    )]
    pub gateway: GatewayKind,

    /// Limit of one call to the gateway, in milliseconds.
    #[arg(
        long,
        env = "GATEWAY_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    pub gateway_timeout_ms: u64,

    /// Pause before a call that failed is made again with the same idempotency key, in
    /// milliseconds; it doubles up to `--gateway-retry-max-ms`, less up to a half.
    #[arg(
        long,
        env = "GATEWAY_RETRY_MS",
        value_name = "MS",
        default_value_t = 500,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    pub gateway_retry_ms: u64,

    /// Longest pause before a call is made again, in milliseconds. Calls are repeated
    /// until the gateway gives a final answer.
    #[arg(
        long,
        env = "GATEWAY_RETRY_MAX_MS",
        value_name = "MS",
        default_value_t = 30_000,
        value_parser = clap::value_parser!(u64).range(1..=86_400_000)
    )]
    pub gateway_retry_max_ms: u64,

    /// How long an answer is awaited before the call is taken for lost with a process
    /// that ended, in milliseconds. A call that is still on its way is not made twice, so
    /// this may be shorter than the time-out.
    #[arg(
        long,
        env = "GATEWAY_OVERDUE_MS",
        value_name = "MS",
        default_value_t = 2_000,
        value_parser = clap::value_parser!(u64).range(1..=86_400_000)
    )]
    pub gateway_overdue_ms: u64,

    /// How long the simulated gateway takes for each answer, in milliseconds.
    #[arg(
        long,
        env = "SIMULATED_LATENCY_MS",
        value_name = "MS",
        default_value_t = 0,
        value_parser = clap::value_parser!(u64).range(0..=3_600_000)
    )]
    pub simulated_latency_ms: u64,

    /// How the simulated gateway misbehaves, whatever the amounts.
    #[arg(
        long,
        env = "SIMULATED_FAULT",
        value_enum,
        default_value_t = Fault::None
    )]
    pub simulated_fault: Fault,

    /// Where the Stripe API is.
    #[arg(
        long,
        env = "STRIPE_URL",
        value_name = "URL",
        default_value = "https://api.stripe.com"
    )]
    pub stripe_url: String,

    /// The Stripe PaymentMethod that is charged. The commands carry no card: a shop that
    /// charges its customers maps each to a PaymentMethod in the Stripe gateway's request.
    /// The default is Stripe's test card; it works with test keys alone.
    #[arg(
        long,
        env = "STRIPE_PAYMENT_METHOD",
        value_name = "ID",
        default_value = "pm_card_visa"
    )]
    pub stripe_payment_method: String,

    /// Largest response that is read from Stripe, in bytes.
    #[arg(
        long,
        env = "STRIPE_MAX_RESPONSE_BYTES",
        value_name = "BYTES",
        default_value_t = 256 * 1024,
        value_parser = clap::value_parser!(u32).range(1_024..=64 * 1024 * 1024)
    )]
    pub stripe_max_response_bytes: u32,
}

impl GatewayArgs {
    /// The payment service in front of the gateway chosen.
    ///
    /// # Errors
    /// Settings that contradict each other, or that the gateway refuses.
    pub fn payments(&self) -> anyhow::Result<Payments> {
        let timeout = Duration::from_millis(self.gateway_timeout_ms);
        let retry = Retry {
            first: Duration::from_millis(self.gateway_retry_ms),
            max: Duration::from_millis(self.gateway_retry_max_ms),
            overdue: Duration::from_millis(self.gateway_overdue_ms),
        };
        anyhow::ensure!(
            retry.first <= retry.max,
            "--gateway-retry-ms ({}) is more than --gateway-retry-max-ms ({}): lower the first or raise the second",
            self.gateway_retry_ms,
            self.gateway_retry_max_ms
        );
        Ok(Payments::new(self.gateway(timeout)?, timeout, retry))
    }

    fn gateway(&self, timeout: Duration) -> anyhow::Result<Arc<dyn Gateway>> {
        match self.gateway {
            GatewayKind::Simulated => Ok(Arc::new(Simulated {
                latency: Duration::from_millis(self.simulated_latency_ms),
                fault: self.simulated_fault,
            })),
            GatewayKind::Stripe => {
                let key = std::env::var(STRIPE_API_KEY).with_context(|| {
                    format!("--gateway stripe needs the environment variable {STRIPE_API_KEY}")
                })?;
                let settings = StripeSettings {
                    url: self.stripe_url.clone(),
                    api_key: ApiKey::new(key),
                    payment_method: self.stripe_payment_method.clone(),
                    timeout,
                    max_response_bytes: self.stripe_max_response_bytes as usize,
                };
                Ok(Arc::new(Stripe::new(settings)?))
            }
        }
    }
}
