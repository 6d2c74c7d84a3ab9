//! A participant that is away for long, under load: the checkouts wait for it.

use contracts::RecordType;
use contracts::messages::FailureReason;
use integration_tests::load::Load;
use integration_tests::{Options, Outcome, QUICK_BRAKE, System};
use tokio::time::{Duration, sleep};

/// How long payment is away.
const OUTAGE: Duration = Duration::from_secs(60);
/// Carts a second.
const RATE: f64 = 12.0;
async fn brake_of_payment(system: &System) -> String {
    let shown = system.get_json("orchestrator", "/participants").await;
    let of = shown.as_array().expect("a list");
    let payment = of.iter().find(|one| one["participant"] == "payments");
    let state = payment.expect("payments")["state"].as_str();
    state.expect("a state").to_owned()
}

async fn until_brake(system: &System, state: &str, level: &str) {
    let gauge = format!(r#"participant_brake{{participant="payments"}} {level}"#);
    let what = format!("the brake of payment is {state}");
    system
        .wait_until(&what, async || {
            let metrics = system.get_text("orchestrator", "/metrics").await;
            metrics.contains(&gauge) && brake_of_payment(system).await == state
        })
        .await;
}

fn commands_to_payment(system: &System) -> usize {
    let all = system.recorder.all();
    let commands = all.iter().filter(|seen| {
        matches!(
            seen.record_type(),
            Some(RecordType::AuthorizePayment | RecordType::VoidAuthorization)
        )
    });
    commands.count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_a_minute_fails_no_cart_and_sends_no_crowd() {
    let options = Options {
        environment: QUICK_BRAKE,
        ..Options::default()
    };
    let system = System::start("brake", options).await;
    let mut sent = 0;
    let outage = async {
        until_brake(&system, "OPEN", "0").await;
        // There is a crowd to hold back by then.
        system
            .until("payment is busy", async || {
                commands_to_payment(&system) >= 50
            })
            .await;
        let payment = system.instance("payment", 0).await;
        payment.process.pause().expect("paused");
        let before = commands_to_payment(&system);
        sleep(OUTAGE).await;
        until_brake(&system, "CLOSED_SILENT", "2").await;
        sent = commands_to_payment(&system) - before;
        payment.process.resume().expect("resumed");
    };
    let carts = system.load_during(Load::new(0, RATE), outage).await;
    assert!(carts.len() > 700, "{} carts", carts.len());
    // Those of the first seconds once or twice, and probes: not three for each of the
    // 700 and as many compensations.
    assert!(sent < 450, "{sent} commands during the outage");
    assert!(sent > 60, "no probes: {sent} commands");

    system.assert_settled(&carts).await;
    for cart in &carts {
        if let Outcome::Failed(failed) = system.outcome(cart).await {
            let reason = failed.reason;
            assert!(
                matches!(
                    reason,
                    FailureReason::OutOfStock | FailureReason::PaymentDeclined
                ),
                "{reason:?}: {}",
                failed.cart_id
            );
        }
    }
    until_brake(&system, "OPEN", "0").await;
    // The others were never suspected, neither under load nor when it ended.
    let log = system.log("orchestrator", 0).await;
    let held = log
        .lines()
        .filter(|line| line.contains("holding commands back"));
    for line in held {
        assert!(line.contains(r#""participant":"payments""#), "{line}");
    }
    system.assert_no_dead_letters();
}
