//! SetStock: sets what exists of a product.

use contracts::Poison;
use contracts::messages::{SetStock, StockSet};
use jiff::Timestamp;

use super::{Out, check_product_id, violated};
use crate::state::{State, Stock};

/// Sets the stock on hand, also below what is reserved: goods can be lost. A repeat of the
/// latest command for the product gets the same answer and changes nothing.
pub(super) fn set_stock(
    state: &mut State,
    command: &SetStock,
    now: Timestamp,
    out: &mut Out,
) -> Result<(), Poison> {
    check_product_id(&command.product_id)?;
    if command.on_hand < 0 {
        return Err(violated(format!(
            "onHand of product {} is {}; it must not be negative",
            command.product_id, command.on_hand
        )));
    }
    let known = state.stock.get(&command.product_id).copied();
    let stock = match known {
        Some(stock) if stock.set_command_id == command.command_id => stock,
        _ => {
            let reserved = known.map_or(0, |stock| stock.reserved);
            let stock = Stock {
                on_hand: command.on_hand,
                reserved,
                set_command_id: command.command_id,
                reserved_when_set: reserved,
                set_at: now,
            };
            state.stock.put(command.product_id.clone(), stock);
            stock
        }
    };
    out.send(StockSet {
        command_id: command.command_id,
        product_id: command.product_id.clone(),
        on_hand: stock.on_hand,
        reserved: stock.reserved_when_set,
        set_at: stock.set_at,
    });
    Ok(())
}
