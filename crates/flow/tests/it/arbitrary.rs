//! Sagas, messages and rules of every kind, the absurd ones included.

use std::time::Duration;

use contracts::{
    Message,
    ids::{CommandId, GenericUuid, ReservationId},
    messages::{CartItem, FailureReason, OperationAction, SagaOperation},
};
use flow::{Brakes, Cart, Failure, Line, Pace, Progress, Rules, Saga, State, Step, Waiting};
use jiff::Timestamp;
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};
use uuid::Uuid;

use crate::story::{answer, answer_to, cart_id, checkout, customer_id, expiry, operation, request};

pub(crate) fn some_step() -> impl Strategy<Value = Step> {
    select(Step::ALL)
}

pub(crate) fn any_timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        Just(Timestamp::MIN),
        Just(Timestamp::MAX),
        any::<i32>().prop_map(|second| Timestamp::from_second(i64::from(second)).unwrap()),
    ]
}

pub(crate) fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("RESERVE_INVENTORY".to_owned()),
        Just("x".repeat(10_000)),
        "\\PC{0,12}",
        Just("\0".to_owned()),
    ]
}

pub(crate) fn any_pace() -> impl Strategy<Value = Pace> {
    select(vec![Pace::Flowing, Pace::Probe, Pace::Held])
}

pub(crate) fn any_brakes() -> impl Strategy<Value = Brakes> {
    vec((some_step(), any_pace()), 0..3).prop_map(|paces| {
        let set = |brakes: Brakes, (step, pace)| brakes.with(step, pace);
        paces.into_iter().fold(Brakes::OPEN, set)
    })
}

prop_compose! {
    pub(crate) fn any_waiting()(
        step in some_step(),
        tries in select(vec![0, 1, 5, 6, 7, 8, 9, u32::MAX - 1, u32::MAX]),
        since in any_timestamp(),
        due_at in any_timestamp(),
        held in any::<bool>(),
    ) -> Waiting {
        Waiting { step, tries, since, due_at, held }
    }
}

pub(crate) fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![
        any_waiting().prop_map(State::InProgress),
        any_waiting().prop_map(State::InDoubt),
        any_waiting().prop_map(State::Compensating),
        any_waiting().prop_map(State::Stuck),
        Just(State::Completed),
        Just(State::Failed),
        some_step().prop_map(|step| State::Abandoned { step }),
    ]
}

pub(crate) fn any_line() -> impl Strategy<Value = Line> {
    let numbers = (any::<i32>(), any::<i64>());
    (any_text(), numbers).prop_map(|(product_id, (quantity, unit_price))| Line {
        product_id,
        quantity,
        unit_price,
    })
}

prop_compose! {
    pub(crate) fn any_failure()(
        reason in select(FailureReason::ALL),
        detail in any_text(),
    ) -> Failure {
        Failure { reason, detail, missing: Vec::new() }
    }
}

prop_compose! {
    /// Sagas that were never reached, too.
    pub(crate) fn any_saga()(
        state in any_state(),
        items in vec(any_line(), 0..4),
        total in any::<i64>(),
        failure in option::of(any_failure()),
        handles in btree_map(some_step(), any::<u128>(), 0..3),
        seen in vec(0..40_u128, 0..40),
        snapshots in select(vec![0, 1, u64::MAX]),
        started_at in any_timestamp(),
    ) -> Saga {
        Saga {
            cart_id: cart_id(),
            cart: Cart {
                customer_id: customer_id(),
                items,
                total,
                currency: "EUR".to_owned(),
            },
            progress: Progress {
                checkout_id: checkout(1),
                state,
                failure,
                handles: handles.into_iter().map(|(k, v)| (k, Uuid::from_u128(v))).collect(),
                seen: seen.into_iter().map(checkout).collect(),
                snapshots,
                operator_note: None,
                started_at,
                updated_at: started_at,
            },
        }
    }
}

pub(crate) fn any_reply() -> impl Strategy<Value = Message> {
    let records: Vec<_> = Step::ALL
        .iter()
        .flat_map(|step| {
            let definition = step.definition();
            [
                definition.success.record,
                definition.failures.first.record,
                definition.compensation.acknowledged_by,
            ]
        })
        .collect();
    (
        select(records),
        1..3_u128,
        option::weighted(0.2, any::<u128>()),
    )
        .prop_map(|(record, n, foreign)| match foreign {
            None => answer(record, checkout(n)),
            Some(id) => {
                let command_id = CommandId::from_untyped_uuid(Uuid::from_u128(id));
                answer_to(record, checkout(n), command_id)
            }
        })
}

pub(crate) fn any_request() -> impl Strategy<Value = Message> {
    let amount = prop_oneof![any::<i64>(), Just(0), Just(i64::MIN), Just(i64::MAX)];
    let amounts = (
        option::of(amount.clone()),
        option::of(amount.clone()),
        amount,
    );
    (
        0..60_u128,
        vec(any_line(), 0..4),
        amounts,
        any_text(),
        any::<bool>(),
    )
        .prop_map(
            |(n, lines, (subtotal, discount, total), currency, sensible)| {
                let mut request = request(n);
                if !sensible {
                    request.items = lines
                        .into_iter()
                        .map(|line| CartItem {
                            product_id: line.product_id,
                            quantity: line.quantity,
                            unit_price: line.unit_price,
                        })
                        .collect();
                    (request.subtotal, request.discount) = (subtotal, discount);
                    (request.total, request.currency) = (total, currency);
                }
                request.into()
            },
        )
}

pub(crate) fn any_operation() -> impl Strategy<Value = Message> {
    let texts = (
        option::of(any_text()),
        option::of(any_text()),
        any_text(),
        any_text(),
    );
    (select(OperationAction::ALL), texts, option::of(1..3_u128)).prop_map(
        |(action, (step, evidence, operator, reason), n)| {
            SagaOperation {
                step,
                evidence,
                operator,
                reason,
                checkout_id: n.map(checkout),
                ..operation(action)
            }
            .into()
        },
    )
}

pub(crate) fn any_expiry() -> impl Strategy<Value = Message> {
    (1..3_u128, option::of(any::<u128>())).prop_map(|(n, other)| {
        let Message::ReservationExpired(mut event) = expiry(checkout(n)) else {
            unreachable!("it is one")
        };
        if let Some(other) = other {
            event.reservation_id = ReservationId::from_untyped_uuid(Uuid::from_u128(other));
        }
        event.into()
    })
}

prop_compose! {
    pub(crate) fn any_rules()(
        max_items in select(vec![0, 1, 500, usize::MAX]),
        max_checkouts_per_cart in select(vec![0, 1, 2, 32, usize::MAX]),
        stuck_after_tries in select(vec![0, 1, 8, u32::MAX]),
        first in option::of(select(vec![0, 1, 5_000, u64::MAX])),
        max in option::of(select(vec![0, 1, 30_000, u64::MAX])),
        tries in option::of(select(vec![0, 1, u32::MAX])),
        holds in [select(vec![0, 1_000, u64::MAX]), select(vec![0, 12_000, u64::MAX])],
        limit in select(vec![0, 600_000, u64::MAX]),
    ) -> Rules {
        let wait = |ms: Option<u64>| ms.map(Duration::from_millis);
        Rules {
            max_items,
            max_checkouts_per_cart,
            stuck_after_tries,
            first_wait: wait(first),
            max_wait: wait(max),
            tries,
            checkout_limit: Duration::from_millis(limit),
            hold_first: Duration::from_millis(holds[0]),
            hold_max: Duration::from_millis(holds[1]),
        }
    }
}
