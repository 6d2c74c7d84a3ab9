//! Stories: inputs in, messages and calls out, without a database.

mod batches;
mod commands;
mod contradictions;
mod model;
mod trouble;

use contracts::TraceContext;
use contracts::ids::EventId;
use contracts::ids::{self, CartId, CustomerId};
use contracts::messages::{
    AuthorizationVoided, AuthorizePayment, CheckoutFailed, DeclineReason, FailureReason,
    PaymentAuthorized, PaymentDeclined, VoidAuthorization, VoidReason,
};
use jiff::SignedDuration;

use super::*;
use crate::authorization::State;
use crate::gateway::simulated::Simulated;

const RETRY: Retry = Retry {
    first: Duration::from_millis(500),
    max: Duration::from_secs(30),
    overdue: Duration::from_secs(2),
};

fn uuid<T: GenericUuid>(n: u128) -> T {
    T::from_untyped_uuid(Uuid::from_u128(n))
}

fn checkout() -> CheckoutId {
    uuid(0xc0)
}

fn cart() -> CartId {
    uuid(0xca)
}

fn authorize() -> AuthorizePayment {
    AuthorizePayment {
        command_id: ids::command_id(checkout(), RecordType::AuthorizePayment),
        checkout_id: checkout(),
        cart_id: cart(),
        customer_id: Some(uuid::<CustomerId>(0xc5)),
        amount: 1_999,
        currency: "EUR".to_owned(),
    }
}

fn void() -> VoidAuthorization {
    VoidAuthorization {
        command_id: ids::command_id(checkout(), RecordType::VoidAuthorization),
        checkout_id: checkout(),
        cart_id: cart(),
        authorization_id: None,
        reason: VoidReason::CheckoutFailed,
    }
}

fn placed() -> Outcome {
    Outcome::Authorize(Ok(Hold::Placed {
        reference: "hold_1".to_owned(),
    }))
}

fn refused(reason: DeclineReason) -> Outcome {
    Outcome::Authorize(Ok(Hold::Refused { reason }))
}

fn given_up() -> Outcome {
    Outcome::Void(Ok(()))
}

fn trouble() -> Unsettled {
    Unsettled::new(Cause::Failed, "out of order")
}

/// One partition of the service: a table in memory, a clock, and what came out.
struct Story {
    payments: Payments,
    state: Authorizations,
    now: Timestamp,
    partition: i32,
    messages: Vec<Message>,
    calls: Vec<Request>,
}

impl Story {
    fn new() -> Self {
        Self {
            payments: Payments::new(
                Arc::new(Simulated::default()),
                Duration::from_secs(1),
                RETRY,
            ),
            state: Authorizations::default(),
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            partition: 2,
            messages: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// A story in which the money is held.
    fn authorized() -> Self {
        let mut story = Self::new();
        story.tell(authorize()).unwrap();
        story.answer(placed());
        story.forget();
        story
    }

    fn input(&mut self, body: Body<Answer>) -> Result<(), Poison> {
        let input = Input {
            offset: None,
            home: Home {
                topic: Topic::PaymentsCommands,
                partition: self.partition,
            },
            now: self.now,
            trace: TraceContext::new_root(),
            body,
        };
        let mut out = Outbox::default();
        let before = self.try_row().cloned();
        let result = self.payments.handle(&mut self.state, &input, &mut out);
        if result.is_err() {
            assert_eq!(self.try_row().cloned(), before, "a refusal changed the row");
            assert!(out.messages().is_empty() && out.calls().is_empty());
        }
        if let Some(row) = self.try_row() {
            let waits = matches!(row.state, State::Requested | State::Voiding);
            assert_eq!(row.wake_at.is_some(), waits, "{row:?}");
        }
        for (home, call) in out.calls() {
            assert_eq!(*home, input.home, "an answer goes where the call was made");
            assert_eq!(self.row().home, input.home, "the timer goes there too");
            self.calls.push(call.request.clone());
        }
        self.messages.extend(out.messages().iter().cloned());
        self.now += SignedDuration::from_millis(7);
        result
    }

    fn tell(&mut self, message: impl Into<Message>) -> Result<(), Poison> {
        self.input(Body::Message(message.into()))
    }

    fn answer(&mut self, outcome: Outcome) {
        self.input(Body::Answer(Answer {
            checkout_id: checkout(),
            outcome,
        }))
        .unwrap();
    }

    fn timer(&mut self) {
        self.input(Body::Timer(checkout().into_untyped_uuid()))
            .unwrap();
    }

    /// Lets the time pass until the row's timer is due, and fires it.
    fn sleep(&mut self) {
        self.now = self.row().wake_at.unwrap();
        self.timer();
    }

    fn forget(&mut self) {
        self.messages.clear();
        self.calls.clear();
    }

    fn try_row(&self) -> Option<&Authorization> {
        self.state.0.get(&checkout())
    }

    fn row(&self) -> &Authorization {
        self.try_row().unwrap()
    }

    fn is(&self, state: State) {
        assert_eq!(self.row().state, state);
    }

    /// Nothing came out since the last look.
    fn is_silent(&self) {
        assert_eq!((&*self.messages, &*self.calls), (&[][..], &[][..]));
    }

    fn said(&mut self) -> Message {
        assert_eq!(self.messages.len(), 1, "{:?}", self.messages);
        self.messages.remove(0)
    }

    fn said_declined(&mut self, reason: DeclineReason) -> PaymentDeclined {
        match self.said() {
            Message::PaymentDeclined(declined) => {
                assert_eq!(declined.reason, reason);
                assert_eq!(declined.command_id, authorize().command_id);
                declined
            }
            other => panic!("{other:?}"),
        }
    }

    fn said_authorized(&mut self) -> PaymentAuthorized {
        match self.said() {
            Message::PaymentAuthorized(authorized) => authorized,
            other => panic!("{other:?}"),
        }
    }

    fn said_voided(&mut self) -> AuthorizationVoided {
        match self.said() {
            Message::AuthorizationVoided(voided) => {
                assert_eq!(voided.command_id, void().command_id);
                voided
            }
            other => panic!("{other:?}"),
        }
    }

    fn asked(&mut self) -> Request {
        assert_eq!(self.calls.len(), 1, "{:?}", self.calls);
        self.calls.remove(0)
    }
}
