//! From messages and timers to transitions of sagas.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use contracts::ids::{CartId, GenericUuid};
use contracts::{Message, Poison, RecordType, Topic};
use flow::{Rules, next};
use jiff::Timestamp;
use runtime::{Body, Handler, Home, Input, Outbox, Sql};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::brake::Brake;
use crate::history::{self, Entry};
use crate::state::{Beginning, Cause, State};
use crate::{observe, store};

/// The orchestrator.
#[derive(Debug)]
pub(crate) struct Orchestrator {
    rules: Rules,
    brake: Arc<Brake>,
}

impl Orchestrator {
    pub(crate) fn new(rules: Rules, brake: Arc<Brake>) -> Self {
        Self { rules, brake }
    }
}

impl Handler for Orchestrator {
    type State = State;
    type Call = Infallible;
    type Answer = Infallible;

    const NAME: &'static str = "orchestrator";
    const CONSUMES: &'static [Topic] = &[
        Topic::ShoppingCheckouts,
        Topic::InventoryEvents,
        Topic::PaymentsOutcomes,
        Topic::OrderingReplies,
        Topic::OrderingOperations,
    ];
    const PRODUCES: &'static [RecordType] = &[
        RecordType::ReserveInventory,
        RecordType::ReleaseInventory,
        RecordType::AuthorizePayment,
        RecordType::VoidAuthorization,
        RecordType::CreateOrder,
        RecordType::CancelOrder,
        RecordType::OrderCreated,
        RecordType::CheckoutFailed,
        RecordType::CheckoutRejected,
        RecordType::SagaSnapshot,
        RecordType::SagaStuck,
    ];
    const STATEMENTS: &'static [&'static str] = store::STATEMENTS;

    fn reads(&self, batch: &[Input<Infallible>]) -> Vec<Sql> {
        let carts: BTreeSet<Uuid> = batch
            .iter()
            .filter_map(|input| cart_of(&input.body))
            .map(GenericUuid::into_untyped_uuid)
            .collect();
        let checkouts: BTreeSet<Uuid> = batch
            .iter()
            .filter_map(|input| match &input.body {
                Body::Message(Message::CartCheckedOut(request)) => {
                    Some(request.event_id.into_untyped_uuid())
                }
                _ => None,
            })
            .collect();
        let mut reads = vec![store::lock(carts.into_iter().collect())];
        if !checkouts.is_empty() {
            reads.push(store::owners(checkouts.into_iter().collect()));
        }
        reads
    }

    fn state(
        &self,
        _batch: &[Input<Infallible>],
        rows: Vec<Vec<Row>>,
    ) -> Result<State, tokio_postgres::Error> {
        store::state(rows)
    }

    fn handle(
        &self,
        state: &mut State,
        input: &Input<Infallible>,
        out: &mut Outbox<Infallible>,
    ) -> Result<(), Poison> {
        let (cause, happening) = match &input.body {
            Body::Message(message) => {
                let beginning = Beginning {
                    home: input.home,
                    trace: input.trace,
                };
                (Cause::Record(beginning), flow::Input::of(message))
            }
            Body::Timer(_) => (Cause::Timer, Some(flow::Input::DeadlinePassed)),
            Body::Answer(never) => match *never {},
        };
        let (Some(cart), Some(happening)) = (cart_of(&input.body), happening) else {
            // Such as StockSet, which answers whoever seeds the stock.
            state.count_unused();
            return Ok(());
        };
        if let flow::Input::CartCheckedOut(request) = &happening {
            state.claim(request)?;
        }
        let saga = state.sagas.get(&cart).map(|row| row.saga.clone());
        let mut transition = next(
            saga,
            &happening,
            input.now,
            &self.rules,
            self.brake.brakes(),
        );
        state.count(&transition.outcome);
        observe::log(cart, &transition, &input.trace);
        state.history.extend(Entry::of(input, &transition));
        for message in transition.messages.drain(..) {
            self.brake.sent(message.record_type());
            out.send(message);
        }
        if let Some(saga) = transition.saga {
            state.keep(saga, transition.changed, cause);
        }
        Ok(())
    }

    fn writes(&self, state: State) -> Vec<Sql> {
        observe::count(state.tally);
        let mut writes = store::writes(state.sagas);
        writes.extend(history::insert(state.history));
        writes
    }

    fn due(&self, homes: &[Home], now: Timestamp, limit: i64) -> Option<Sql> {
        let latest = now
            .checked_add(self.rules.longest_wait())
            .unwrap_or(Timestamp::MAX);
        Some(store::due(homes, now, latest, limit))
    }

    async fn call(&self, call: Infallible) -> Infallible {
        match call {}
    }

    fn call_key(call: &Infallible) -> Uuid {
        match *call {}
    }
}

/// The cart that an input is about; `None` for what concerns no cart.
fn cart_of(body: &Body<Infallible>) -> Option<CartId> {
    match body {
        Body::Message(message) => Message::cart_id(message),
        Body::Timer(cart) => Some(CartId::from_untyped_uuid(*cart)),
        Body::Answer(never) => match *never {},
    }
}
