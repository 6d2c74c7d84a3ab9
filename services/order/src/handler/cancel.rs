//! CancelOrder: afterwards no order of the checkout stands, whatever was before.

use contracts::messages::{CancelOrder, OrderCancelled};
use contracts::{Poison, ids};
use jiff::Timestamp;

use super::{Out, check_cart, check_command};
use crate::state::{Cancellation, Order, State};

pub(super) fn cancel(
    state: &mut State,
    command: &CancelOrder,
    now: Timestamp,
    out: &mut Out,
) -> Result<(), Poison> {
    let checkout = command.checkout_id;
    let asked = Cancellation {
        command_id: command.command_id,
        reason: command.reason,
        at: now,
    };
    let order = match state.orders.get(&checkout) {
        Some(known) => {
            check_cart(known, command.cart_id)?;
            if let Some(done) = known.cancellation {
                check_command(done.command_id, command.command_id)?;
                out.send(reply(command, known, done));
                return Ok(());
            }
            Order {
                cancellation: Some(asked),
                ..known.clone()
            }
        }
        // The creation has not come: this row will refuse it.
        None => Order {
            cart_id: command.cart_id,
            creation: None,
            cancellation: Some(asked),
        },
    };
    if state.live.get(&order.cart_id) == Some(&checkout) {
        state.live.remove(&order.cart_id);
    }
    out.send(reply(command, &order, asked));
    state.orders.put(checkout, order);
    Ok(())
}

fn reply(command: &CancelOrder, known: &Order, done: Cancellation) -> OrderCancelled {
    OrderCancelled {
        command_id: done.command_id,
        checkout_id: command.checkout_id,
        cart_id: command.cart_id,
        order_id: known
            .was_recorded()
            .then(|| ids::order_id(command.checkout_id)),
        cancelled_at: done.at,
    }
}
