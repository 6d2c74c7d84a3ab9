//! From messages and timers to transitions of sagas.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

use contracts::ids::{CartId, GenericUuid};
use contracts::{Message, Poison, RecordType, Topic};
use flow::{Rules, Step, next};
use jiff::Timestamp;
use runtime::{Body, Handler, Home, Input, Observations, Outbox, RowVersion, Sql};
use service::RowCache;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::brake::Brake;
use crate::history::{self, Entry};
use crate::state::{Beginning, Cause, State};
use crate::{state, store};

/// Sagas of carts with more lines are read each time: how many are kept is limited by
/// their number.
const MAX_KEPT_LINES: usize = 50;

/// What is sent beside the commands of the steps.
const OWN: [RecordType; 5] = [
    RecordType::OrderCreated,
    RecordType::CheckoutFailed,
    RecordType::CheckoutRejected,
    RecordType::SagaSnapshot,
    RecordType::SagaStuck,
];

/// The commands of the steps, and [`OWN`].
const PRODUCES: [RecordType; 2 * Step::ALL.len() + OWN.len()] = {
    let mut records = [RecordType::SagaSnapshot; 2 * Step::ALL.len() + OWN.len()];
    let mut at = 0;
    while at < Step::ALL.len() {
        let definition = Step::ALL[at].definition();
        records[2 * at] = definition.command.record;
        records[2 * at + 1] = definition.compensation.record;
        at += 1;
    }
    while at < Step::ALL.len() + OWN.len() {
        records[at + Step::ALL.len()] = OWN[at - Step::ALL.len()];
        at += 1;
    }
    records
};

/// Carts, the replies of the steps, operators' inputs; and how many topics that are, for
/// steps of one participant share theirs.
const CONSUMES: ([Topic; Step::ALL.len() + 2], usize) = {
    let mut topics = [Topic::ShoppingCheckouts; Step::ALL.len() + 2];
    let mut len = 1;
    let mut step = 0;
    while step < Step::ALL.len() {
        let topic = Step::ALL[step].definition().success.record.topic();
        let mut known = 0;
        while known < len && topics[known] as usize != topic as usize {
            known += 1;
        }
        if known == len {
            topics[len] = topic;
            len += 1;
        }
        step += 1;
    }
    topics[len] = Topic::OrderingOperations;
    (topics, len + 1)
};

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
    type Cache = RowCache<CartId, state::Row>;
    type Call = Infallible;
    type Answer = Infallible;

    const NAME: &'static str = "orchestrator";
    const CONSUMES: &'static [Topic] = CONSUMES.0.split_at(CONSUMES.1).0;
    const PRODUCES: &'static [RecordType] = &PRODUCES;
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

    fn recall(&self, batch: &[Input<Infallible>], cache: &mut Self::Cache) -> Option<State> {
        let mut state = State::default();
        for input in batch {
            let Some(cart) = cart_of(&input.body) else {
                continue;
            };
            if let Body::Message(Message::CartCheckedOut(_)) = &input.body {
                // Its insert finds a cart, or another cart's event id, that is known.
                state.sagas.recall_or_presume_new(&cart, cache);
            } else if !state.sagas.recall(&cart, cache) {
                return None;
            }
        }
        Some(state)
    }

    fn is_certain(&self, state: &State) -> bool {
        state.sagas.is_certain()
    }

    fn keep(&self, state: &State, cache: &mut Self::Cache, written: &RowVersion) {
        // What has ended rests.
        state.sagas.keep(cache, written, |row| {
            let goes_on = row.wake_at.is_some() && row.saga.cart.items.len() <= MAX_KEPT_LINES;
            goes_on.then(|| state::Row {
                began: None,
                ..row.clone()
            })
        });
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
            state.observations.add_unused();
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
        state.observations.add(cart, &transition, input.trace);
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

    fn observations(&self, state: &mut State) -> Option<Observations> {
        let observations = std::mem::take(&mut state.observations);
        Some(Box::new(move || observations.tell()))
    }

    fn writes(&self, state: State) -> Vec<Sql> {
        let mut writes = store::writes(state.sagas);
        writes.extend(history::insert(state.history));
        writes
    }

    fn newest_of(&self, carts: Vec<Uuid>) -> Option<Sql> {
        Some(store::progress(carts))
    }

    fn newest(&self, row: &Row) -> Result<Option<(Uuid, Uuid)>, tokio_postgres::Error> {
        store::newest_snapshot(row)
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
