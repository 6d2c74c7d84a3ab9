//! ReleaseInventory: afterwards nothing is held for the checkout, whatever was before.

use std::convert::Infallible;

use contracts::messages::{InventoryReleased, ReleaseInventory};
use contracts::{Poison, ids};
use jiff::Timestamp;
use runtime::Input;

use super::{Out, check_cart, check_command};
use crate::state::{Release, Reservation, State};

pub(super) fn release(
    state: &mut State,
    command: &ReleaseInventory,
    input: &Input<Infallible>,
    now: Timestamp,
    out: &mut Out,
) -> Result<(), Poison> {
    let checkout = command.checkout_id;
    let asked = Release {
        command_id: command.command_id,
        reason: command.reason,
        at: now,
    };
    let (reservation, release) = match state.reservations.get(&checkout) {
        Some(known) => {
            check_cart(known, command.cart_id)?;
            if let Some(done) = known.release {
                check_command(done.command_id, command.command_id)?;
                out.send(answer(command, known, done));
                return Ok(());
            }
            let mut released = known.clone();
            released.release = Some(asked);
            released.wake_at = None;
            (released, asked)
        }
        // The reserve has not come: this row will refuse it.
        None => (
            Reservation {
                cart_id: command.cart_id,
                reserve: None,
                release: Some(asked),
                home: input.home,
                traceparent: input.trace.to_string(),
                wake_at: None,
            },
            asked,
        ),
    };
    for item in reservation.reserved_items() {
        if let Some(stock) = state.stock.get_mut(&item.product_id) {
            stock.reserved -= i64::from(item.quantity);
        }
    }
    out.send(answer(command, &reservation, release));
    state.reservations.put(checkout, reservation);
    Ok(())
}

fn answer(command: &ReleaseInventory, known: &Reservation, release: Release) -> InventoryReleased {
    let checkout = command.checkout_id;
    InventoryReleased {
        command_id: release.command_id,
        checkout_id: checkout,
        cart_id: command.cart_id,
        reservation_id: known.was_reserved().then(|| ids::reservation_id(checkout)),
        reason: release.reason,
        items: known.reserved_items().to_vec(),
        released_at: release.at,
    }
}
