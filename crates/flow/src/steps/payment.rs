//! Money: authorized by the payment service, and voided by it.

use std::time::Duration;

use contracts::{
    Message, RecordType,
    ids::{AuthorizationId, GenericUuid},
    messages::{AuthorizePayment, FailureReason, VoidAuthorization, VoidReason},
};

use crate::{
    saga::Saga,
    step::{
        Command, Compensation, Deadline, FailureReplies, FailureReply, Refusal, Retry, StatusText,
        Step, StepDefinition, StepStatus, SuccessReply,
    },
};

/// Hold the total of the cart. A total of 0 is authorized like any other: the
/// payment service decides what that means, and the flow has one path.
pub const AUTHORIZE_PAYMENT: StepDefinition = StepDefinition {
    step: Step::AuthorizePayment,
    owner: "payments",
    command: Command {
        record: RecordType::AuthorizePayment,
        build: authorize,
    },
    success: SuccessReply {
        record: RecordType::PaymentAuthorized,
        handle: |message| match message {
            Message::PaymentAuthorized(reply) => Some(reply.authorization_id.into_untyped_uuid()),
            _ => None,
        },
    },
    failures: FailureReplies {
        first: FailureReply {
            record: RecordType::PaymentDeclined,
            reason: FailureReason::PaymentDeclined,
            customer_text: "Your payment was declined; nothing was charged.",
            explain: |message| match message {
                Message::PaymentDeclined(reply) => Some(Refusal {
                    detail: format!("the payment was declined: {}", reply.reason),
                    missing: Vec::new(),
                }),
                _ => None,
            },
        },
        others: &[],
    },
    retry: Retry { tries: 6 },
    // The participant calls a gateway, which may take its time.
    deadline: Deadline {
        first: Duration::from_secs(10),
        max: Duration::from_secs(60),
    },
    compensation: Compensation {
        record: RecordType::VoidAuthorization,
        build: void,
        acknowledged_by: RecordType::AuthorizationVoided,
    },
    status: StepStatus {
        doing: StatusText {
            code: "AUTHORIZING_PAYMENT",
            text: "We are authorizing your payment.",
        },
        undoing: StatusText {
            code: "RELEASING_PAYMENT",
            text: "Your checkout did not go through; the hold on your money is being lifted.",
        },
    },
};

fn authorize(saga: &Saga) -> Option<Message> {
    let command = AuthorizePayment {
        command_id: saga.command_id(RecordType::AuthorizePayment),
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        customer_id: Some(saga.cart.customer_id),
        amount: saga.cart.total,
        currency: saga.cart.currency.clone(),
    };
    Some(command.into())
}

fn void(saga: &Saga) -> Message {
    VoidAuthorization {
        command_id: saga.command_id(RecordType::VoidAuthorization),
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        authorization_id: saga
            .handle(Step::AuthorizePayment)
            .map(AuthorizationId::from_untyped_uuid),
        reason: VoidReason::CheckoutFailed,
    }
    .into()
}
