//! Clocks that jump.

use contracts::messages::{FailureReason, SagaState};
use integration_tests::carts::cart;
use integration_tests::load::Load;
use integration_tests::{Options, Outcome, PATIENCE, System, all_but, product};
use tokio::time::{Duration, Instant, sleep};

/// Rows of the history that were written when the clock was wrong, by at least half of
/// what it jumps.
const WRONG_TIMES: &[(&str, &str)] = &[
    (
        "an hour ahead",
        "at > now() + interval '30 minutes' AND at < now() + interval '12 hours'",
    ),
    ("an hour behind", "at < now() - interval '30 minutes'"),
    ("a day ahead", "at > now() + interval '12 hours'"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_to_and_fro_by_hours_ends_no_cart_wrongly() {
    // In looks at the clock: at least five a second, and one for each batch.
    let jumps = "clock=150*off->80*return(3600000)->80*return(-3600000)->80*return(86400000)->off";
    let environment = vec![
        // So long that what is sent again is so because of a jump.
        ("orchestrator", "REPLY_WAIT_FIRST_MS", "20000"),
        ("orchestrator", "REPLY_WAIT_MAX_MS", "20000"),
        ("orchestrator", "REPLY_TRIES", "100"),
        // A slow machine is not to be taken for a silent participant: a closed brake
        // asks for how long the customer has waited.
        ("orchestrator", "BRAKE_SILENCE_MS", "120000"),
        ("orchestrator", "FAILPOINTS", jumps),
        // Some carts are always in flight.
        ("payment", "FAILPOINTS", "before-transaction=sleep(200)"),
    ];
    let system = System::start(
        "clock_jumps",
        Options {
            environment: environment.leak(),
            // It looks at the clock without carts, too.
            services: all_but("orchestrator"),
            ..Options::default()
        },
    )
    .await;
    system.start_service("orchestrator").await;
    let jumped = async {
        for (what, times) in WRONG_TIMES {
            let sql = format!("SELECT count(*) FROM saga_transitions WHERE {times}");
            system
                .until(&format!("the clock is {what}"), async || {
                    let rows = system.query("orchestrator", &sql, &[]).await;
                    rows[0].get::<_, i64>(0) > 0
                })
                .await;
        }
    };
    let carts = system.load_during(Load::new(300, 20.0), jumped).await;
    system.assert_settled(&carts).await;
    // A deadline that passes early costs a command more, and no cart its order.
    let resent = "outcome=\"command_resent\"";
    let transitions = "checkout_transitions_total";
    let resent = system.counted("orchestrator", 0, transitions, resent);
    assert!(resent.await > 0.0, "no jump was noticed");
    for cart in &carts {
        if let Outcome::Failed(failed) = system.outcome(cart).await {
            let reason = failed.reason;
            assert_ne!(reason, FailureReason::TimedOut, "{}", failed.cart_id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_set_by_a_clock_that_was_ahead_does_not_hold_a_saga_up() {
    let environment = &[
        ("orchestrator", "REPLY_WAIT_FIRST_MS", "8000"),
        ("orchestrator", "REPLY_WAIT_MAX_MS", "8000"),
        ("orchestrator", "REPLY_TRIES", "2"),
        // The wait for the silent participant is to end.
        ("orchestrator", "BRAKE", "off"),
        ("orchestrator", "FAILPOINTS", "clock=return(3600000)"),
    ];
    let services = &["payment", "order"];
    let system = System::start(
        "clock_ahead",
        Options {
            services,
            environment,
            ..Options::default()
        },
    )
    .await;
    let cart = cart(&product(), 1, 700);
    system.publish(&cart).await;
    system.start_service("orchestrator").await;
    // Inventory is away and the clock an hour ahead: so is the deadline.
    let ahead = "SELECT count(*) FROM sagas WHERE wake_at > now() + interval '30 minutes'";
    let begin = Instant::now();
    while system.query("orchestrator", ahead, &[]).await[0].get::<_, i64>(0) == 0 {
        assert!(begin.elapsed() < PATIENCE, "the clock was never ahead");
        sleep(Duration::from_millis(20)).await;
    }
    // The clock is set right, and the saga gives up long before that hour.
    system.stop_instance("orchestrator", 0).await;
    let right = &[("FAILPOINTS", "")];
    system.add_instance_with("orchestrator", right).await;
    system.snapshot(&cart, SagaState::InDoubt).await;
    system.start_service("inventory").await;
    let Outcome::Failed(failed) = system.outcome(&cart).await else {
        panic!("it did not fail");
    };
    assert_eq!(failed.reason, FailureReason::TimedOut);
    system.assert_settled(&[cart]).await;
}
