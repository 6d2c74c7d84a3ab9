//! Messages for the tests, and a cart's story told step by step.

use contracts::{
    Message, RecordType,
    ids::{self, CartId, CheckoutId, CommandId, CustomerId, EventId, GenericUuid, OperationId},
    messages::*,
};
use flow::{Brakes, Input, Outcome, Rules, Saga, State, Step, Transition, next};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::reply;

pub(crate) fn start() -> Timestamp {
    Timestamp::from_second(1_750_000_000).unwrap()
}

pub(crate) fn cart_id() -> CartId {
    CartId::from_untyped_uuid(Uuid::from_u128(0xca27))
}

pub(crate) fn customer_id() -> CustomerId {
    CustomerId::from_untyped_uuid(Uuid::from_u128(0xc057))
}

/// The `n`th request of the cart.
pub(crate) fn checkout(n: u128) -> CheckoutId {
    CheckoutId::from_untyped_uuid(Uuid::from_u128(0x1000 + n))
}

/// A sensible cart of two products, one of them on two lines.
pub(crate) fn request(n: u128) -> CartCheckedOut {
    let item = |product_id: &str, quantity, unit_price| CartItem {
        product_id: product_id.to_owned(),
        quantity,
        unit_price,
    };
    CartCheckedOut {
        event_id: EventId::from_untyped_uuid(checkout(n).into_untyped_uuid()),
        occurred_at: start(),
        cart_id: cart_id(),
        customer_id: customer_id(),
        items: vec![
            item("tea", 2, 450),
            item("cup", 1, 1_200),
            item("tea", 1, 400),
        ],
        subtotal: Some(2_500),
        discount: Some(500),
        total: 2_000,
        currency: "EUR".to_owned(),
    }
}

/// What a participant answers to a command of this checkout. `record` says what;
/// the command's id is the one that such an answer belongs to.
pub(crate) fn answer(record: RecordType, checkout_id: CheckoutId) -> Message {
    let command = reply::answered_by(record);
    answer_to(record, checkout_id, ids::command_id(checkout_id, command))
}

/// As [`answer`], to any command id.
pub(crate) fn answer_to(
    record: RecordType,
    checkout_id: CheckoutId,
    command_id: CommandId,
) -> Message {
    let mut message = reply::by_schema(record, command_id, checkout_id, cart_id());
    if let Message::InventoryUnavailable(reply) = &mut message {
        reply.unavailable_items = vec![UnavailableItem {
            product_id: "tea".to_owned(),
            requested: 3,
            available: 1,
        }];
    }
    message
}

pub(crate) fn expiry(checkout_id: CheckoutId) -> Message {
    ReservationExpired {
        event_id: ids::event_id(checkout_id, RecordType::ReservationExpired),
        checkout_id,
        cart_id: cart_id(),
        reservation_id: ids::reservation_id(checkout_id),
        expired_at: start(),
    }
    .into()
}

/// A complete input of an operator, about whatever step the saga is at.
pub(crate) fn operation(action: OperationAction) -> SagaOperation {
    SagaOperation {
        operation_id: OperationId::from_untyped_uuid(Uuid::from_u128(0x0b)),
        cart_id: cart_id(),
        checkout_id: None,
        action,
        step: None,
        evidence: None,
        operator: "the night shift".to_owned(),
        reason: "the test asks for it".to_owned(),
        requested_at: start(),
    }
}

/// A cart's story: what happens, and what is sent on it.
pub(crate) struct Story {
    pub(crate) saga: Option<Saga>,
    pub(crate) now: Timestamp,
    pub(crate) rules: Rules,
    pub(crate) brakes: Brakes,
    pub(crate) outcome: Outcome,
    /// What the last thing that happened had sent.
    pub(crate) sent: Vec<Message>,
    /// All that was ever sent.
    pub(crate) published: Vec<Message>,
    /// The attempt whose answers are told next.
    pub(crate) attempt: u128,
}

/// The names of the records.
pub(crate) fn names(messages: &[Message]) -> Vec<&'static str> {
    messages
        .iter()
        .map(|message| message.record_type().name())
        .collect()
}

impl Story {
    pub(crate) fn new() -> Self {
        Self::with(Rules::default())
    }

    pub(crate) fn with(rules: Rules) -> Self {
        Self {
            saga: None,
            now: start(),
            rules,
            brakes: Brakes::OPEN,
            outcome: Outcome::Started,
            sent: Vec::new(),
            published: Vec::new(),
            attempt: 1,
        }
    }

    pub(crate) fn happens(&mut self, input: &Input<'_>) -> Vec<&'static str> {
        let before = self.saga.clone();
        let Transition {
            saga,
            changed,
            messages,
            outcome,
        } = next(self.saga.take(), input, self.now, &self.rules, self.brakes);
        assert!(
            changed || saga == before,
            "{outcome:?} changed the saga silently"
        );
        if let Some(saga) = &saga {
            let stored = serde_json::to_string(saga).unwrap();
            let read: Saga = serde_json::from_str(&stored).unwrap();
            assert_eq!(&read, saga, "a stored saga is read as it was");
        }
        self.saga = saga;
        self.outcome = outcome;
        self.published.extend(messages.iter().cloned());
        self.sent = messages;
        names(&self.sent)
    }

    pub(crate) fn message(&mut self, message: impl Into<Message>) -> Vec<&'static str> {
        let message = message.into();
        let input = Input::of(&message).expect("the flow reads this message");
        self.happens(&input)
    }

    pub(crate) fn checked_out(&mut self, n: u128) -> Vec<&'static str> {
        self.message(request(n))
    }

    pub(crate) fn answered(&mut self, record: RecordType) -> Vec<&'static str> {
        self.message(answer(record, checkout(self.attempt)))
    }

    /// Every step succeeds up to this one, whose command is then out.
    pub(crate) fn until(&mut self, step: Step) -> Vec<&'static str> {
        let mut sent = names(&self.sent);
        while let Some(at) = self.state().step().filter(|at| *at < step) {
            sent = self.answered(at.definition().success.record);
        }
        assert_eq!(self.state().step(), Some(step));
        sent
    }

    /// Every step is undone down to this one, whose compensation is then out.
    pub(crate) fn back_to(&mut self, step: Step) -> Vec<&'static str> {
        let mut sent = names(&self.sent);
        while let Some(at) = self.state().step().filter(|at| *at > step) {
            sent = self.answered(at.definition().compensation.acknowledged_by);
        }
        assert_eq!(self.state().step(), Some(step));
        sent
    }

    pub(crate) fn expired(&mut self) -> Vec<&'static str> {
        self.message(expiry(checkout(self.attempt)))
    }

    pub(crate) fn operated(&mut self, action: OperationAction) -> Vec<&'static str> {
        self.message(operation(action))
    }

    /// Nothing is heard until the deadline.
    pub(crate) fn silence(&mut self) -> Vec<&'static str> {
        let due = self.saga().due_at().expect("the saga waits for something");
        self.now = self.now.max(due);
        self.happens(&Input::DeadlinePassed)
    }

    /// A short while.
    pub(crate) fn moment(&mut self) {
        self.now += SignedDuration::from_millis(7);
    }

    pub(crate) fn saga(&self) -> &Saga {
        self.saga.as_ref().expect("there is a saga")
    }

    pub(crate) fn state(&self) -> State {
        self.saga().progress.state
    }

    pub(crate) fn kind(&self) -> SagaState {
        self.state().kind()
    }

    /// How often a record was sent.
    pub(crate) fn count(&self, record: RecordType) -> usize {
        self.published
            .iter()
            .filter(|message| message.record_type() == record)
            .count()
    }

    /// The last snapshot.
    pub(crate) fn snapshot(&self) -> SagaSnapshot {
        self.published
            .iter()
            .rev()
            .find_map(|message| match message {
                Message::SagaSnapshot(snapshot) => Some(snapshot.clone()),
                _ => None,
            })
            .expect("a snapshot was published")
    }
}
