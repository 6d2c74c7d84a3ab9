//! Loyalty points: awarded by the loyalty service, and revoked by it.

use std::time::Duration;

use contracts::{
    Message, RecordType,
    ids::GenericUuid,
    messages::{AwardId, AwardPoints, FailureReason, RevokePoints},
};

use crate::{
    saga::Saga,
    step::{
        Command, Compensation, Deadline, FailureReplies, FailureReply, Refusal, Retry, StatusText,
        Step, StepDefinition, StepStatus, SuccessReply,
    },
};

/// Credit the customer with the points that the cart earns.
pub const AWARD_LOYALTY_POINTS: StepDefinition = StepDefinition {
    step: Step::AwardLoyaltyPoints,
    owner: "loyalty",
    command: Command {
        record: RecordType::AwardPoints,
        build: award,
    },
    success: SuccessReply {
        record: RecordType::PointsAwarded,
        handle: |message| match message {
            Message::PointsAwarded(reply) => Some(reply.award_id.into_untyped_uuid()),
            _ => None,
        },
    },
    failures: FailureReplies {
        first: FailureReply {
            record: RecordType::PointsRefused,
            reason: FailureReason::LoyaltyRefused,
            customer_text: "Your points could not be credited; nothing was charged.",
            explain: |message| match message {
                Message::PointsRefused(reply) => Some(Refusal {
                    detail: format!("the points were refused: {}", reply.reason),
                    missing: Vec::new(),
                }),
                _ => None,
            },
        },
        others: &[],
    },
    retry: Retry { tries: 6 },
    deadline: Deadline {
        first: Duration::from_secs(5),
        max: Duration::from_secs(30),
    },
    compensation: Compensation {
        record: RecordType::RevokePoints,
        build: revoke,
        acknowledged_by: RecordType::PointsRevoked,
    },
    status: StepStatus {
        doing: StatusText {
            code: "AWARDING_POINTS",
            text: "We are crediting your points.",
        },
        undoing: StatusText {
            code: "REVOKING_POINTS",
            text: "Your checkout did not go through; its points are being taken back.",
        },
    },
};

fn award(saga: &Saga) -> Option<Message> {
    let command = AwardPoints {
        command_id: saga.command_id(RecordType::AwardPoints),
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        customer_id: saga.cart.customer_id,
        amount: saga.cart.total,
        currency: saga.cart.currency.clone(),
    };
    Some(command.into())
}

fn revoke(saga: &Saga) -> Message {
    RevokePoints {
        command_id: saga.command_id(RecordType::RevokePoints),
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        award_id: saga
            .handle(Step::AwardLoyaltyPoints)
            .map(AwardId::from_untyped_uuid),
    }
    .into()
}
