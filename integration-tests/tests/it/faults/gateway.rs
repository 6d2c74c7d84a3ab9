//! A payment gateway that misbehaves: in the end its own books hold exactly the
//! money of the carts that were ordered.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::messages::CartCheckedOut;
use integration_tests::gateway::{Gateway, Misbehaviour};
use integration_tests::load::Load;
use integration_tests::{Options, System};
use uuid::Uuid;

const LOAD: Load = Load {
    carts: 100,
    rate: 15.0,
    seed: 1,
    products: 4,
};

/// Answers that took this long, in seconds, were on their way while an instance was
/// frozen: a bound of the histogram, longer than the gateway takes and shorter than the
/// session time-out after which another instance takes over.
const OVER_THE_FREEZE: &str = "le=\"5\"";

async fn start(name: &str, gateway: &Gateway, options: Options, timeout_ms: u64) -> System {
    let environment = vec![
        ("payment", "PAYMENT_GATEWAY", "stripe".to_owned()),
        ("payment", "STRIPE_URL", gateway.url.clone()),
        (
            "payment",
            "STRIPE_API_KEY",
            "sk_test_of_the_tests".to_owned(),
        ),
        ("payment", "GATEWAY_TIMEOUT_MS", timeout_ms.to_string()),
        ("payment", "GATEWAY_RETRY_MS", "100".to_owned()),
    ];
    System::start_with(name, options, environment).await
}

/// Waits until all is settled and fails unless the gateway holds the same money
/// as the payment service thinks.
async fn assert_books_agree(system: &System, gateway: &Gateway, carts: &[CartCheckedOut]) {
    system.assert_settled(carts).await;
    system.assert_no_dead_letters();
    let sql = "SELECT checkout_id, amount FROM authorizations WHERE state = 'AUTHORIZED'";
    let rows = system.query("payment", sql, &[]).await;
    let authorized: BTreeMap<Uuid, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(gateway.held(), authorized);
    assert!(!authorized.is_empty(), "no cart was paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_breaks_down_is_asked_again_and_holds_once() {
    let gateway = Gateway::start(Misbehaviour::BreaksDown).await;
    let system = start("gateway_500", &gateway, Options::default(), 10_000).await;
    let carts = system.load(LOAD).await;
    assert_books_agree(&system, &gateway, &carts).await;
    assert!(gateway.misbehaved() >= 80, "{}", gateway.misbehaved());
    assert!(gateway.repeated() >= gateway.misbehaved());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_answer_is_lost_is_asked_for_again_and_stays_one() {
    let gateway = Gateway::start(Misbehaviour::LosesAnswers).await;
    let system = start("gateway_lost", &gateway, Options::default(), 10_000).await;
    let carts = system.load(LOAD).await;
    assert_books_agree(&system, &gateway, &carts).await;
    assert!(gateway.misbehaved() >= 80, "{}", gateway.misbehaved());
    assert!(gateway.repeated() >= gateway.misbehaved());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_gateway_that_then_answers_twice_holds_once() {
    // The first request is given up after half a second and repeated; both are
    // carried out.
    let late = Misbehaviour::IsLate(Duration::from_millis(1_500));
    let gateway = Gateway::start(late).await;
    let system = start("gateway_silent", &gateway, Options::default(), 500).await;
    let carts = system.load(LOAD).await;
    assert_books_agree(&system, &gateway, &carts).await;
    assert!(gateway.misbehaved() >= 80, "{}", gateway.misbehaved());
    assert!(gateway.repeated() >= gateway.misbehaved());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_succeeds_after_the_deadline_is_given_up() {
    // The orchestrator gives up after some ten seconds.
    const WAITS: &[(&str, &str, &str)] = &[
        ("orchestrator", "REPLY_WAIT_FIRST_MS", "2000"),
        ("orchestrator", "REPLY_WAIT_MAX_MS", "4000"),
        ("orchestrator", "REPLY_TRIES", "3"),
        // It is to give up on those that are late, also when all others are done.
        ("orchestrator", "BRAKE", "off"),
    ];
    let late = Misbehaviour::IsLateForSome(Duration::from_secs(20));
    let gateway = Gateway::start(late).await;
    let options = Options {
        environment: WAITS,
        ..Options::default()
    };
    let system = start("gateway_late", &gateway, options, 60_000).await;
    let carts = system.load(LOAD).await;
    assert_books_agree(&system, &gateway, &carts).await;
    assert!(gateway.given_up() >= 20, "{} holds", gateway.given_up());
}

#[tokio::test(flavor = "multi_thread")]
async fn payment_killed_while_its_calls_are_out_asks_again_and_holds_once() {
    let late = Misbehaviour::IsLate(Duration::from_secs(3));
    let gateway = Gateway::start(late).await;
    let system = start("gateway_killed", &gateway, Options::default(), 30_000).await;
    let killed = async {
        system
            .until("calls are out", async || gateway.misbehaved() >= 20)
            .await;
        system.kill_instance("payment", 0).await;
        let before = gateway.repeated();
        system.start_service("payment").await;
        system
            .until("calls are repeated", async || gateway.repeated() > before)
            .await;
    };
    let carts = system.load_during(LOAD, killed).await;
    assert_books_agree(&system, &gateway, &carts).await;
}

/// Calls that an instance of payment got an answer to.
async fn answered(system: &System, index: usize) -> f64 {
    let calls = "payment_gateway_call_seconds_count";
    system.counted("payment", index, calls, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_that_both_get_the_gateways_answer_hold_once() {
    let late = Misbehaviour::IsLate(Duration::from_secs(3));
    let gateway = Gateway::start(late).await;
    let options = Options {
        instances: 2,
        ..Options::default()
    };
    let system = start("gateway_twice", &gateway, options, 30_000).await;
    system.wait_shared("payment").await;
    let paused = async {
        system
            .until("calls of the first instance are out", async || {
                let calls = "saga_calls_in_flight";
                system.counted("payment", 0, calls, "").await >= 5.0
            })
            .await;
        system.freeze_instance("payment", 0).await;
        let before = answered(&system, 1).await;
        // The other instance makes those of the frozen one as well, and gets answers.
        system
            .until("calls are repeated", async || gateway.repeated() > 0)
            .await;
        system.wait_alone("payment", 1).await;
        system
            .until("the other instance gets answers", async || {
                answered(&system, 1).await > before
            })
            .await;
        system.thaw_instance("payment", 0).await;
        system
            .until("the frozen instance gets its answers", async || {
                let calls = answered(&system, 0).await;
                let bucket = "payment_gateway_call_seconds_bucket";
                calls > system.counted("payment", 0, bucket, OVER_THE_FREEZE).await
            })
            .await;
        system.wait_shared("payment").await;
    };
    let carts = system.load_during(LOAD, paused).await;
    assert_books_agree(&system, &gateway, &carts).await;
}
