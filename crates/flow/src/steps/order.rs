//! The order: recorded by the order service, and cancelled by it.
//!
//! This is the pivot. Stock and money stay held until it is known that no order
//! stands, because compensations go in reverse order and one at a time: nothing
//! before this step is undone until the cancellation has been acknowledged.

use std::time::Duration;

use contracts::{
    Message, RecordType,
    ids::{AuthorizationId, GenericUuid, OrderId},
    messages::{CancelOrder, CancelReason, CreateOrder, FailureReason, OrderLine},
};

use crate::{
    saga::Saga,
    step::{
        Command, Compensation, Deadline, FailureReplies, FailureReply, Refusal, Retry, StatusText,
        Step, StepDefinition, StepStatus, SuccessReply,
    },
};

/// Record the order in the order database.
pub const CREATE_ORDER: StepDefinition = StepDefinition {
    step: Step::CreateOrder,
    owner: "ordering",
    command: Command {
        record: RecordType::CreateOrder,
        build: create,
    },
    success: SuccessReply {
        record: RecordType::OrderRecorded,
        handle: |message| match message {
            Message::OrderRecorded(reply) => Some(reply.order_id.into_untyped_uuid()),
            _ => None,
        },
    },
    failures: FailureReplies {
        first: FailureReply {
            record: RecordType::OrderRejected,
            reason: FailureReason::OrderRejected,
            customer_text: "The shop could not accept the order; nothing was charged.",
            explain: |message| match message {
                Message::OrderRejected(reply) => Some(Refusal {
                    detail: format!("the order was rejected: {}", reply.reason),
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
        record: RecordType::CancelOrder,
        build: cancel,
        acknowledged_by: RecordType::OrderCancelled,
    },
    status: StepStatus {
        doing: StatusText {
            code: "PLACING_ORDER",
            text: "We are placing your order.",
        },
        undoing: StatusText {
            code: "CANCELLING_ORDER",
            text: "Your checkout did not go through; we are making sure that no order stands.",
        },
    },
};

fn create(saga: &Saga) -> Option<Message> {
    let authorization = saga.handle(Step::AuthorizePayment)?;
    let command = CreateOrder {
        command_id: saga.command_id(RecordType::CreateOrder),
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        customer_id: saga.cart.customer_id,
        items: saga
            .cart
            .items
            .iter()
            .map(|line| OrderLine {
                product_id: line.product_id.clone(),
                quantity: line.quantity,
                unit_price: line.unit_price,
            })
            .collect(),
        total: saga.cart.total,
        currency: saga.cart.currency.clone(),
        payment_authorization_id: AuthorizationId::from_untyped_uuid(authorization),
    };
    Some(command.into())
}

fn cancel(saga: &Saga) -> Message {
    CancelOrder {
        command_id: saga.command_id(RecordType::CancelOrder),
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        order_id: saga
            .handle(Step::CreateOrder)
            .map(OrderId::from_untyped_uuid),
        reason: CancelReason::CheckoutFailed,
    }
    .into()
}
