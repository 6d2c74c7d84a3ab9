//! A request for a checkout: the first of a cart, or a further one.

use std::collections::BTreeMap;

use contracts::{
    ids::{self, CheckoutId},
    messages::{CartCheckedOut, FailureReason, RejectionReason},
};
use jiff::Timestamp;

use super::Turn;
use crate::{
    brakes::Brakes,
    events,
    outcome::{Ignored, Outcome, Transition},
    rules::Rules,
    saga::{Cart, Failure, Progress, Saga, State, Waiting},
    step::Step,
    validation::validate,
};

impl<'r> Turn<'r> {
    /// The first request for a cart.
    pub(super) fn first_checkout(
        request: &CartCheckedOut,
        now: Timestamp,
        rules: &'r Rules,
        brakes: Brakes,
    ) -> Transition {
        let (cart, invalid) = cart_of(request, rules);
        let saga = Saga {
            cart_id: request.cart_id,
            cart,
            progress: fresh_progress(ids::checkout_id(request.event_id), now),
        };
        let mut turn = Turn::new(saga, now, rules, brakes);
        let outcome = turn.start(invalid);
        turn.end(outcome)
    }

    /// A request for a cart whose last attempt failed: a new attempt.
    pub(super) fn checkout_again(&mut self, request: &CartCheckedOut) -> Outcome {
        let checkout = ids::checkout_id(request.event_id);
        if self.knows(checkout) {
            return Outcome::Ignored(Ignored::SameEvent);
        }
        if self.memory_is_full() {
            return self.reject(request, RejectionReason::TooManyAttempts);
        }
        let (cart, invalid) = cart_of(request, self.rules);
        let former = std::mem::replace(&mut self.saga.progress, fresh_progress(checkout, self.now));
        self.saga.progress.snapshots = former.snapshots;
        self.saga.progress.seen = former.seen;
        self.saga.progress.seen.push(former.checkout_id);
        self.saga.cart = cart;
        self.start(invalid)
    }

    /// A request that must not disturb the current attempt. It is remembered:
    /// a repeat of it must not begin anything once that attempt has failed.
    pub(super) fn turn_away(
        &mut self,
        request: &CartCheckedOut,
        reason: RejectionReason,
    ) -> Outcome {
        let checkout = ids::checkout_id(request.event_id);
        if self.knows(checkout) {
            return Outcome::Ignored(Ignored::SameEvent);
        }
        if self.memory_is_full() {
            return self.reject(request, RejectionReason::TooManyAttempts);
        }
        self.saga.progress.seen.push(checkout);
        self.changed = true;
        self.reject(request, reason)
    }

    fn start(&mut self, invalid: Option<Failure>) -> Outcome {
        self.changed = true;
        match invalid {
            Some(failure) => {
                self.saga.progress.failure = Some(failure);
                self.fail()
            }
            None => self.begin(Step::FIRST, Outcome::Started),
        }
    }

    fn knows(&self, checkout: CheckoutId) -> bool {
        let progress = &self.saga.progress;
        progress.checkout_id == checkout || progress.seen.contains(&checkout)
    }

    /// Once full it stays full, so whoever is rejected for it stays rejected and
    /// need not be remembered.
    fn memory_is_full(&self) -> bool {
        self.saga.progress.seen.len().saturating_add(1) >= self.rules.max_checkouts_per_cart
    }

    fn reject(&mut self, request: &CartCheckedOut, reason: RejectionReason) -> Outcome {
        let detail = match (reason, self.saga.progress.state) {
            (RejectionReason::TooManyAttempts, _) => format!(
                "the cart was checked out {} times, which is the limit; use a new cart",
                self.rules.max_checkouts_per_cart
            ),
            (_, State::Completed) => "the cart is ordered; use a new cart".to_owned(),
            (_, State::Abandoned { .. }) => {
                "the cart's checkout is being settled by hand; use a new cart".to_owned()
            }
            (
                _,
                State::InProgress(_)
                | State::InDoubt(_)
                | State::Compensating(_)
                | State::Stuck(_)
                | State::Failed,
            ) => "the cart's checkout has not ended yet; wait for its outcome".to_owned(),
        };
        let message = events::checkout_rejected(&self.saga, request, reason, detail, self.now);
        self.messages.push(message);
        Outcome::Rejected(reason)
    }
}

/// The cart to store. An invalid one is stored without its items: nothing will
/// be done with them, and they may be anything.
fn cart_of(request: &CartCheckedOut, rules: &Rules) -> (Cart, Option<Failure>) {
    match validate(request, rules) {
        Ok(cart) => (cart, None),
        Err(invalid) => {
            let cart = Cart {
                customer_id: request.customer_id,
                items: Vec::new(),
                total: request.total,
                currency: crate::text::clean_to(&request.currency, 3),
            };
            let failure = Failure {
                reason: FailureReason::InvalidCart,
                detail: invalid.to_string(),
                missing: Vec::new(),
            };
            (cart, Some(failure))
        }
    }
}

/// The progress of an attempt that is about to take its first step.
fn fresh_progress(checkout_id: CheckoutId, now: Timestamp) -> Progress {
    Progress {
        checkout_id,
        state: State::InProgress(Waiting {
            step: Step::FIRST,
            tries: 0,
            since: now,
            due_at: now,
            held: false,
        }),
        failure: None,
        handles: BTreeMap::new(),
        seen: Vec::new(),
        snapshots: 0,
        operator_note: None,
        started_at: now,
        updated_at: now,
    }
}
