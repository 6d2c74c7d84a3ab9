//! What each command and timer does to the rows of its batch.

mod release;
mod reserve;
mod set_stock;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::convert::Infallible;

use contracts::ids::{CheckoutId, CommandId, GenericUuid};
use contracts::{ErrorCode, Message, Poison, RecordType, Topic, ids, messages};
use jiff::{SignedDuration, Timestamp};
use runtime::{Body, Handler, Home, Input, Outbox, RowVersion, Sql};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::state::{Answer, Kept, Reservation, Reserve, State};
use crate::store;

/// Most characters of a product id.
const MAX_PRODUCT_ID_CHARS: usize = 64;

/// Reservations of more lines are read each time: how many are kept is limited by their
/// number.
const MAX_KEPT_LINES: usize = 50;

/// The inventory service.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// How long stock is promised to a checkout; without end when absent.
    pub(crate) reservation_ttl: Option<SignedDuration>,
}

type Out = Outbox<Infallible>;

impl Handler for Inventory {
    type State = State;
    type Cache = Kept;
    type Call = Infallible;
    type Answer = Infallible;

    const NAME: &'static str = "inventory";
    const CONSUMES: &'static [Topic] = &[Topic::InventoryCommands];
    const PRODUCES: &'static [RecordType] = &[
        RecordType::InventoryReserved,
        RecordType::InventoryUnavailable,
        RecordType::InventoryReleased,
        RecordType::ReservationExpired,
        RecordType::StockSet,
    ];
    const STATEMENTS: &'static [&'static str] = store::STATEMENTS;

    fn reads(&self, batch: &[Input<Infallible>]) -> Vec<Sql> {
        let mut checkouts = BTreeSet::new();
        let mut products = BTreeSet::new();
        for input in batch {
            match &input.body {
                Body::Message(Message::ReserveInventory(m)) => {
                    checkouts.insert(m.checkout_id.into_untyped_uuid());
                    products.extend(m.items.iter().map(|item| item.product_id.as_str()));
                }
                Body::Message(Message::ReleaseInventory(m)) => {
                    checkouts.insert(m.checkout_id.into_untyped_uuid());
                }
                Body::Message(Message::SetStock(m)) => {
                    products.insert(m.product_id.as_str());
                }
                Body::Timer(checkout) => {
                    checkouts.insert(*checkout);
                }
                Body::Message(_) => {}
                Body::Answer(never) => match *never {},
            }
        }
        // Only ids that the table can hold are looked up: the others are refused, and
        // must not break the look-up of their batch.
        products.retain(|id| check_product_id(id).is_ok());
        store::reads(
            checkouts.into_iter().collect(),
            products.into_iter().map(str::to_owned).collect(),
        )
    }

    fn state(
        &self,
        _batch: &[Input<Infallible>],
        rows: Vec<Vec<Row>>,
    ) -> Result<State, tokio_postgres::Error> {
        store::state(&rows)
    }

    fn recall(&self, batch: &[Input<Infallible>], kept: &mut Kept) -> Option<State> {
        let mut state = State::default();
        for input in batch {
            let all = match &input.body {
                Body::Message(Message::ReserveInventory(m)) => {
                    let reservations = &mut kept.reservations;
                    state
                        .reservations
                        .recall_or_presume_new(&m.checkout_id, reservations);
                    let mut products = m.items.iter().map(|item| &item.product_id);
                    products.all(|product| state.stock.recall(product, &mut kept.stock))
                }
                Body::Message(Message::ReleaseInventory(m)) => state.recall(m.checkout_id, kept),
                Body::Message(Message::SetStock(m)) => {
                    state.stock.recall(&m.product_id, &mut kept.stock)
                }
                Body::Timer(checkout) => {
                    state.recall(CheckoutId::from_untyped_uuid(*checkout), kept)
                }
                Body::Message(_) => true,
                Body::Answer(never) => match *never {},
            };
            if !all {
                return None;
            }
        }
        Some(state)
    }

    fn is_certain(&self, state: &State) -> bool {
        state.reservations.is_certain()
    }

    fn keep(&self, state: &State, kept: &mut Kept, written: &RowVersion) {
        // What holds nothing is hardly asked for again.
        let reservations = &mut kept.reservations;
        state.reservations.keep(reservations, written, |row| {
            let holds = row.state() == "RESERVED" && row.reserved_items().len() <= MAX_KEPT_LINES;
            holds.then(|| row.clone())
        });
        state.stock.keep(&mut kept.stock, written, |row| Some(*row));
    }

    fn handle(
        &self,
        state: &mut State,
        input: &Input<Infallible>,
        out: &mut Out,
    ) -> Result<(), Poison> {
        // The contracts carry milliseconds: what is stored must read back the same.
        let now = whole_millis(input.now);
        match &input.body {
            Body::Message(Message::ReserveInventory(command)) => {
                self.reserve(state, command, input, now, out)
            }
            Body::Message(Message::ReleaseInventory(command)) => {
                release::release(state, command, input, now, out)
            }
            Body::Message(Message::SetStock(command)) => {
                set_stock::set_stock(state, command, now, out)
            }
            Body::Message(other) => Err(Poison::new(
                ErrorCode::WrongRecordForTopic,
                format!("inventory does not handle {}", other.record_type()),
            )),
            Body::Timer(checkout) => {
                expire(state, CheckoutId::from_untyped_uuid(*checkout), now, out);
                Ok(())
            }
            Body::Answer(never) => match *never {},
        }
    }

    fn writes(&self, state: State) -> Vec<Sql> {
        store::writes(state)
    }

    fn due(&self, homes: &[Home], now: Timestamp, limit: i64) -> Option<Sql> {
        Some(store::due(homes, now, limit))
    }

    async fn call(&self, call: Infallible) -> Infallible {
        match call {}
    }

    fn call_key(call: &Infallible) -> Uuid {
        match *call {}
    }
}

/// The promised time of a reservation is over: publishes so, once. The stock stays
/// held; the saga decides what follows.
fn expire(state: &mut State, checkout: CheckoutId, now: Timestamp, out: &mut Out) {
    let Some(reservation) = state.reservations.get_mut(&checkout) else {
        return;
    };
    reservation.wake_at = None;
    if reservation.release.is_some() {
        return;
    }
    let Some(Reserve {
        answer: Answer::Reserved { expires_at, .. },
        ..
    }) = &reservation.reserve
    else {
        return;
    };
    match *expires_at {
        Some(at) if at <= now => out.send(messages::ReservationExpired {
            event_id: ids::event_id(checkout, RecordType::ReservationExpired),
            checkout_id: checkout,
            cart_id: reservation.cart_id,
            reservation_id: ids::reservation_id(checkout),
            expired_at: at,
        }),
        not_yet => reservation.wake_at = not_yet,
    }
}

/// Refuses a command that belongs to another cart than the checkout does.
fn check_cart(known: &Reservation, cart: ids::CartId) -> Result<(), Poison> {
    if known.cart_id == cart {
        return Ok(());
    }
    Err(violated(format!(
        "the checkout belongs to cart {}, the command says cart {cart}",
        known.cart_id
    )))
}

/// Refuses a second command for what another one has done.
fn check_command(known: CommandId, command: CommandId) -> Result<(), Poison> {
    if known == command {
        return Ok(());
    }
    Err(violated(format!(
        "command {known} did this for the checkout already; {command} is another one"
    )))
}

fn check_product_id(id: &str) -> Result<(), Poison> {
    // Bytes first: a long id is not worth counting through.
    let short = id.len() <= 4 * MAX_PRODUCT_ID_CHARS && id.chars().count() <= MAX_PRODUCT_ID_CHARS;
    if short && !id.trim().is_empty() && !id.chars().any(char::is_control) {
        return Ok(());
    }
    Err(violated(format!(
        "productId must be 1 to {MAX_PRODUCT_ID_CHARS} printable characters"
    )))
}

fn violated(detail: String) -> Poison {
    Poison::new(ErrorCode::ContractViolated, detail)
}

fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
