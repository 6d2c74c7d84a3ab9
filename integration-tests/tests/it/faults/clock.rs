//! Clocks that jump.

use contracts::messages::{FailureReason, SagaState};
use integration_tests::carts::cart;
use integration_tests::load::Load;
use integration_tests::{Options, Outcome, PATIENCE, System, product};
use tokio::time::{Duration, Instant, sleep};

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_to_and_fro_by_hours_ends_no_cart_wrongly() {
    // In looks at the clock: at least five a second, and one for each batch.
    let jumps = "clock=60*off->80*return(3600000)->80*return(-3600000)->80*return(86400000)->off";
    let environment = vec![
        ("orchestrator", "REPLY_WAIT_FIRST_MS", "200"),
        ("orchestrator", "REPLY_WAIT_MAX_MS", "1000"),
        ("orchestrator", "REPLY_TRIES", "100"),
        ("orchestrator", "FAILPOINTS", jumps),
    ];
    let system = System::start(
        "clock_jumps",
        Options {
            environment: environment.leak(),
            ..Options::default()
        },
    )
    .await;
    let carts = system.load(Load::new(300, 20.0)).await;
    system.assert_settled(&carts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_set_by_a_clock_that_was_ahead_does_not_hold_a_saga_up() {
    let environment = &[
        ("orchestrator", "REPLY_WAIT_FIRST_MS", "8000"),
        ("orchestrator", "REPLY_WAIT_MAX_MS", "8000"),
        ("orchestrator", "REPLY_TRIES", "2"),
        // The wait for the silent participant is to end.
        ("orchestrator", "BRAKE", "off"),
        (
            "orchestrator",
            "FAILPOINTS",
            "clock=10*return(3600000)->off",
        ),
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
    system.snapshot(&cart, SagaState::InDoubt).await;
    system.start_service("inventory").await;
    let Outcome::Failed(failed) = system.outcome(&cart).await else {
        panic!("it did not fail");
    };
    assert_eq!(failed.reason, FailureReason::TimedOut);
    system.assert_settled(&[cart]).await;
}
