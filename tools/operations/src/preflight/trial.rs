//! What may come next to a saga that waits for an answer: its timer, each answer of the
//! participant, the end of its reservation, another request for the cart, and each input
//! of an operator.

use contracts::ids::{EventId, GenericUuid, OperationId, ReservationId};
use contracts::messages::{
    CartCheckedOut, CartItem, OperationAction, ReservationExpired, SagaOperation,
};
use flow::input::{ReplyKind, StepReply};
use flow::step::Refusal;
use flow::{Ignored, Input, OperatorRefusal, Outcome, Saga, State, Step, Waiting};
use uuid::Uuid;

use crate::parse;

/// What operator, reason and evidence of a trial say: only whether they are there counts.
const WORDS: &str = "preflight";

/// One thing that may come next.
#[derive(Debug)]
pub(super) struct Trial {
    /// What it is, for people.
    pub(super) what: String,
    pub(super) event: Event,
    /// Whether the state waits for it, or has at least to heed it.
    is_due: bool,
    /// The one refusal that is right in this state.
    refusal: Option<OperatorRefusal>,
}

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    Timer,
    Reply(StepReply),
    Expiry(ReservationExpired),
    Request(CartCheckedOut),
    Operation(SagaOperation),
}

impl Event {
    /// The same, for the transition function.
    pub(super) fn input(&self) -> Input<'_> {
        match self {
            Event::Timer => Input::DeadlinePassed,
            Event::Reply(reply) => Input::Reply(reply.clone()),
            Event::Expiry(event) => Input::ReservationExpired(event),
            Event::Request(event) => Input::CartCheckedOut(event),
            Event::Operation(operation) => Input::Operator(operation),
        }
    }
}

impl Trial {
    /// All that may come next.
    pub(super) fn all(saga: &Saga, waiting: Waiting) -> Vec<Self> {
        let is_forward = matches!(saga.progress.state, State::InProgress(_));
        let due = |what: String, event: Event| Self {
            what,
            event,
            is_due: true,
            refusal: None,
        };
        let mut all = vec![due("its timer".to_owned(), Event::Timer)];
        for (what, reply) in replies(saga, waiting, is_forward) {
            all.push(due(what, Event::Reply(reply)));
        }
        all.push(Self {
            what: "the end of its reservation".to_owned(),
            event: Event::Expiry(expiry(saga, waiting)),
            // What is undone already is not undone for it.
            is_due: is_forward,
            refusal: None,
        });
        let request = Event::Request(request(saga, waiting));
        all.push(due("another request for its cart".to_owned(), request));
        for action in parse::actions() {
            let operation = Event::Operation(operation(saga, waiting, action));
            all.push(Self {
                refusal: refusal(is_forward, action),
                ..due(format!("the operator's input {action}"), operation)
            });
        }
        all
    }

    /// What is wrong with this outcome, for a sentence that begins "this version would";
    /// none where it is one of those that the state allows.
    pub(super) fn fault(&self, outcome: Outcome) -> Option<String> {
        let what = &self.what;
        match outcome {
            Outcome::Ignored(
                ignored @ (Ignored::ForeignCommand
                | Ignored::NotAwaited
                | Ignored::OtherCheckout
                | Ignored::OtherReservation),
            ) if self.is_due => Some(format!("ignore {what}: {ignored}")),
            Outcome::OperatorRefused(refusal) if self.refusal != Some(refusal) => {
                Some(format!("refuse {what}: {refusal}"))
            }
            _ => None,
        }
    }
}

/// How an operator's input is refused by right: whether a saga is being undone decides
/// what can be done to it.
fn refusal(is_forward: bool, action: OperationAction) -> Option<OperatorRefusal> {
    match (is_forward, action) {
        (true, OperationAction::Resolve | OperationAction::Abandon) => {
            Some(OperatorRefusal::NotCompensating)
        }
        (false, OperationAction::Compensate) => Some(OperatorRefusal::AlreadyCompensating),
        _ => None,
    }
}

/// The answers of the participant that the saga waits for.
fn replies(saga: &Saga, waiting: Waiting, is_forward: bool) -> Vec<(String, StepReply)> {
    let definition = waiting.step.definition();
    let reply = |record, kind| StepReply {
        step: waiting.step,
        checkout_id: saga.progress.checkout_id,
        command_id: saga.command_id(record),
        kind,
    };
    if !is_forward {
        let undone = reply(definition.compensation.record, ReplyKind::Undone);
        let record = definition.compensation.acknowledged_by;
        return vec![(record.to_string(), undone)];
    }
    let command = definition.command.record;
    let handle = Uuid::nil();
    let done = reply(command, ReplyKind::Done { handle });
    let mut all = vec![(definition.success.record.to_string(), done)];
    for failure in definition.failures.iter() {
        let kind = ReplyKind::Refused {
            reason: failure.reason,
            refusal: Refusal {
                detail: String::new(),
                missing: Vec::new(),
            },
        };
        all.push((failure.record.to_string(), reply(command, kind)));
    }
    all
}

fn expiry(saga: &Saga, waiting: Waiting) -> ReservationExpired {
    let held = saga.handle(Step::ReserveInventory);
    ReservationExpired {
        event_id: EventId::from_untyped_uuid(Uuid::nil()),
        checkout_id: saga.progress.checkout_id,
        cart_id: saga.cart_id,
        reservation_id: ReservationId::from_untyped_uuid(held.unwrap_or_default()),
        expired_at: waiting.due_at,
    }
}

fn request(saga: &Saga, waiting: Waiting) -> CartCheckedOut {
    let items = saga.cart.items.iter().map(|line| CartItem {
        product_id: line.product_id.clone(),
        quantity: line.quantity,
        unit_price: line.unit_price,
    });
    CartCheckedOut {
        event_id: EventId::from_untyped_uuid(Uuid::nil()),
        occurred_at: waiting.due_at,
        cart_id: saga.cart_id,
        customer_id: saga.cart.customer_id,
        items: items.collect(),
        subtotal: None,
        discount: None,
        total: saga.cart.total,
        currency: saga.cart.currency.clone(),
    }
}

fn operation(saga: &Saga, waiting: Waiting, action: OperationAction) -> SagaOperation {
    SagaOperation {
        operation_id: OperationId::from_untyped_uuid(Uuid::nil()),
        cart_id: saga.cart_id,
        checkout_id: Some(saga.progress.checkout_id),
        action,
        step: Some(waiting.step.to_string()),
        evidence: Some(WORDS.to_owned()),
        operator: WORDS.to_owned(),
        reason: WORDS.to_owned(),
        requested_at: waiting.due_at,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use contracts::messages::SagaState;
    use flow::saga::is_in_flight;

    use super::*;
    use crate::sagas::example;

    /// A new kind of input does not compile here before it is tried.
    fn kind(input: &Input<'_>) -> &'static str {
        match input {
            Input::CartCheckedOut(_) => "request",
            Input::Reply(_) => "reply",
            Input::ReservationExpired(_) => "expiry",
            Input::DeadlinePassed => "timer",
            Input::Operator(_) => "operation",
        }
    }

    #[test]
    fn every_kind_of_input_is_tried_in_every_state() {
        for state in SagaState::ALL.iter().filter(|state| is_in_flight(**state)) {
            let saga = example(state.as_str(), Step::FIRST.name()).saga.unwrap();
            let waiting = saga.progress.state.waiting().unwrap();
            let trials = Trial::all(&saga, waiting);
            let kinds: BTreeSet<_> = trials.iter().map(|one| kind(&one.event.input())).collect();
            let expected = ["expiry", "operation", "reply", "request", "timer"];
            assert_eq!(kinds.into_iter().collect::<Vec<_>>(), expected, "{state}");
        }
    }

    #[test]
    fn an_outcome_that_no_state_allows_is_a_fault() {
        let saga = example("IN_PROGRESS", Step::FIRST.name()).saga.unwrap();
        let waiting = saga.progress.state.waiting().unwrap();
        let trials = Trial::all(&saga, waiting);
        let expiry = trials
            .iter()
            .find(|one| matches!(one.event, Event::Expiry(_)));
        let expiry = expiry.unwrap();
        let fault = expiry.fault(Outcome::Ignored(Ignored::NotAwaited)).unwrap();
        assert!(fault.contains("the end of its reservation"), "{fault}");
        assert_eq!(expiry.fault(Outcome::Started), None);
        let retry = trials
            .iter()
            .find(|one| one.what.ends_with("RETRY"))
            .unwrap();
        let fault = retry.fault(Outcome::OperatorRefused(OperatorRefusal::UnknownStep));
        assert!(fault.unwrap().contains("RETRY"));
    }

    #[test]
    fn an_operators_input_is_refused_only_where_the_direction_of_the_saga_says_so() {
        use OperationAction::{Abandon, Compensate, Resolve, Retry};
        use OperatorRefusal::{AlreadyCompensating, NotCompensating};
        let by_right = [
            ("IN_PROGRESS", NotCompensating, &[Resolve, Abandon][..]),
            ("IN_PROGRESS", AlreadyCompensating, &[][..]),
            ("IN_DOUBT", AlreadyCompensating, &[Compensate][..]),
            ("COMPENSATING", AlreadyCompensating, &[Compensate][..]),
            ("STUCK", AlreadyCompensating, &[Compensate][..]),
            ("STUCK", NotCompensating, &[][..]),
        ];
        for (state, refusal, expected) in by_right {
            let saga = example(state, Step::FIRST.name()).saga.unwrap();
            let waiting = saga.progress.state.waiting().unwrap();
            let trials = Trial::all(&saga, waiting);
            for action in [Retry, Compensate, Resolve, Abandon] {
                let of_action = |one: &&Trial| one.what.ends_with(action.as_str());
                let trial = trials.iter().find(of_action).unwrap();
                let fault = trial.fault(Outcome::OperatorRefused(refusal));
                let is_right = expected.contains(&action);
                assert_eq!(fault.is_none(), is_right, "{state} {action}: {fault:?}");
            }
        }
    }
}
