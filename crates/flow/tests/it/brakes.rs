//! Participants that are held: what waits, what is sent, and when it is given up.

use std::time::Duration;

use crate::{stories::NOTHING, story::*};
use contracts::{
    RecordType::*,
    messages::{FailureReason, OperationAction, SagaState},
};
use flow::{Brakes, Outcome, Pace, Rules, Step};
use jiff::SignedDuration;

const PAYMENT: Step = Step::AuthorizePayment;

/// A story with the stock reserved, and the payment's brake at this pace then.
fn at_payment(pace: Pace) -> Story {
    let mut story = Story::new();
    story.checked_out(1);
    story.brakes = Brakes::OPEN.with(PAYMENT, pace);
    story.answered(InventoryReserved);
    story
}

fn limit() -> SignedDuration {
    SignedDuration::try_from(Rules::default().checkout_limit).unwrap()
}

#[test]
fn a_command_for_a_held_participant_waits_unsent_and_is_sent_once_it_flows() {
    let mut story = at_payment(Pace::Held);
    assert_eq!(story.count(AuthorizePayment), 0);
    assert_eq!(story.saga().customer_status().status, "AUTHORIZING_PAYMENT");
    for _ in 0..20 {
        assert_eq!(story.silence(), NOTHING);
        assert_eq!(story.outcome, Outcome::Held(PAYMENT));
    }
    story.brakes = Brakes::OPEN;
    assert_eq!(story.silence(), ["AuthorizePayment"]);
    assert_eq!(story.outcome, Outcome::CommandReleased(PAYMENT));
    let waiting = story.state().waiting().unwrap();
    assert_eq!((waiting.tries, waiting.held), (1, false));
    story.answered(PaymentAuthorized);
    assert_eq!(story.state().step(), PAYMENT.following());
}

#[test]
fn held_sagas_look_again_at_growing_times_that_differ() {
    let mut story = at_payment(Pace::Held);
    let rules = Rules::default();
    let mut waits = Vec::new();
    for _ in 0..8 {
        let before = story.now;
        story.silence();
        waits.push(Duration::try_from(story.now.duration_since(before)).unwrap());
    }
    assert!(waits.is_sorted(), "{waits:?}");
    assert!(waits[0] < rules.hold_first * 5 / 4, "{waits:?}");
    let longest = waits[7];
    assert!(
        (rules.hold_max..=rules.hold_max * 5 / 4).contains(&longest),
        "{waits:?}"
    );
    let of_many: std::collections::BTreeSet<_> = (0..100)
        .map(|n| rules.hold_wait(checkout(n), rules.hold_max))
        .collect();
    assert!(of_many.len() > 50, "{}", of_many.len());
}

#[test]
fn silence_of_a_held_participant_counts_for_nothing() {
    let mut story = at_payment(Pace::Flowing);
    for _ in 1..PAYMENT.definition().retry.tries {
        assert_eq!(story.silence(), ["AuthorizePayment"]);
    }
    // The last try is out; now the participant is held, and later flows again.
    story.brakes = Brakes::OPEN.with(PAYMENT, Pace::Held);
    for _ in 0..10 {
        assert_eq!(story.silence(), NOTHING);
    }
    story.brakes = Brakes::OPEN;
    for _ in 0..PAYMENT.definition().retry.tries {
        assert_eq!(story.silence(), ["AuthorizePayment"]);
    }
    assert_eq!(story.silence()[0], "VoidAuthorization");
}

#[test]
fn an_answer_during_a_hold_is_taken_at_once() {
    let mut story = at_payment(Pace::Flowing);
    story.brakes = Brakes::OPEN.with(PAYMENT, Pace::Held);
    story.silence();
    story.answered(PaymentAuthorized);
    assert_eq!(story.state().step(), PAYMENT.following());
}

#[test]
fn probes_are_sent_and_do_not_use_up_the_tries() {
    let mut story = at_payment(Pace::Probe);
    assert_eq!(names(&story.sent), ["AuthorizePayment"]);
    for _ in 0..10 {
        assert_eq!(story.silence(), ["AuthorizePayment"]);
    }
    assert_eq!(story.state().waiting().unwrap().tries, 1);
    story.answered(PaymentAuthorized);
    assert_eq!(story.state().step(), PAYMENT.following());

    let mut story = at_payment(Pace::Held);
    story.brakes = Brakes::OPEN.with(PAYMENT, Pace::Probe);
    assert_eq!(story.silence(), ["AuthorizePayment"]);
}

#[test]
fn a_held_first_command_is_sent_once_it_flows() {
    let mut story = Story::new();
    story.brakes = Brakes::OPEN.with(Step::FIRST, Pace::Held);
    assert_eq!(story.checked_out(1), NOTHING);
    assert_eq!(story.checked_out(1), NOTHING, "the same event again");
    story.brakes = Brakes::OPEN;
    assert_eq!(story.silence(), ["ReserveInventory"]);
}

#[test]
fn a_checkout_held_beyond_the_limit_is_given_up_by_whom_nothing_was_asked() {
    let mut story = at_payment(Pace::Held);
    let ends = start() + limit();
    while story.kind() == SagaState::InProgress {
        assert!(story.now <= ends, "held until {}", story.now);
        story.silence();
    }
    assert_eq!(story.now, ends, "not before the limit");
    assert_eq!(
        story.outcome,
        Outcome::StepGivenUp(PAYMENT, FailureReason::TimedOut)
    );
    // Nothing was authorized, so nothing is asked of the silent participant.
    assert_eq!(names(&story.sent), ["ReleaseInventory", "SagaSnapshot"]);
    assert_eq!(
        story.answered(InventoryReleased),
        ["CheckoutFailed", "SagaSnapshot"]
    );
    assert_eq!(story.saga().failure_reason(), Some(FailureReason::TimedOut));
    assert_eq!(story.count(VoidAuthorization), 0);

    let mut first = Story::new();
    first.brakes = Brakes::OPEN.with(Step::FIRST, Pace::Held);
    first.checked_out(1);
    first.now = ends;
    assert_eq!(
        first.silence(),
        ["CheckoutFailed"],
        "nothing is held at all"
    );
}

#[test]
fn a_command_out_beyond_the_limit_is_in_doubt() {
    for pace in [Pace::Held, Pace::Probe] {
        let mut story = at_payment(Pace::Flowing);
        story.brakes = Brakes::OPEN.with(PAYMENT, pace);
        story.now = start() + limit();
        assert_eq!(story.silence(), ["VoidAuthorization", "SagaSnapshot"]);
        assert_eq!(
            story.outcome,
            Outcome::StepInDoubt(PAYMENT, FailureReason::TimedOut)
        );
    }
}

#[test]
fn a_clock_that_jumps_ends_no_checkout_that_was_not_held() {
    let mut story = at_payment(Pace::Flowing);
    story.now += limit() * 10;
    assert_eq!(story.silence(), ["AuthorizePayment"]);
}

#[test]
fn an_expired_reservation_or_an_operator_undoes_only_what_was_asked_for() {
    let mut story = at_payment(Pace::Held);
    assert_eq!(story.expired(), ["ReleaseInventory", "SagaSnapshot"]);
    let mut story = at_payment(Pace::Held);
    assert_eq!(
        story.operated(OperationAction::Compensate),
        ["ReleaseInventory", "SagaSnapshot"]
    );
}

#[test]
fn an_operators_retry_passes_the_brake() {
    let mut story = at_payment(Pace::Held);
    assert_eq!(story.operated(OperationAction::Retry), ["AuthorizePayment"]);
    let waiting = story.state().waiting().unwrap();
    assert_eq!((waiting.tries, waiting.held), (1, false));
}

#[test]
fn a_compensation_is_sent_once_and_its_repeats_are_held() {
    let mut story = at_payment(Pace::Flowing);
    story.operated(OperationAction::Compensate);
    assert_eq!(story.count(VoidAuthorization), 1);
    story.brakes = Brakes::OPEN.with(PAYMENT, Pace::Held);
    for _ in 0..50 {
        assert_eq!(story.silence(), NOTHING);
    }
    assert_eq!(story.kind(), SagaState::InDoubt, "not stuck");
    // Probes count: a saga that alone cannot be undone is reported.
    story.brakes = Brakes::OPEN.with(PAYMENT, Pace::Probe);
    for _ in 0..Rules::default().stuck_after_tries {
        assert_eq!(story.silence()[0], "VoidAuthorization");
    }
    assert_eq!(story.kind(), SagaState::Stuck);
    // And stuck it stays, held or not.
    story.brakes = Brakes::OPEN.with(PAYMENT, Pace::Held);
    assert_eq!(story.silence(), NOTHING);
    assert_eq!(story.kind(), SagaState::Stuck);
    assert_eq!(
        story.answered(AuthorizationVoided),
        ["ReleaseInventory", "SagaSnapshot"]
    );
}
