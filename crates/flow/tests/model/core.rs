//! The real core, asked through a memory: `flow::next` is a pure function, so
//! each saga that was ever reached has a number, and each transition is worked
//! out once.
//!
//! Two things are taken out of a saga, for there would be no end of states
//! otherwise: time, which stands still while every wait is of no length, so that
//! each timer may fire at any moment; and the counts of sendings and snapshots,
//! which stop counting where they no longer decide anything.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use contracts::{
    Message,
    ids::{CartId, CustomerId, EventId, GenericUuid, OperationId},
    messages::*,
};
use flow::{Brakes, Input, Pace, Rules, Saga, State, Step, Transition, next};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    message::{Checkout, Ending, Explored, Kind, Kinds, checkout_id, checkout_of},
    mutation::Mutation,
    replies::{reply, reply_of_another},
};

/// A cart of the model.
pub(crate) type Cart = usize;

/// A saga by its number, and what the model reads of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SagaRef {
    number: u16,
    /// The current attempt.
    pub(crate) checkout: Checkout,
    pub(crate) state: SagaState,
    /// The step whose answer it waits for.
    pub(crate) step: Option<Step>,
}

impl SagaRef {
    pub(crate) const fn has_ended(self) -> bool {
        self.step.is_none()
    }
}

/// What the core is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Happening {
    Request(Checkout),
    Reply(Checkout, Kind),
    Silence(Cart),
    Operator(Cart, OperationAction),
}

/// What else the core is told: how freely participants may be asked, and whether
/// the customer's patience is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Circumstances {
    pub(crate) pace: Pace,
    pub(crate) limit_passed: bool,
}

/// What it answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) saga: Option<SagaRef>,
    pub(crate) commands: [Kinds; 2],
    /// The outcomes announced: of one input there is one at most.
    pub(crate) told: Option<(Checkout, Ending)>,
}

type Question = (Option<u16>, Cart, Happening, Circumstances);

/// The core of one model.
pub(crate) struct Core {
    rules: Rules,
    /// Whether the second checkout is of the same cart.
    one_cart: bool,
    mutation: Option<Mutation>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    sagas: Vec<Saga>,
    numbers: HashMap<String, u16>,
    answers: HashMap<Question, Answer>,
    outcomes: BTreeSet<String>,
}

impl Core {
    pub(crate) fn new(one_cart: bool, tries: u32, mutation: Option<Mutation>) -> Self {
        let rules = Rules {
            tries: Some(tries),
            stuck_after_tries: 2,
            first_wait: Some(Duration::ZERO),
            max_wait: Some(Duration::ZERO),
            hold_first: Duration::ZERO,
            hold_max: Duration::ZERO,
            ..Rules::default()
        };
        Self {
            rules,
            one_cart,
            mutation,
            memory: Mutex::default(),
        }
    }

    /// The cart of a checkout.
    pub(crate) const fn cart_of(&self, checkout: Checkout) -> Cart {
        if self.one_cart { 0 } else { checkout }
    }

    /// What follows for a cart's saga.
    pub(crate) fn ask(
        &self,
        cart: Cart,
        saga: Option<SagaRef>,
        happening: Happening,
        circumstances: Circumstances,
    ) -> Answer {
        let number = saga.map(|saga| saga.number);
        let question = (number, cart, happening, circumstances);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = memory.answers.get(&question) {
            return *known;
        }
        let saga = number.map(|n| memory.sagas[usize::from(n)].clone());
        let (transition, outcomes) = self.work_out(cart, saga, happening, circumstances);
        let answer = self.keep(&mut memory, transition);
        memory.outcomes.extend(outcomes);
        memory.answers.insert(question, answer);
        answer
    }

    /// Every outcome of the core that the exploration met.
    pub(crate) fn outcomes(&self) -> BTreeSet<String> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.outcomes.clone()
    }

    /// The sagas met.
    pub(crate) fn sagas(&self) -> usize {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.sagas.len()
    }

    fn keep(&self, memory: &mut Memory, transition: Transition) -> Answer {
        let mut commands = [Kinds::default(); 2];
        let mut told = None;
        for message in &transition.messages {
            let record = message.record_type();
            // What is neither is for operators' eyes.
            if let Some(kind) = Kind::command(record) {
                let checkout = checkout_of(message.checkout_id().unwrap());
                assert_eq!(message.command_id(), Some(kind.command_id(checkout)));
                commands[checkout].add(kind);
            } else if let Some(ending) = Ending::of(record) {
                let checkout = checkout_of(message.checkout_id().unwrap());
                let before = told.replace((checkout, ending));
                assert_eq!(before, None, "one input, one outcome");
            }
        }
        let saga = transition.saga.map(|saga| {
            let saga = self.without_counts(saga);
            let text = serde_json::to_string(&saga).unwrap();
            let free = u16::try_from(memory.sagas.len()).expect("the sagas are few");
            let number = *memory.numbers.entry(text).or_insert(free);
            let progress = &saga.progress;
            let kept = SagaRef {
                number,
                checkout: checkout_of(progress.checkout_id),
                state: progress.state.kind(),
                step: progress.state.waiting().map(|waiting| waiting.step),
            };
            if number == free {
                memory.sagas.push(saga);
            }
            kept
        });
        Answer {
            saga,
            commands,
            told,
        }
    }

    fn without_counts(&self, mut saga: Saga) -> Saga {
        let most = self.rules.stuck_after_tries + 1;
        match &mut saga.progress.state {
            State::InProgress(waiting)
            | State::InDoubt(waiting)
            | State::Compensating(waiting)
            | State::Stuck(waiting) => waiting.tries = waiting.tries.min(most),
            State::Completed | State::Failed | State::Abandoned { .. } => {}
        }
        saga.progress.snapshots = saga.progress.snapshots.min(1);
        saga
    }

    /// The core's transition, with the guard that the mutation takes away
    /// defeated from outside.
    fn work_out(
        &self,
        cart: Cart,
        saga: Option<Saga>,
        happening: Happening,
        circumstances: Circumstances,
    ) -> (Transition, Vec<String>) {
        let happening = match self.mutation {
            Some(mutation) => mutation.turn(happening),
            None => happening,
        };
        let message = self.message(cart, saga.as_ref(), happening);
        let mut input = match &message {
            None => Input::DeadlinePassed,
            Some(message) => Input::of(message).expect("the flow reads this message"),
        };
        let mut before = saga;
        if let Some(mutation) = self.mutation {
            mutation.blind(&mut before, &mut input);
        }
        let mut transition = self.next(before.clone(), &input, circumstances);
        let outcomes = vec![format!("{:?}", transition.outcome)];
        if let Some(mutation) = self.mutation {
            if let Some(forged) = mutation.instead(&transition.outcome) {
                transition = self.forge(before, forged);
            }
            if let Some(forged) = mutation.on_top(&transition.messages) {
                let mut messages = std::mem::take(&mut transition.messages);
                transition = self.forge(transition.saga, forged);
                messages.append(&mut transition.messages);
                transition.messages = messages;
            }
            for message in &mut transition.messages {
                mutation.replace(message);
            }
        }
        (transition, outcomes)
    }

    /// The transition on an answer that nobody gave.
    fn forge(&self, saga: Option<Saga>, forged: Kind) -> Transition {
        let current = saga.as_ref().expect("there is a saga");
        let checkout = checkout_of(current.progress.checkout_id);
        let message = reply(self.cart_of(checkout), checkout, forged);
        let input = Input::of(&message).expect("it is an answer");
        self.next(saga, &input, Circumstances::default())
    }

    fn next(
        &self,
        saga: Option<Saga>,
        input: &Input<'_>,
        circumstances: Circumstances,
    ) -> Transition {
        let brakes = Step::ALL.iter().fold(Brakes::OPEN, |brakes, step| {
            brakes.with(*step, circumstances.pace)
        });
        let rules = Rules {
            checkout_limit: match circumstances.limit_passed {
                true => Duration::ZERO,
                false => self.rules.checkout_limit,
            },
            ..self.rules.clone()
        };
        let mut transition = next(saga, input, now(), &rules, brakes);
        while let Some(message) = further_answer(&transition) {
            let input = Input::of(&message).expect("it is an answer");
            let mut follows = next(transition.saga.take(), &input, now(), &rules, brakes);
            let mut messages = std::mem::take(&mut transition.messages);
            messages.retain(|message| step_of(message).is_none_or(is_explored));
            messages.append(&mut follows.messages);
            transition = Transition {
                messages,
                outcome: transition.outcome,
                ..follows
            };
        }
        transition
    }

    fn message(&self, cart: Cart, saga: Option<&Saga>, happening: Happening) -> Option<Message> {
        match happening {
            Happening::Request(checkout) => Some(request(cart, checkout).into()),
            Happening::Reply(checkout, kind) => Some(reply(cart, checkout, kind)),
            Happening::Operator(cart, action) => {
                let step = saga.and_then(|saga| saga.progress.state.step());
                Some(operation(cart, step, action).into())
            }
            Happening::Silence(_) => None,
        }
    }
}

/// Whether the model has the participant of a step.
fn is_explored(step: Step) -> bool {
    Explored::of(step).is_some()
}

/// The step that a command belongs to.
fn step_of(message: &Message) -> Option<Step> {
    let record = message.record_type();
    Step::ALL.iter().copied().find(|step| {
        let definition = step.definition();
        definition.command.record == record || definition.compensation.record == record
    })
}

/// What the participant of a further step answers to the command that is out.
fn further_answer(transition: &Transition) -> Option<Message> {
    let command = transition
        .messages
        .iter()
        .find(|message| step_of(message).is_some_and(|step| !is_explored(step)))?;
    let saga = transition.saga.as_ref()?;
    let checkout = checkout_of(saga.progress.checkout_id);
    let cart = usize::from(saga.cart_id != cart_id(0));
    let definition = step_of(command)?.definition();
    let reply = if command.record_type() == definition.command.record {
        definition.success.record
    } else {
        definition.compensation.acknowledged_by
    };
    Some(reply_of_another(cart, checkout, reply))
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("mutation", &self.mutation)
            .finish_non_exhaustive()
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_750_000_000).unwrap()
}

pub(crate) fn cart_id(cart: Cart) -> CartId {
    CartId::from_untyped_uuid(Uuid::from_u128(0xca27 + cart as u128))
}

/// One piece of the one product.
fn request(cart: Cart, checkout: Checkout) -> CartCheckedOut {
    CartCheckedOut {
        event_id: EventId::from_untyped_uuid(checkout_id(checkout).into_untyped_uuid()),
        occurred_at: now(),
        cart_id: cart_id(cart),
        customer_id: CustomerId::from_untyped_uuid(Uuid::from_u128(0xc057)),
        items: vec![CartItem {
            product_id: "tea".to_owned(),
            quantity: 1,
            unit_price: 450,
        }],
        subtotal: None,
        discount: None,
        total: 450,
        currency: "EUR".to_owned(),
    }
}

fn operation(cart: Cart, step: Option<Step>, action: OperationAction) -> SagaOperation {
    SagaOperation {
        operation_id: OperationId::from_untyped_uuid(Uuid::from_u128(0x0b)),
        cart_id: cart_id(cart),
        checkout_id: None,
        action,
        step: step.map(|step| step.name().to_owned()),
        evidence: Some("the participant's rows".to_owned()),
        operator: "the model".to_owned(),
        reason: "anything may be asked at any time".to_owned(),
        requested_at: now(),
    }
}
