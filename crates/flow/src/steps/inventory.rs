//! Stock: reserved by the inventory service, and released by it.

use std::{collections::BTreeMap, time::Duration};

use contracts::{
    Message, RecordType,
    ids::{GenericUuid, ReservationId},
    messages::{FailureReason, ReleaseInventory, ReleaseReason, ReservationItem, ReserveInventory},
};

use crate::{
    saga::{MissingItem, Saga},
    step::{
        Command, Compensation, Deadline, FailureReplies, FailureReply, Refusal, Retry, StatusText,
        Step, StepDefinition, StepStatus, SuccessReply,
    },
};

/// Hold stock for every item of the cart, or for none.
pub const RESERVE_INVENTORY: StepDefinition = StepDefinition {
    step: Step::ReserveInventory,
    owner: "inventory",
    command: Command {
        record: RecordType::ReserveInventory,
        build: reserve,
    },
    success: SuccessReply {
        record: RecordType::InventoryReserved,
        handle: |message| match message {
            Message::InventoryReserved(reply) => Some(reply.reservation_id.into_untyped_uuid()),
            _ => None,
        },
    },
    failures: FailureReplies {
        first: FailureReply {
            record: RecordType::InventoryUnavailable,
            reason: FailureReason::OutOfStock,
            customer_text: "Some items are not available in the quantity you want.",
            explain: explain_unavailable,
        },
        others: &[],
    },
    retry: Retry { tries: 6 },
    deadline: Deadline {
        first: Duration::from_secs(5),
        max: Duration::from_secs(30),
    },
    compensation: Compensation {
        record: RecordType::ReleaseInventory,
        build: release,
        acknowledged_by: RecordType::InventoryReleased,
    },
    status: StepStatus {
        doing: StatusText {
            code: "RESERVING_ITEMS",
            text: "We are reserving your items.",
        },
        undoing: StatusText {
            code: "RETURNING_ITEMS",
            text: "Your checkout did not go through; your items are being put back.",
        },
    },
};

/// The cart may name a product on several lines; it is reserved once, in the
/// order of the product ids.
fn reserve(saga: &Saga) -> Option<Message> {
    let mut quantities = BTreeMap::<&str, i32>::new();
    for line in &saga.cart.items {
        let quantity = quantities.entry(&line.product_id).or_default();
        *quantity = quantity.checked_add(line.quantity)?;
    }
    let command = ReserveInventory {
        command_id: saga.command_id(RecordType::ReserveInventory),
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        customer_id: Some(saga.cart.customer_id),
        items: quantities
            .into_iter()
            .map(|(product_id, quantity)| ReservationItem {
                product_id: product_id.to_owned(),
                quantity,
            })
            .collect(),
    };
    Some(command.into())
}

fn release(saga: &Saga) -> Message {
    ReleaseInventory {
        command_id: saga.command_id(RecordType::ReleaseInventory),
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        reservation_id: saga
            .handle(Step::ReserveInventory)
            .map(ReservationId::from_untyped_uuid),
        reason: match saga.failure_reason() {
            Some(FailureReason::ReservationExpired) => ReleaseReason::Expired,
            _ => ReleaseReason::CheckoutFailed,
        },
    }
    .into()
}

fn explain_unavailable(message: &Message) -> Option<Refusal> {
    let Message::InventoryUnavailable(reply) = message else {
        return None;
    };
    Some(Refusal {
        detail: match reply.unavailable_items.len() {
            0 => format!("the inventory service reserved nothing: {}", reply.reason),
            1 => "1 product is not available in the quantity asked for".to_owned(),
            count => format!("{count} products are not available in the quantity asked for"),
        },
        missing: reply
            .unavailable_items
            .iter()
            .map(|item| MissingItem {
                product_id: item.product_id.clone(),
                requested: item.requested,
                available: item.available,
            })
            .collect(),
    })
}
