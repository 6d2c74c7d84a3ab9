//! Replies as the participants write them.

use contracts::{Message, RecordType, ids};

use crate::{
    core::{Cart, cart_id},
    message::{Checkout, Kind, checkout_id},
    reply::{answered_by, by_schema},
};

/// The reply of this kind, in a checkout of a cart.
pub(crate) fn reply(cart: Cart, checkout: Checkout, kind: Kind) -> Message {
    let is_command = Kind::COMMANDS.contains(&kind);
    assert!(!is_command, "{kind:?} is a command");
    by_schema(
        kind.record(),
        kind.command_id(checkout),
        checkout_id(checkout),
        cart_id(cart),
    )
}

/// A reply of a participant that the model does not have.
pub(crate) fn reply_of_another(cart: Cart, checkout: Checkout, record: RecordType) -> Message {
    let checkout = checkout_id(checkout);
    let command = ids::command_id(checkout, answered_by(record));
    by_schema(record, command, checkout, cart_id(cart))
}
