//! A participant that is away for long, or far behind, under load: the checkouts wait
//! for it.

use contracts::RecordType;
use flow::Step;
use integration_tests::load::Load;
use integration_tests::{Options, QUICK_BRAKE, System};
use tokio::time::{Duration, sleep};

/// How long payment is away.
const OUTAGE: Duration = Duration::from_secs(60);
/// As many probes as are sent in it, by [`QUICK_BRAKE`].
const MAX_PROBES: usize = 240;
/// Carts a second.
const RATE: f64 = 12.0;
/// Without a brake a checkout is given up sooner.
const LONGER_THAN_ITS_TRIES: Duration = Duration::from_secs(20);
/// Commands that may be out to one participant, where there are to be few.
const MAX_WAITING: i64 = 20;

/// What operators are shown of payment.
async fn payment(system: &System) -> serde_json::Value {
    let shown = system.get_json("orchestrator", "/participants").await;
    let of = shown.as_array().expect("a list");
    let payment = of.iter().find(|one| one["participant"] == "payments");
    payment.expect("payments").clone()
}

/// How many checkouts wait for payment with their command unsent.
async fn unsent(system: &System) -> i64 {
    let sql = "SELECT count(*) FROM sagas WHERE step = $1 AND progress ->> 'tries' = '0'";
    let step = Step::AuthorizePayment.name();
    system.query("orchestrator", sql, &[&step]).await[0].get(0)
}

async fn until_brake(system: &System, state: &str, level: &str) {
    let gauge = format!(r#"participant_brake{{participant="payments"}} {level}"#);
    let what = format!("the brake of payment is {state}");
    system
        .until(&what, async || {
            let metrics = system.get_text("orchestrator", "/metrics").await;
            metrics.contains(&gauge) && payment(system).await["state"] == state
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

/// Fails unless payment was held for this reason, and then let go step by step before it
/// was let go altogether.
fn assert_let_go_by_steps(log: &str, state: &str) {
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(r#""participant":"payments""#))
        .skip_while(|line| !line.contains("holding commands back"))
        .collect();
    let first = |words: &str| {
        let place = told.iter().position(|line| line.contains(words));
        place.unwrap_or_else(|| panic!("{words}: not logged of payment: {told:#?}"))
    };
    let held = first("holding commands back");
    let reason = format!(r#""state":"{state}""#);
    assert!(told[held].contains(&reason), "{}", told[held]);
    assert!(
        first("a participant answers again") < first("flow freely"),
        "all at once: {told:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_a_minute_fails_no_cart_and_sends_no_crowd() {
    let options = Options {
        environment: QUICK_BRAKE,
        ..Options::default()
    };
    // A machine that is busy for some seconds is no outage.
    let environment = [
        ("REPLY_WAIT_FIRST_MS", "2000"),
        ("REPLY_WAIT_MAX_MS", "8000"),
        ("REPLY_TRIES", "4"),
        ("BRAKE_SILENCE_MS", "10000"),
    ];
    let mut environment = environment
        .map(|(name, value)| ("orchestrator", name, value.to_owned()))
        .to_vec();
    // Nor does one that joins its group anew fall silent.
    for service in ["inventory", "order"] {
        environment.push((service, "SESSION_TIMEOUT_MS", "30000".to_owned()));
    }
    let system = System::start_with("brake", options, environment).await;
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
    assert!(carts.len() > 300, "{} carts", carts.len());
    // Those of the first seconds once or twice, and probes: not four for each cart and as
    // many compensations.
    let few = carts.len() + MAX_PROBES;
    assert!(sent < few, "{sent} commands during the outage, not {few}");
    assert!(sent > 60, "no probes: {sent} commands");

    system.assert_settled(&carts).await;
    system.assert_nobody_given_up();
    until_brake(&system, "OPEN", "0").await;
    let log = system.log("orchestrator", 0).await;
    assert_let_go_by_steps(&log, "CLOSED_SILENT");
    // The others were never suspected, neither under load nor when it ended.
    let held = log
        .lines()
        .filter(|line| line.contains("holding commands back"));
    for line in held {
        assert!(line.contains(r#""participant":"payments""#), "{line}");
    }
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_that_is_far_behind_is_held_until_it_has_caught_up() {
    let options = Options {
        environment: QUICK_BRAKE,
        ..Options::default()
    };
    let environment = vec![
        ("orchestrator", "BRAKE_MAX_WAITING", MAX_WAITING.to_string()),
        // Its silence is not what closes the brake.
        ("orchestrator", "BRAKE_SILENCE_MS", "600000".to_owned()),
        // Whoever is there answers in time, on a busy machine, too.
        ("orchestrator", "REPLY_WAIT_FIRST_MS", "2000".to_owned()),
        ("orchestrator", "REPLY_WAIT_MAX_MS", "8000".to_owned()),
        // It stays in its group, and goes on at once.
        ("payment", "SESSION_TIMEOUT_MS", "600000".to_owned()),
    ];
    let system = System::start_with("behind", options, environment).await;
    until_brake(&system, "OPEN", "0").await;
    system.freeze_instance("payment", 0).await;
    let falls_behind = async {
        until_brake(&system, "CLOSED_BEHIND", "2").await;
        sleep(LONGER_THAN_ITS_TRIES).await;
        // Those that were sent are answered at once when it goes on; others are let go.
        system
            .until("a crowd waits unsent", async || {
                unsent(&system).await >= MAX_WAITING
            })
            .await;
        until_brake(&system, "CLOSED_BEHIND", "2").await;
        let out = payment(&system).await["commandsOut"].as_i64();
        assert!(out > Some(MAX_WAITING), "{out:?} commands are out");
        system.thaw_instance("payment", 0).await;
    };
    let carts = system.load_during(Load::new(0, RATE), falls_behind).await;
    until_brake(&system, "OPEN", "0").await;
    system.assert_settled(&carts).await;
    system.assert_nobody_given_up();
    let log = system.log("orchestrator", 0).await;
    assert_let_go_by_steps(&log, "CLOSED_BEHIND");
    system.assert_no_dead_letters();
}
