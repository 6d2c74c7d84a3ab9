//! Replies as the participants write them.

use contracts::{Message, RecordType, ids, messages::*};
use jiff::Timestamp;

use crate::{
    core::{Cart, cart_id},
    message::{Checkout, Kind, checkout_id},
};

/// The reply of this kind, in a checkout of a cart.
pub(crate) fn reply(cart: Cart, checkout: Checkout, kind: Kind) -> Message {
    let at = Timestamp::UNIX_EPOCH;
    let command_id = kind.command_id(checkout);
    let (cart_id, checkout_id) = (cart_id(cart), checkout_id(checkout));
    match kind {
        Kind::Reserved => InventoryReserved {
            command_id,
            checkout_id,
            cart_id,
            reservation_id: ids::reservation_id(checkout_id),
            items: vec![],
            reserved_at: at,
            expires_at: None,
        }
        .into(),
        Kind::Unavailable => InventoryUnavailable {
            command_id,
            checkout_id,
            cart_id,
            reason: UnavailableReason::OutOfStock,
            unavailable_items: vec![],
            checked_at: at,
        }
        .into(),
        Kind::Released => InventoryReleased {
            command_id,
            checkout_id,
            cart_id,
            reservation_id: None,
            reason: ReleaseReason::CheckoutFailed,
            items: vec![],
            released_at: at,
        }
        .into(),
        Kind::Authorized => PaymentAuthorized {
            command_id,
            checkout_id,
            cart_id,
            authorization_id: ids::authorization_id(checkout_id),
            amount: 450,
            currency: "EUR".to_owned(),
            authorized_at: at,
        }
        .into(),
        Kind::Declined => PaymentDeclined {
            command_id,
            checkout_id,
            cart_id,
            reason: DeclineReason::InsufficientFunds,
            declined_at: at,
        }
        .into(),
        Kind::Voided => AuthorizationVoided {
            command_id,
            checkout_id,
            cart_id,
            authorization_id: None,
            voided_at: at,
        }
        .into(),
        Kind::Recorded => OrderRecorded {
            command_id,
            checkout_id,
            cart_id,
            order_id: ids::order_id(checkout_id),
            recorded_at: at,
        }
        .into(),
        Kind::Rejected => OrderRejected {
            command_id,
            checkout_id,
            cart_id,
            reason: OrderRejectReason::Invalid,
            rejected_at: at,
        }
        .into(),
        Kind::Cancelled => OrderCancelled {
            command_id,
            checkout_id,
            cart_id,
            order_id: None,
            cancelled_at: at,
        }
        .into(),
        Kind::Expired => ReservationExpired {
            event_id: ids::event_id(checkout_id, RecordType::ReservationExpired),
            checkout_id,
            cart_id,
            reservation_id: ids::reservation_id(checkout_id),
            expired_at: at,
        }
        .into(),
        Kind::Reserve
        | Kind::Release
        | Kind::Authorize
        | Kind::Void
        | Kind::Create
        | Kind::Cancel => panic!("{kind:?} is a command"),
    }
}
