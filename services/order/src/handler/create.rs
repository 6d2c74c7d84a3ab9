//! CreateOrder: records the order of a checkout, unless something speaks against it.

use contracts::messages::{CreateOrder, OrderRecorded, OrderRejectReason, OrderRejected};
use contracts::{Message, Poison, ids};
use jiff::Timestamp;

use super::{Out, check_cart, check_command};
use crate::state::{Answer, Content, Creation, Order, State};

/// Most characters of a product id.
const MAX_PRODUCT_ID_CHARS: usize = 64;

pub(super) fn create(
    state: &mut State,
    command: &CreateOrder,
    now: Timestamp,
    out: &mut Out,
) -> Result<(), Poison> {
    let checkout = command.checkout_id;
    if let Some(known) = state.orders.get(&checkout) {
        check_cart(known, command.cart_id)?;
        if let Some(creation) = &known.creation {
            check_command(creation.command_id, command.command_id)?;
        }
        out.send(reply(command, known));
        return Ok(());
    }
    let order = Order {
        cart_id: command.cart_id,
        creation: Some(Creation {
            command_id: command.command_id,
            at: now,
            answer: decide(state, command),
        }),
        cancellation: None,
    };
    if order.was_recorded() {
        state.live.insert(command.cart_id, checkout);
    }
    out.send(reply(command, &order));
    state.orders.put(checkout, order);
    Ok(())
}

fn decide(state: &State, command: &CreateOrder) -> Answer {
    if !makes_sense(command) {
        return Answer::Rejected(OrderRejectReason::Invalid);
    }
    match state.live.get(&command.cart_id) {
        // Another instance has just recorded this very order: writing it again fails,
        // and the batch is then repeated with that order among its rows.
        Some(live) if *live == command.checkout_id => {}
        Some(_) => return Answer::Rejected(OrderRejectReason::AlreadyOrdered),
        None => {}
    }
    Answer::New(Content {
        customer_id: command.customer_id,
        total: command.total,
        currency: command.currency.clone(),
        payment_authorization_id: command.payment_authorization_id,
        items: command.items.clone(),
    })
}

/// Whether the command's content can be an order. The total is what the customer pays:
/// discounts may set it apart from the sum of the lines.
fn makes_sense(command: &CreateOrder) -> bool {
    let lines_make_sense = command.items.iter().all(|line| {
        let id = &line.product_id;
        // Bytes first: a long id is not worth counting through.
        let short =
            id.len() <= 4 * MAX_PRODUCT_ID_CHARS && id.chars().count() <= MAX_PRODUCT_ID_CHARS;
        let printable = !id.trim().is_empty() && !id.chars().any(char::is_control);
        short && printable && line.quantity >= 1 && line.unit_price >= 0
    });
    let sum = command.items.iter().try_fold(0_i64, |sum, line| {
        let price = line.unit_price.checked_mul(i64::from(line.quantity))?;
        sum.checked_add(price)
    });
    let currency = command.currency.as_bytes();
    !command.items.is_empty()
        && lines_make_sense
        && sum.is_some()
        && command.total >= 0
        && currency.len() == 3
        && currency.iter().all(u8::is_ascii_uppercase)
}

/// The reply to a creation by what is known of its checkout. The same reply type has the
/// same content whenever it is given, since consumers tell repeats by its id.
fn reply(command: &CreateOrder, known: &Order) -> Message {
    let rejected = |reason, rejected_at| {
        OrderRejected {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            reason,
            rejected_at,
        }
        .into()
    };
    match (&known.creation, &known.cancellation) {
        (
            Some(Creation {
                at,
                answer: Answer::Rejected(reason),
                ..
            }),
            _,
        ) => rejected(*reason, *at),
        // It stands no more, or was refused because the cancellation came first.
        (_, Some(cancellation)) => rejected(OrderRejectReason::Cancelled, cancellation.at),
        (Some(creation), None) => OrderRecorded {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            order_id: ids::order_id(command.checkout_id),
            recorded_at: creation.at,
        }
        .into(),
        // The table's checks allow no row without both.
        (None, None) => rejected(OrderRejectReason::Unknown, Timestamp::UNIX_EPOCH),
    }
}
