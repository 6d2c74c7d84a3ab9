//! Whether a command fits what is known of its checkout.

use contracts::ids::{CartId, CommandId};
use contracts::messages::AuthorizePayment;
use contracts::{ErrorCode, Poison};

use super::Authorization;

/// Kept in place of a currency that is no ISO 4217 code: the standard's own code
/// for "no currency".
const NO_CURRENCY: &str = "XXX";

impl Authorization {
    /// A checkout belongs to one cart.
    pub(super) fn check_cart(&self, cart: CartId) -> Result<(), Poison> {
        if self.cart_id == cart {
            return Ok(());
        }
        Err(contradiction(format!(
            "checkout {} belongs to cart {}, not to cart {cart}",
            self.checkout_id, self.cart_id
        )))
    }

    /// A command that is repeated says what it said before.
    pub(super) fn check_terms(&self, command: &AuthorizePayment) -> Result<(), Poison> {
        let (Some(amount), Some(currency)) = (self.amount, self.currency.as_deref()) else {
            return Ok(());
        };
        if (amount, currency) == (command.amount, kept_currency(&command.currency)) {
            return Ok(());
        }
        Err(contradiction(format!(
            "command {} came before with the amount {amount} {currency}, now with {} {}",
            command.command_id,
            command.amount,
            kept_currency(&command.currency)
        )))
    }
}

/// Whether it has the form of an ISO 4217 code. Whether it is one of them, the
/// gateway knows.
pub(super) fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase())
}

/// The currency as the table keeps it.
pub(super) fn kept_currency(text: &str) -> &str {
    if is_currency(text) { text } else { NO_CURRENCY }
}

/// A command that is repeated keeps its id.
pub(super) fn check_command(known: Option<CommandId>, command: CommandId) -> Result<(), Poison> {
    match known {
        Some(known) if known != command => Err(contradiction(format!(
            "command {command} comes for a checkout that already has command {known} of that kind; \
             a command that is repeated keeps its commandId"
        ))),
        _ => Ok(()),
    }
}

/// One id cannot be the idempotency key of two different calls.
pub(super) fn check_other_command(
    other: Option<CommandId>,
    command: CommandId,
) -> Result<(), Poison> {
    if other != Some(command) {
        return Ok(());
    }
    Err(contradiction(format!(
        "command {command} is known as one of the other kind; \
         authorizing and voiding have command ids of their own"
    )))
}

fn contradiction(detail: String) -> Poison {
    Poison::new(ErrorCode::ContractViolated, detail)
}
