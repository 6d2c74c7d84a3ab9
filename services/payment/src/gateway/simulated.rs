//! A gateway that moves no money and follows fixed rules, for development,
//! demonstrations and tests.
//!
//! The last two digits of the amount, in minor units, decide, as the response
//! codes of ISO 8583 do:
//!
//! | amount ends in | answer                                                  |
//! |----------------|---------------------------------------------------------|
//! | 51             | refused, `INSUFFICIENT_FUNDS`                           |
//! | 05             | refused, `CARD_DECLINED`                                |
//! | 54             | refused, `EXPIRED_CARD`                                 |
//! | 96             | refused, `PROCESSING_ERROR`                             |
//! | 91             | no answer at the first attempt, placed at the second    |
//! | anything else  | placed                                                  |
//!
//! A void always succeeds. The answer depends on nothing but the request, so the
//! gateway is idempotent without remembering anything. [`Fault`] makes it
//! misbehave as a whole, whatever the amounts.

use std::time::Duration;

use clap::ValueEnum;
use contracts::ids::GenericUuid;
use contracts::messages::DeclineReason;
use futures::future::BoxFuture;

use super::{AuthorizeRequest, Cause, Gateway, Hold, Unsettled, VoidRequest};

/// How the simulated gateway misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Not at all.
    #[default]
    None,
    /// Every call breaks down, as while the gateway is out of order: payments
    /// stay requested, and holds are not given up.
    Unavailable,
    /// No call is ever answered: each runs into its time-out.
    Silent,
    /// The answer of the first attempt of each call is lost; the second gets it.
    AnswerLost,
}

/// The simulated gateway.
#[derive(Clone, Copy, Debug, Default)]
pub struct Simulated {
    /// How long each answer takes.
    pub latency: Duration,
    /// How it misbehaves.
    pub fault: Fault,
}

impl Simulated {
    /// What every call suffers, whatever it asks.
    async fn trouble(&self, attempt: i32) -> Result<(), Unsettled> {
        if !self.latency.is_zero() {
            tokio::time::sleep(self.latency).await;
        }
        match self.fault {
            Fault::None => Ok(()),
            Fault::Unavailable => Err(Unsettled::new(
                Cause::Failed,
                "the simulated gateway is out of order (--simulated-fault unavailable)",
            )),
            Fault::Silent => std::future::pending().await,
            Fault::AnswerLost if attempt <= 1 => Err(Unsettled::new(
                Cause::Unreachable,
                "the simulated gateway lost its first answer (--simulated-fault answer-lost)",
            )),
            Fault::AnswerLost => Ok(()),
        }
    }
}

/// The rule of the amount's last two digits.
fn decide(request: &AuthorizeRequest) -> Result<Hold, Unsettled> {
    let refused = |reason| Ok(Hold::Refused { reason });
    match request.amount % 100 {
        51 => refused(DeclineReason::InsufficientFunds),
        5 => refused(DeclineReason::CardDeclined),
        54 => refused(DeclineReason::ExpiredCard),
        96 => refused(DeclineReason::ProcessingError),
        91 if request.attempt <= 1 => Err(Unsettled::new(
            Cause::Failed,
            "the issuer cannot be reached (simulated, by an amount that ends in 91)",
        )),
        _ => Ok(Hold::Placed {
            reference: format!("sim_{}", request.key.into_untyped_uuid().simple()),
        }),
    }
}

impl Gateway for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn authorize<'a>(
        &'a self,
        request: &'a AuthorizeRequest,
    ) -> BoxFuture<'a, Result<Hold, Unsettled>> {
        Box::pin(async move {
            self.trouble(request.attempt).await?;
            decide(request)
        })
    }

    fn void<'a>(&'a self, request: &'a VoidRequest) -> BoxFuture<'a, Result<(), Unsettled>> {
        Box::pin(self.trouble(request.attempt))
    }
}

#[cfg(test)]
mod tests {
    use contracts::ids::{CartId, CheckoutId, CommandId};
    use uuid::Uuid;

    use super::*;

    fn request(amount: i64, attempt: i32) -> AuthorizeRequest {
        AuthorizeRequest {
            key: CommandId::from_untyped_uuid(Uuid::from_u128(1)),
            checkout_id: CheckoutId::from_untyped_uuid(Uuid::from_u128(2)),
            cart_id: CartId::from_untyped_uuid(Uuid::from_u128(3)),
            customer_id: None,
            amount,
            currency: "EUR".to_owned(),
            attempt,
        }
    }

    fn void_request(attempt: i32) -> VoidRequest {
        let request = request(1, attempt);
        VoidRequest {
            key: request.key,
            checkout_id: request.checkout_id,
            cart_id: request.cart_id,
            reference: "sim_1".to_owned(),
            attempt,
        }
    }

    async fn reason(amount: i64) -> Option<DeclineReason> {
        let gateway = Simulated::default();
        match gateway.authorize(&request(amount, 1)).await.unwrap() {
            Hold::Placed { .. } => None,
            Hold::Refused { reason } => Some(reason),
        }
    }

    #[tokio::test]
    async fn the_last_two_digits_decide() {
        assert_eq!(reason(51).await, Some(DeclineReason::InsufficientFunds));
        assert_eq!(reason(7_751).await, Some(DeclineReason::InsufficientFunds));
        assert_eq!(reason(1_005).await, Some(DeclineReason::CardDeclined));
        assert_eq!(reason(1_054).await, Some(DeclineReason::ExpiredCard));
        assert_eq!(reason(1_096).await, Some(DeclineReason::ProcessingError));
        assert_eq!(reason(5_100).await, None);
        assert_eq!(reason(i64::MAX).await, None);
    }

    #[tokio::test]
    async fn the_same_request_gets_the_same_answer() {
        let gateway = Simulated::default();
        let first = gateway.authorize(&request(1_200, 1)).await;
        let second = gateway.authorize(&request(1_200, 2)).await;
        assert!(first.is_ok());
        assert_eq!(first, second);
    }

    #[tokio::test]
    async fn an_amount_that_ends_in_91_is_placed_at_the_second_attempt() {
        let gateway = Simulated::default();
        let first = gateway.authorize(&request(1_091, 1)).await;
        assert_eq!(first.unwrap_err().cause, Cause::Failed);
        let second = gateway.authorize(&request(1_091, 2)).await;
        assert!(matches!(second, Ok(Hold::Placed { .. })));
    }

    #[tokio::test]
    async fn faults_strike_authorizations_and_voids_alike() {
        let gateway = |fault| Simulated {
            fault,
            ..Simulated::default()
        };
        let lost = gateway(Fault::AnswerLost);
        assert!(lost.authorize(&request(100, 1)).await.is_err());
        assert!(lost.authorize(&request(100, 2)).await.is_ok());
        assert!(lost.void(&void_request(1)).await.is_err());
        assert!(lost.void(&void_request(2)).await.is_ok());

        let unavailable = gateway(Fault::Unavailable);
        assert!(unavailable.authorize(&request(100, 99)).await.is_err());
        assert!(unavailable.void(&void_request(99)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_gateway_never_answers_and_a_slow_one_does() {
        let silent = Simulated {
            fault: Fault::Silent,
            ..Simulated::default()
        };
        let patience = Duration::from_secs(3_600);
        let answer = tokio::time::timeout(patience, silent.void(&void_request(1))).await;
        assert!(answer.is_err());

        let slow = Simulated {
            latency: Duration::from_secs(2),
            ..Simulated::default()
        };
        let begun = tokio::time::Instant::now();
        assert!(slow.void(&void_request(1)).await.is_ok());
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }
}
