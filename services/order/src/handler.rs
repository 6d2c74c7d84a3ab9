//! What each command does to the rows of its batch.

mod cancel;
mod create;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::convert::Infallible;

use contracts::ids::{CartId, CommandId, GenericUuid};
use contracts::{ErrorCode, Message, Poison, RecordType, Topic};
use jiff::Timestamp;
use runtime::{Body, Handler, Home, Input, Outbox, Sql};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::state::{Order, State};
use crate::store;

/// The order service.
#[derive(Debug)]
pub(crate) struct Orders;

type Out = Outbox<Infallible>;

impl Handler for Orders {
    type State = State;
    type Cache = ();
    type Call = Infallible;
    type Answer = Infallible;

    const NAME: &'static str = "order";
    const CONSUMES: &'static [Topic] = &[Topic::OrderingCommands];
    const PRODUCES: &'static [RecordType] = &[
        RecordType::OrderRecorded,
        RecordType::OrderRejected,
        RecordType::OrderCancelled,
    ];
    const STATEMENTS: &'static [&'static str] = store::STATEMENTS;

    fn reads(&self, batch: &[Input<Infallible>]) -> Vec<Sql> {
        let mut checkouts = BTreeSet::new();
        let mut carts = BTreeSet::new();
        for input in batch {
            match &input.body {
                Body::Message(Message::CreateOrder(m)) => {
                    checkouts.insert(m.checkout_id.into_untyped_uuid());
                    carts.insert(m.cart_id.into_untyped_uuid());
                }
                Body::Message(Message::CancelOrder(m)) => {
                    checkouts.insert(m.checkout_id.into_untyped_uuid());
                }
                Body::Message(_) | Body::Timer(_) => {}
                Body::Answer(never) => match *never {},
            }
        }
        store::reads(checkouts.into_iter().collect(), carts.into_iter().collect())
    }

    fn state(
        &self,
        _batch: &[Input<Infallible>],
        rows: Vec<Vec<Row>>,
    ) -> Result<State, tokio_postgres::Error> {
        store::state(&rows)
    }

    /// Nothing is kept: an order is written once, and whether it is there, or another of
    /// its cart, its insert finds out.
    fn recall(&self, batch: &[Input<Infallible>], _: &mut ()) -> Option<State> {
        let mut state = State::default();
        for input in batch {
            match &input.body {
                Body::Message(Message::CreateOrder(m)) => state.orders.presume_new(m.checkout_id),
                Body::Message(Message::CancelOrder(_)) => return None,
                Body::Message(_) | Body::Timer(_) => {}
                Body::Answer(never) => match *never {},
            }
        }
        Some(state)
    }

    fn is_certain(&self, state: &State) -> bool {
        state.orders.is_certain()
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
            Body::Message(Message::CreateOrder(command)) => {
                create::create(state, command, now, out)
            }
            Body::Message(Message::CancelOrder(command)) => {
                cancel::cancel(state, command, now, out)
            }
            Body::Message(other) => Err(Poison::new(
                ErrorCode::WrongRecordForTopic,
                format!("the order service does not handle {}", other.record_type()),
            )),
            // Orders have no timers: `due` finds none.
            Body::Timer(_) => Ok(()),
            Body::Answer(never) => match *never {},
        }
    }

    fn writes(&self, state: State) -> Vec<Sql> {
        store::writes(state)
    }

    fn due(&self, _homes: &[Home], _now: Timestamp, _limit: i64) -> Option<Sql> {
        None
    }

    async fn call(&self, call: Infallible) -> Infallible {
        match call {}
    }

    fn call_key(call: &Infallible) -> Uuid {
        match *call {}
    }
}

/// Refuses a command that belongs to another cart than the checkout does.
fn check_cart(known: &Order, cart: CartId) -> Result<(), Poison> {
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

fn violated(detail: String) -> Poison {
    Poison::new(ErrorCode::ContractViolated, detail)
}

fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
