//! The sagas of one batch.

use std::collections::BTreeMap;

use contracts::ids::{CartId, CheckoutId};
use contracts::messages::CartCheckedOut;
use contracts::{ErrorCode, Poison, TraceContext, ids};
use flow::Saga;
use jiff::Timestamp;
use runtime::Home;
use service::Rows;

use crate::history::Entry;
use crate::observe::Observations;

/// What a batch has read and changes.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The sagas by cart.
    pub(crate) sagas: Rows<CartId, Row>,
    /// The carts of the checkouts that this batch asks for, as far as they are
    /// known.
    pub(crate) owners: BTreeMap<CheckoutId, CartId>,
    /// What happened to them.
    pub(crate) history: Vec<Entry>,
    /// What is to be told of it.
    pub(crate) observations: Observations,
}

/// A saga and when it is to be woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) saga: Saga,
    /// Not later than the saga's deadline; `None` when it has ended.
    pub(crate) wake_at: Option<Timestamp>,
    /// How the attempt began, if it began in this batch: then the whole row is
    /// written, not only how far it is.
    pub(crate) began: Option<Beginning>,
}

/// The request that an attempt began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// The partition that it came from.
    pub(crate) home: Home,
    /// The trace that it is part of.
    pub(crate) trace: TraceContext,
}

/// What made a saga move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A record, with which an attempt may begin.
    Record(Beginning),
    /// Its timer.
    Timer,
}

impl State {
    /// Refuses a request whose event id stands for another cart's: whatever is
    /// done for a checkout is found by that id, so the two could not be told
    /// apart, and outsiders have been told how that checkout ends.
    pub(crate) fn claim(&mut self, request: &CartCheckedOut) -> Result<(), Poison> {
        let checkout = ids::checkout_id(request.event_id);
        let owner = *self.owners.entry(checkout).or_insert(request.cart_id);
        if owner == request.cart_id {
            return Ok(());
        }
        Err(Poison::new(
            ErrorCode::ContractViolated,
            format!(
                "eventId {} was used before, by cart {owner}: have the producer give every \
                 CartCheckedOut an eventId of its own, and publish this cart again with one",
                request.event_id
            ),
        ))
    }

    /// Keeps a saga after a transition, where it or its wake-up has changed.
    pub(crate) fn keep(&mut self, saga: Saga, changed: bool, cause: Cause) {
        let cart = saga.cart_id;
        let before = self.sagas.get(&cart);
        let attempt = |row: &Row| row.saga.progress.checkout_id;
        let began_now = before.map(attempt) != Some(saga.progress.checkout_id);
        let began = match cause {
            Cause::Record(beginning) if began_now => Some(beginning),
            Cause::Record(_) | Cause::Timer => before.and_then(|row| row.began),
        };
        let wake_before = before.and_then(|row| row.wake_at);
        let wake_at = match saga.due_at() {
            None => None,
            Some(due) if cause == Cause::Timer || began_now => Some(due),
            Some(due) => Some(wake_before.map_or(due, |wake| wake.min(due))),
        };
        if changed || wake_at != wake_before {
            self.sagas.put(
                cart,
                Row {
                    saga,
                    wake_at,
                    began,
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::Topic;
    use contracts::ids::{CheckoutId, CustomerId, GenericUuid};
    use flow::{Cart, Progress, State as SagaState, Step, Waiting};
    use uuid::Uuid;

    use super::*;

    const TRACE: TraceContext = TraceContext {
        trace_id: [1; 16],
        span_id: [2; 8],
        flags: 1,
    };
    const BEGINNING: Beginning = Beginning {
        home: Home {
            topic: Topic::ShoppingCheckouts,
            partition: 2,
        },
        trace: TRACE,
    };
    const ELSEWHERE: Cause = Cause::Record(Beginning {
        home: Home {
            topic: Topic::InventoryEvents,
            partition: 0,
        },
        trace: TRACE,
    });

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn saga(attempt: u128, due: Option<i64>) -> Saga {
        let state = due.map_or(SagaState::Failed, |due| {
            SagaState::InProgress(Waiting {
                step: Step::FIRST,
                tries: 1,
                since: at(0),
                due_at: at(due),
                held: false,
            })
        });
        Saga {
            cart_id: CartId::from_untyped_uuid(Uuid::from_u128(1)),
            cart: Cart {
                customer_id: CustomerId::from_untyped_uuid(Uuid::nil()),
                items: vec![],
                total: 0,
                currency: "EUR".to_owned(),
            },
            progress: Progress {
                checkout_id: CheckoutId::from_untyped_uuid(Uuid::from_u128(attempt)),
                state,
                failure: None,
                handles: BTreeMap::new(),
                seen: vec![],
                snapshots: 0,
                operator_note: None,
                started_at: at(0),
                updated_at: at(0),
            },
        }
    }

    fn row(state: &State) -> &Row {
        state
            .sagas
            .get(&CartId::from_untyped_uuid(Uuid::from_u128(1)))
            .unwrap()
    }

    #[test]
    fn the_wake_up_only_moves_earlier_until_the_timer_sets_it_or_the_saga_ends() {
        let mut state = State::default();
        state.keep(saga(7, Some(5)), true, Cause::Record(BEGINNING));
        assert_eq!(row(&state).wake_at, Some(at(5)));
        state.keep(saga(7, Some(9)), true, ELSEWHERE);
        assert_eq!(
            row(&state).wake_at,
            Some(at(5)),
            "later deadlines leave the index alone"
        );
        state.keep(saga(7, Some(3)), true, ELSEWHERE);
        assert_eq!(row(&state).wake_at, Some(at(3)));
        state.keep(saga(7, Some(9)), false, Cause::Timer);
        assert_eq!(
            row(&state).wake_at,
            Some(at(9)),
            "the timer fired early and is set anew"
        );
        state.keep(saga(7, None), true, ELSEWHERE);
        assert_eq!(row(&state).wake_at, None);
    }

    #[test]
    fn the_home_is_where_the_attempt_began() {
        let mut state = State::default();
        state.keep(saga(7, Some(5)), true, Cause::Record(BEGINNING));
        state.keep(saga(7, Some(6)), true, ELSEWHERE);
        assert_eq!(
            row(&state).began,
            Some(BEGINNING),
            "still to be inserted as a whole"
        );
        let read = |attempt| {
            let row = Row {
                saga: saga(attempt, None),
                wake_at: None,
                began: None,
            };
            State {
                sagas: [(row.saga.cart_id, row)].into_iter().collect(),
                ..State::default()
            }
        };
        let mut state = read(7);
        state.keep(saga(7, None), true, ELSEWHERE);
        assert_eq!(row(&state).began, None);
        let mut state = read(7);
        state.keep(saga(8, Some(5)), true, Cause::Record(BEGINNING));
        assert_eq!(
            row(&state).began,
            Some(BEGINNING),
            "a new attempt of the cart"
        );
        assert_eq!(row(&state).wake_at, Some(at(5)));
    }

    #[test]
    fn what_did_not_change_is_not_written() {
        let row = Row {
            saga: saga(7, Some(5)),
            wake_at: Some(at(4)),
            began: None,
        };
        let mut state = State {
            sagas: [(row.saga.cart_id, row)].into_iter().collect(),
            ..State::default()
        };
        state.keep(saga(7, Some(5)), false, ELSEWHERE);
        let written = state.sagas.into_written();
        assert_eq!((written.new.len(), written.changed.len()), (0, 0));
    }
}
