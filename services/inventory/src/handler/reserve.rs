//! ReserveInventory: all items of a checkout, or none.

use std::collections::BTreeMap;
use std::convert::Infallible;

use contracts::messages::{
    InventoryReserved, InventoryUnavailable, ReserveInventory, UnavailableItem, UnavailableReason,
};
use contracts::{Message, Poison, ids};
use jiff::Timestamp;
use runtime::Input;

use super::{Inventory, Out, check_cart, check_command, check_product_id, violated};
use crate::state::{Answer, Reservation, Reserve, State};

impl Inventory {
    pub(super) fn reserve(
        &self,
        state: &mut State,
        command: &ReserveInventory,
        input: &Input<Infallible>,
        now: Timestamp,
        out: &mut Out,
    ) -> Result<(), Poison> {
        let wanted = wanted(command)?;
        if let Some(known) = state.reservations.get(&command.checkout_id) {
            check_cart(known, command.cart_id)?;
            if let Some(reserve) = &known.reserve {
                check_command(reserve.command_id, command.command_id)?;
            }
            out.send(answer(command, known));
            return Ok(());
        }
        let answer_given = self.decide(state, command, &wanted, now);
        let wake_at = match &answer_given {
            Answer::Reserved { expires_at, .. } => *expires_at,
            Answer::Unavailable { .. } => None,
        };
        let reservation = Reservation {
            cart_id: command.cart_id,
            reserve: Some(Reserve {
                command_id: command.command_id,
                at: now,
                answer: answer_given,
            }),
            release: None,
            home: input.home,
            traceparent: input.trace.to_string(),
            wake_at,
        };
        out.send(answer(command, &reservation));
        state.reservations.put(command.checkout_id, reservation);
        Ok(())
    }

    /// Takes the stock if there is enough of everything.
    fn decide(
        &self,
        state: &mut State,
        command: &ReserveInventory,
        wanted: &BTreeMap<&str, i32>,
        now: Timestamp,
    ) -> Answer {
        let mut missing = Vec::new();
        for (product, pieces) in wanted {
            let available = state.stock.get(*product).map_or(0, |s| s.available());
            if available < i64::from(*pieces) {
                missing.push(UnavailableItem {
                    product_id: (*product).to_owned(),
                    requested: *pieces,
                    available,
                });
            }
        }
        if !missing.is_empty() {
            return Answer::Unavailable { items: missing };
        }
        for (product, pieces) in wanted {
            if let Some(stock) = state.stock.get_mut(*product) {
                // Not more than `on_hand`, so it cannot overflow.
                stock.reserved += i64::from(*pieces);
            }
        }
        Answer::Reserved {
            items: command.items.clone(),
            expires_at: self
                .reservation_ttl
                .and_then(|ttl| now.checked_add(ttl).ok()),
        }
    }
}

/// The pieces wanted of each product; one product may stand on several lines.
fn wanted(command: &ReserveInventory) -> Result<BTreeMap<&str, i32>, Poison> {
    if command.items.is_empty() {
        return Err(violated("items is empty".into()));
    }
    let mut wanted = BTreeMap::<&str, i32>::new();
    for item in &command.items {
        check_product_id(&item.product_id)?;
        if item.quantity < 1 {
            return Err(violated(format!(
                "the quantity of product {} is {}; it must be at least 1",
                item.product_id, item.quantity
            )));
        }
        let pieces = wanted.entry(&item.product_id).or_default();
        *pieces = pieces.checked_add(item.quantity).ok_or_else(|| {
            violated(format!(
                "the quantities of product {} exceed {} together",
                item.product_id,
                i32::MAX
            ))
        })?;
    }
    Ok(wanted)
}

/// The answer to a reserve by what is known of its checkout. The same answer type has the
/// same content whenever it is given, since consumers tell repeats by its id.
fn answer(command: &ReserveInventory, known: &Reservation) -> Message {
    let unavailable = |reason, items, checked_at| {
        InventoryUnavailable {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            reason,
            unavailable_items: items,
            checked_at,
        }
        .into()
    };
    match (&known.reserve, &known.release) {
        (
            Some(Reserve {
                at,
                answer: Answer::Unavailable { items },
                ..
            }),
            _,
        ) => unavailable(UnavailableReason::OutOfStock, items.clone(), *at),
        // Held no more, or refused because the release came first.
        (_, Some(release)) => unavailable(UnavailableReason::Released, Vec::new(), release.at),
        (
            Some(Reserve {
                at,
                answer: Answer::Reserved { items, expires_at },
                ..
            }),
            None,
        ) => InventoryReserved {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            reservation_id: ids::reservation_id(command.checkout_id),
            items: items.clone(),
            reserved_at: *at,
            expires_at: *expires_at,
        }
        .into(),
        // The table's checks allow no row without both.
        (None, None) => unavailable(
            UnavailableReason::Unknown,
            Vec::new(),
            Timestamp::UNIX_EPOCH,
        ),
    }
}
