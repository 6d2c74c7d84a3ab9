//! What is explored, and the tests that explore it.

use std::{io::Write, time::Instant};

use stateright::{Checker, HasDiscoveries, Model as _};

use crate::{
    model::Model,
    mutation::Mutation,
    property::{Promise, Reach},
    world::Faults,
};

/// One exploration: a part of all that may happen, in every combination.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) name: &'static str,
    /// What may happen in it, beyond that records arrive late, again, and in any
    /// order, and that timers fire at any time.
    pub(crate) about: &'static str,
    /// Whether the second checkout is of the same cart.
    pub(crate) one_cart: bool,
    pub(crate) checkouts: usize,
    /// Sendings of a command before its step is in doubt.
    pub(crate) tries: u32,
    /// Whether calls to the gateway take time, and may be repeated.
    pub(crate) gateway_calls: bool,
    /// Whether timers fire although an answer may still come.
    pub(crate) timers: bool,
    pub(crate) expiry: bool,
    pub(crate) operators: bool,
    /// Whether any participant may be held at any time, probed, and the customer's
    /// patience over.
    pub(crate) brakes: bool,
    /// Whether the orchestrator's batches, outputs and owners are told apart.
    pub(crate) faulty_runtime: bool,
    /// Whether another instance owns partitions that the carts' records come by too.
    pub(crate) neighbour: bool,
    pub(crate) faults: Faults,
    /// Worlds that it must reach.
    pub(crate) reaches: &'static [Reach],
    /// Outcomes of the core that it must meet.
    pub(crate) meets: &'static [&'static str],
}

const CALM: Faults = Faults {
    crashes: 0,
    takeovers: 0,
    lost_answers: 0,
    lost_records: 0,
};

pub(crate) const ONE_CART: Run = Run {
    name: "one cart",
    about: "one checkout; resends, refusals, calls to the gateway that take their time, an expiry, operators",
    one_cart: true,
    checkouts: 1,
    tries: 2,
    gateway_calls: true,
    timers: true,
    expiry: true,
    operators: true,
    brakes: false,
    faulty_runtime: false,
    neighbour: false,
    faults: CALM,
    reaches: &[
        Reach::Ordered,
        Reach::Failed,
        Reach::Stuck,
        Reach::OrderInDoubt,
        Reach::VoidWaits,
    ],
    meets: &[
        "CompensationResent(CreateOrder)",
        "Ignored(Ended)",
        "Ignored(LateSuccess)",
        "Ignored(NotAwaited)",
        "Ignored(SameEvent)",
        "Operated(Abandon)",
        "Operated(Compensate)",
        "Operated(Resolve)",
        "Operated(Retry)",
        "StepInDoubt(AuthorizePayment, ReservationExpired)",
        "StepInDoubt(ReserveInventory, TimedOut)",
        "StepRefused(CreateOrder, OrderRejected)",
        "Stuck(ReserveInventory)",
    ],
};

pub(crate) const BRAKES: Run = Run {
    name: "one cart, participants held",
    about: "the same, while any participant may be held or probed at any time, and the customer's \
            patience may be over",
    gateway_calls: false,
    brakes: true,
    reaches: &[Reach::Ordered, Reach::Failed, Reach::Stuck],
    meets: &[
        "CommandReleased(CreateOrder)",
        "Held(AuthorizePayment)",
        "Failed(TimedOut)",
        "StepGivenUp(CreateOrder, TimedOut)",
        "StepInDoubt(CreateOrder, TimedOut)",
    ],
    ..ONE_CART
};

pub(crate) const TWO_ATTEMPTS: Run = Run {
    name: "one cart, two requests",
    about: "two checkouts of one cart; refusals, calls to the gateway that take their time",
    one_cart: true,
    checkouts: 2,
    tries: 1,
    gateway_calls: true,
    timers: true,
    expiry: false,
    operators: false,
    brakes: false,
    faulty_runtime: false,
    neighbour: false,
    faults: CALM,
    reaches: &[
        Reach::Ordered,
        Reach::Failed,
        Reach::TurnedAway,
        Reach::OrderedAfterAFailure,
    ],
    meets: &[
        "Ignored(OtherCheckout)",
        "Rejected(AlreadyOrdered)",
        "Rejected(CheckoutInProgress)",
    ],
};

pub(crate) const TWO_CARTS: Run = Run {
    name: "two carts, one piece",
    about: "a checkout each of two carts that want the last piece; refusals",
    one_cart: false,
    checkouts: 2,
    tries: 1,
    gateway_calls: false,
    timers: true,
    expiry: false,
    operators: false,
    brakes: false,
    faulty_runtime: false,
    neighbour: false,
    faults: CALM,
    reaches: &[Reach::Ordered, Reach::Failed, Reach::LastPieceMissed],
    meets: &["Completed", "Failed(OutOfStock)"],
};

pub(crate) const TWO_CARTS_FAULTS: Run = Run {
    name: "two carts, one piece, faults of the runtime",
    about: "a checkout each of two carts that want the last piece, of which each answer comes in \
            time; refusals; an instance crashes, one is taken over without knowing it, the answer \
            to a commit is lost",
    timers: false,
    faulty_runtime: true,
    faults: FAULTS.faults,
    reaches: &[
        Reach::Ordered,
        Reach::Failed,
        Reach::LastPieceMissed,
        Reach::FormerOwnerFenced,
        Reach::NewOwnerHasOutputs,
    ],
    ..TWO_CARTS
};

pub(crate) const WIDER_TWO_CARTS: Run = Run {
    name: "two carts, one piece, wider",
    about: "the same with resends and an expiry; on request",
    tries: 2,
    expiry: true,
    ..TWO_CARTS
};

pub(crate) const FAULTS: Run = Run {
    name: "faults of the runtime",
    about: "one checkout; an instance crashes, one is taken over without knowing it, the answer to \
            a commit is lost",
    one_cart: true,
    checkouts: 1,
    tries: 1,
    gateway_calls: false,
    timers: true,
    expiry: false,
    operators: false,
    brakes: false,
    faulty_runtime: true,
    neighbour: false,
    faults: Faults {
        crashes: 1,
        takeovers: 1,
        lost_answers: 1,
        lost_records: 0,
    },
    reaches: &[
        Reach::Ordered,
        Reach::Failed,
        Reach::FormerOwnerFenced,
        Reach::NewOwnerHasOutputs,
        Reach::CommitInDoubt,
    ],
    meets: &["Completed", "Failed(OutOfStock)", "Failed(TimedOut)"],
};

pub(crate) const TWO_OUTCOMES: Run = Run {
    name: "two outcomes, faults of the runtime",
    about: "two checkouts of one cart, of which each answer comes in time; refusals; an instance \
            crashes, and again, one is taken over without knowing it",
    one_cart: true,
    checkouts: 2,
    tries: 1,
    gateway_calls: false,
    timers: false,
    expiry: false,
    operators: false,
    brakes: false,
    faulty_runtime: true,
    neighbour: false,
    faults: Faults {
        crashes: 2,
        takeovers: 1,
        lost_answers: 0,
        lost_records: 0,
    },
    reaches: &[
        Reach::Ordered,
        Reach::TurnedAway,
        Reach::OrderedAfterAFailure,
        Reach::FormerOwnerFenced,
        Reach::NewOwnerHasOutputs,
    ],
    meets: &["Rejected(AlreadyOrdered)", "Rejected(CheckoutInProgress)"],
};

pub(crate) const LOST_RECORDS: Run = Run {
    name: "one cart, records lost",
    about: "one checkout, of which two records leave their topics unread; resends, refusals",
    gateway_calls: false,
    expiry: false,
    operators: false,
    faults: Faults {
        lost_records: 2,
        ..CALM
    },
    reaches: &[
        Reach::Ordered,
        Reach::Failed,
        Reach::Stuck,
        Reach::RecordSentAgain,
    ],
    meets: &["Completed", "Failed(OutOfStock)", "Failed(TimedOut)"],
    ..ONE_CART
};

pub(crate) const KEPT_ROWS: Run = Run {
    name: "one cart, two instances that keep rows",
    about: "one checkout whose records come by partitions of both; resends, refusals, an expiry",
    gateway_calls: false,
    operators: false,
    neighbour: true,
    reaches: &[
        Reach::Ordered,
        Reach::Failed,
        Reach::Stuck,
        Reach::KeptRowStale,
    ],
    meets: &["Completed", "Failed(OutOfStock)", "Failed(TimedOut)"],
    ..ONE_CART
};

pub(crate) const WIDER_TWO_ATTEMPTS: Run = Run {
    name: "one cart, two requests, wider",
    about: "the same with resends, expiries and operators; on request, for it takes minutes",
    tries: 2,
    expiry: true,
    operators: true,
    ..TWO_ATTEMPTS
};

pub(crate) const WIDER_FAULTS: Run = Run {
    name: "faults of the runtime, wider",
    about: "the same with two crashes, an expiry, and calls to the gateway that take their time; \
            on request",
    gateway_calls: true,
    expiry: true,
    faults: Faults {
        crashes: 2,
        ..FAULTS.faults
    },
    ..FAULTS
};

pub(crate) const WIDER_KEPT_ROWS: Run = Run {
    name: "one cart, two instances that keep rows, wider",
    about: "two checkouts whose records come by partitions of both; refusals; on request",
    gateway_calls: false,
    neighbour: true,
    reaches: &[
        Reach::Ordered,
        Reach::Failed,
        Reach::TurnedAway,
        Reach::OrderedAfterAFailure,
        Reach::KeptRowStale,
    ],
    ..TWO_ATTEMPTS
};

/// Every exploration.
pub(crate) const RUNS: &[&Run] = &[
    &ONE_CART,
    &BRAKES,
    &TWO_ATTEMPTS,
    &WIDER_TWO_ATTEMPTS,
    &TWO_CARTS,
    &WIDER_TWO_CARTS,
    &TWO_CARTS_FAULTS,
    &LOST_RECORDS,
    &FAULTS,
    &WIDER_FAULTS,
    &TWO_OUTCOMES,
    &KEPT_ROWS,
    &WIDER_KEPT_ROWS,
];

/// Checks every promise in every world of a run, and that the run is worth
/// something.
fn explore(run: &'static Run) {
    let started = Instant::now();
    let checker = Model::new(run, None).checker().spawn_bfs().join();
    let core = &checker.model().core;
    tell(&format!(
        "{}: {} states, {} transitions, {} sagas, depth {}, {:.1} s",
        run.name,
        checker.unique_state_count(),
        checker.state_count(),
        core.sagas(),
        checker.max_depth(),
        started.elapsed().as_secs_f64(),
    ));
    checker.assert_properties();
    let met = core.outcomes();
    for outcome in run.meets {
        assert!(
            met.contains(*outcome),
            "the run never meets {outcome}, only {met:?}"
        );
    }
}

/// Shown even where the test passes: the numbers are what one wants to see.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "model: {line}");
}

#[test]
fn one_cart_keeps_every_promise() {
    explore(&ONE_CART);
}

#[test]
fn one_cart_keeps_every_promise_while_participants_are_held() {
    explore(&BRAKES);
}

#[test]
fn two_requests_for_one_cart_keep_every_promise() {
    explore(&TWO_ATTEMPTS);
}

#[test]
fn two_carts_that_want_the_last_piece_keep_every_promise() {
    explore(&TWO_CARTS);
}

#[test]
fn faults_of_the_runtime_break_no_promise_of_two_carts_that_want_the_last_piece() {
    explore(&TWO_CARTS_FAULTS);
}

#[test]
fn records_that_are_lost_break_no_promise() {
    explore(&LOST_RECORDS);
}

#[test]
fn faults_of_the_runtime_break_no_promise() {
    explore(&FAULTS);
}

#[test]
fn faults_of_the_runtime_break_no_promise_of_two_outcomes() {
    explore(&TWO_OUTCOMES);
}

#[test]
fn rows_that_an_instance_keeps_break_no_promise() {
    explore(&KEPT_ROWS);
}

#[test]
#[ignore = "two million worlds take minutes"]
fn two_requests_for_one_cart_keep_every_promise_in_a_wider_run() {
    explore(&WIDER_TWO_ATTEMPTS);
}

#[test]
#[ignore = "a million worlds take minutes"]
fn two_carts_that_want_the_last_piece_keep_every_promise_in_a_wider_run() {
    explore(&WIDER_TWO_CARTS);
}

#[test]
#[ignore = "a million worlds take minutes"]
fn faults_of_the_runtime_break_no_promise_in_a_wider_run() {
    explore(&WIDER_FAULTS);
}

#[test]
#[ignore = "a million worlds take minutes"]
fn rows_that_an_instance_keeps_break_no_promise_in_a_wider_run() {
    explore(&WIDER_KEPT_ROWS);
}

#[test]
fn each_guard_is_needed_for_a_promise() {
    for mutation in Mutation::ALL {
        let started = Instant::now();
        let expected: Vec<_> = mutation
            .breaks()
            .iter()
            .map(|promise| promise.name())
            .collect();
        let all = HasDiscoveries::AllOf(expected.iter().copied().collect());
        let checker = Model::new(mutation.run(), Some(*mutation))
            .checker()
            .finish_when(all)
            .spawn_bfs()
            .join();
        tell(&format!(
            "without \"{}\": {} states, {:.1} s",
            mutation.guard(),
            checker.unique_state_count(),
            started.elapsed().as_secs_f64(),
        ));
        for name in expected {
            assert!(
                checker.discovery(name).is_some(),
                "\"{name}\" holds although this is missing: {mutation:?}"
            );
        }
    }
}

#[test]
fn each_promise_can_be_broken() {
    for promise in Promise::ALL {
        assert!(
            promise.guards().next().is_some(),
            "nothing that is taken away breaks \"{}\"",
            promise.name()
        );
    }
}
