//! Many sagas looked at, and one or many acted on.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Stdio;

use contracts::Message;
use contracts::messages::{CartCheckedOut, SagaState};
use integration_tests::carts::cart;
use integration_tests::{IMPATIENT, Network, Options, Outcome, Proxy, System, all_but, product};
use serde_json::Value;
use stack::{Progress, Service};
use tokio::process::Command;
use uuid::Uuid;

use super::{run, texts};

fn payment_is_away() -> Options {
    Options {
        services: all_but("payment"),
        environment: IMPATIENT,
        ..Options::default()
    }
}

async fn stuck_carts(system: &System, number: usize) -> Vec<CartCheckedOut> {
    let sku = product();
    system.set_stock(&sku, 100).await;
    let carts: Vec<_> = (0..number).map(|_| cart(&sku, 1, 700)).collect();
    system.publish_all(&carts.iter().collect::<Vec<_>>()).await;
    for cart in &carts {
        system.snapshot(cart, SagaState::Stuck).await;
    }
    carts
}

fn ids(carts: &[CartCheckedOut]) -> BTreeSet<String> {
    carts.iter().map(|cart| cart.cart_id.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sagas_are_listed_by_filter_and_in_pages() {
    let system = System::start("ctl_sagas_list", payment_is_away()).await;
    let stuck = stuck_carts(&system, 5).await;
    let nowhere = cart(&product(), 1, 700);
    system.publish(&nowhere).await;
    assert!(matches!(system.outcome(&nowhere).await, Outcome::Failed(_)));

    let list = async |arguments: &[&str]| -> Value {
        let arguments = [&["sagas", "list", "--json"], arguments].concat();
        run(&system, &arguments).await.json(0)
    };
    let carts = |page: &Value| -> BTreeSet<String> {
        texts(&page["sagas"], "cartId").into_iter().collect()
    };
    // What has not ended; the failed one only where it is asked for.
    assert_eq!(carts(&list(&[]).await), ids(&stuck));
    let failed = list(&["--ended", "--failure", "out_of_stock"]).await;
    assert_eq!(carts(&failed), ids(std::slice::from_ref(&nowhere)));
    assert_eq!(carts(&list(&["--state", "stuck"]).await), ids(&stuck));
    let at_payment = ["--step", "AUTHORIZE_PAYMENT", "--older-than", "0s"];
    assert_eq!(carts(&list(&at_payment).await), ids(&stuck));
    assert!(carts(&list(&["--step", "CREATE_ORDER"]).await).is_empty());
    assert!(carts(&list(&["--older-than", "1d"]).await).is_empty());

    // Pages, by cart, without a gap or a repeat.
    let mut paged = Vec::new();
    let mut after = Uuid::nil().to_string();
    loop {
        let page = list(&["--limit", "2", "--after", &after]).await;
        let of_page = texts(&page["sagas"], "cartId");
        assert!(of_page.len() <= 2);
        paged.extend(of_page);
        match page["after"].as_str() {
            Some(cart) => after = cart.to_owned(),
            None => break,
        }
    }
    assert_eq!(paged.len(), stuck.len(), "{paged:?}");
    let mut sorted = paged.clone();
    sorted.sort();
    assert_eq!(paged, sorted);
    assert_eq!(paged.into_iter().collect::<BTreeSet<_>>(), ids(&stuck));

    let watched = run(&system, &["sagas", "watch", "--looks", "2", "--json"]).await;
    assert_eq!(watched.status, Some(0), "{}", watched.errors);
    assert_eq!(watched.out.lines().count(), 2, "{}", watched.out);
    let wrong = run(&system, &["sagas", "list", "--state", "lost"]).await;
    assert_eq!(wrong.status, Some(2));
    assert!(wrong.errors.contains("COMPENSATING"), "{}", wrong.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_fails_ends_no_watch_but_an_address_that_cannot_be_right_does() {
    let system = System::shared().await;
    let watch = async |database: &str| {
        let database = format!("--orchestrator-database-url={database}");
        let watch = [
            "sagas",
            "watch",
            "--looks",
            "2",
            "--every-seconds",
            "1",
            "--json",
        ];
        run(system, &[&watch[..], &[database.as_str()]].concat()).await
    };
    let away = watch("postgresql://nobody@127.0.0.1:1/none").await;
    assert_eq!(away.status, Some(1), "{} {}", away.out, away.errors);
    let looks: Vec<Value> = away
        .out
        .lines()
        .map(|look| serde_json::from_str(look).expect("JSON"))
        .collect();
    assert_eq!(looks.len(), 2, "{}", away.out);
    for look in looks {
        let error = look["error"].as_str().expect("an error");
        assert!(error.contains("orchestrator database"), "{error}");
    }
    let url = system.installation().database_url(Service::Orchestrator);
    for (database, says) in [
        ("", "ORCHESTRATOR_DATABASE_URL"),
        ("nowhere://", "the URL of the orchestrator database"),
        (&format!("{url}_nowhere"), "does not exist"),
    ] {
        let ran = watch(database).await;
        assert_eq!(ran.status, Some(2), "{database}: {}", ran.out);
        assert!(ran.errors.contains(says), "{database}: {}", ran.errors);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_to_read_how_far_a_command_is() {
    // A database that lets nobody in: for two seconds it is told that it is waited for.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let database = format!("--orchestrator-database-url=postgresql://nobody@{address}/none");
    let binaries = stack::binaries(&Progress::detect()).await.expect("built");
    let mut watch = Command::new(binaries.named("checkoutctl"))
        .args(["sagas", "watch", "--looks", "1", "--json"])
        .args(["--timeout-seconds", "2", &database])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    // As a `head` does that has read enough.
    drop(watch.stderr.take());
    let ended = watch.wait_with_output().await.expect("it ended");
    assert_eq!(ended.status.code(), Some(1));
    let look: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    let error = look["error"].as_str().expect("an error");
    assert!(error.contains("orchestrator database"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_of_a_newer_version_is_listed_and_it_alone_is_refused() {
    let system = System::start("ctl_sagas_newer", payment_is_away()).await;
    let stuck = stuck_carts(&system, 2).await;
    let newer = stuck[0].cart_id.to_string();
    // A version that has one more step has written it.
    system.stop("orchestrator").await;
    let step = "step = 'SHIP_PARCEL', \
                progress = (progress::jsonb || '{\"step\": \"SHIP_PARCEL\"}')::json";
    let update = format!("UPDATE sagas SET {step} WHERE cart_id = '{newer}'");
    system.execute("orchestrator", &update).await;

    let shown = run(&system, &["sagas", "list", "--json"]).await.json(0);
    let listed: BTreeSet<String> = texts(&shown["sagas"], "cartId").into_iter().collect();
    assert_eq!(listed, ids(&stuck), "{shown:#}");
    for saga in shown["sagas"].as_array().expect("a list") {
        assert_eq!(saga["state"], "STUCK", "{shown:#}");
        assert!(saga["updatedAt"].is_string(), "{shown:#}");
        let is_newer = saga["cartId"] == newer.as_str();
        assert_eq!(saga["step"] == "SHIP_PARCEL", is_newer, "{shown:#}");
        let note = saga["note"].as_str().unwrap_or_default();
        assert_eq!(note.contains("SHIP_PARCEL"), is_newer, "{shown:#}");
    }

    let why = [
        "--reason",
        "the test",
        "--operator",
        "night shift",
        "--json",
    ];
    let rehearse = ["sagas", "retry", "--state", "stuck", "--dry-run"];
    let shown = run(&system, &[&rehearse[..], &why].concat()).await.json(1);
    for saga in shown["sagas"].as_array().expect("a list") {
        let expected = match saga["cartId"] == newer.as_str() {
            true => "refused",
            false => "would_be_operated",
        };
        assert_eq!(saga["result"], expected, "{shown:#}");
    }
    // Nobody waits for an answer of it: it was not asked.
    let abandon = ["sagas", "abandon", &newer];
    let shown = run(&system, &[&abandon[..], &why].concat()).await.json(1);
    assert_eq!(texts(&shown["sagas"], "result"), ["refused"], "{shown:#}");
    let detail = shown["sagas"][0]["detail"].as_str().expect("text");
    assert!(detail.contains("orchestrator's version"), "{detail}");

    // It is explained as far as every version understands it.
    let explain = ["explain", &newer];
    let shown = run(&system, &[&explain[..], &["--json"]].concat()).await;
    let shown = shown.json(1);
    assert_eq!(shown["orchestratorAnswered"], true, "{shown:#}");
    assert_eq!(shown["state"], "STUCK", "{shown:#}");
    assert_eq!(shown["step"], "SHIP_PARCEL", "{shown:#}");
    let next = shown["next"].as_str().expect("text");
    assert!(next.contains("orchestrator's version"), "{next}");
    assert_eq!(shown["rows"][0]["table"], "sagas", "{shown:#}");
    let outcomes = texts(&shown["timeline"], "outcome");
    assert!(outcomes.contains(&"stuck".to_owned()), "{shown:#}");
    let kinds = texts(&shown["timeline"], "type");
    for kind in ["shopping.CartCheckedOut", "ordering.SagaStuck"] {
        assert!(kinds.contains(&kind.to_owned()), "{kind}: {kinds:?}");
    }
    let ran = run(&system, &explain).await;
    assert_eq!(ran.status, Some(1), "{}", ran.errors);
    for text in ["STUCK at SHIP_PARCEL since", next] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_or_many_sagas_are_acted_on_with_a_result_for_each() {
    let system = System::start("ctl_sagas_act", payment_is_away()).await;
    let stuck = stuck_carts(&system, 4).await;
    let first = stuck[0].cart_id.to_string();
    let why = ["--reason", "the test", "--operator", "night shift"];
    let act = async |arguments: &[&str]| {
        let arguments = [&["sagas"], arguments, &why, &["--json"]].concat();
        run(&system, &arguments).await
    };
    let results = |shown: &Value| texts(&shown["sagas"], "result");
    let operations = async || -> i64 {
        let sql = "SELECT count(*) FROM saga_transitions WHERE topic = 'ordering.operations'";
        system.query("orchestrator", sql, &[]).await[0].get(0)
    };

    // A dry run tells, and publishes nothing.
    let shown = act(&["retry", "--state", "stuck", "--dry-run"])
        .await
        .json(0);
    assert_eq!(results(&shown), vec!["would_be_operated"; 4], "{shown:#}");
    let detail = shown["sagas"][0]["detail"].as_str().expect("text");
    assert!(detail.contains("VoidAuthorization"), "{detail}");

    // Carts that are named and not like the filters are left out, and told.
    let second = stuck[1].cart_id.to_string();
    for (filter, says) in [
        (["--state", "in_doubt"], "it is STUCK"),
        (["--step", "CREATE_ORDER"], "it is at AUTHORIZE_PAYMENT"),
        (["--older-than", "1d"], "it began at "),
        (["--failure", "out_of_stock"], "it fails with TIMED_OUT"),
    ] {
        let named = ["retry", "--dry-run", &first, &second];
        let shown = act(&[&named[..], &filter].concat()).await.json(1);
        assert!(results(&shown).is_empty(), "{shown:#}");
        let left_out = shown["leftOut"].as_array().expect("a list");
        assert_eq!(left_out.len(), 2, "{shown:#}");
        for one in left_out {
            let why = one["why"].as_str().expect("text");
            assert!(why.starts_with(says), "{says}: {shown:#}");
        }
    }
    let named = ["retry", "--dry-run", &first, "--state", "stuck"];
    let shown = act(&named).await.json(0);
    assert_eq!(results(&shown), ["would_be_operated"], "{shown:#}");

    // Without reason, evidence or a filter nothing is done.
    for (line, says) in [
        (vec!["sagas", "retry", &first], "--reason"),
        (
            vec!["sagas", "retry", "--reason", "x", "--operator", "y"],
            "filter",
        ),
        (
            vec![
                "sagas",
                "resolve",
                &first,
                "--reason",
                "x",
                "--operator",
                "y",
            ],
            "--evidence",
        ),
        (
            vec![
                "sagas",
                "retry",
                "--state",
                "stuck",
                "--at-most",
                "3",
                "--reason",
                "x",
                "--operator",
                "y",
            ],
            "more than 3",
        ),
    ] {
        let ran = run(&system, &line).await;
        assert_eq!(ran.status, Some(2), "{line:?}: {}", ran.errors);
        assert!(ran.errors.contains(says), "{line:?}: {}", ran.errors);
    }
    assert_eq!(operations().await, 0, "nothing was published so far");

    // Many by a filter, with what the history says of each.
    let shown = act(&["retry", "--state", "stuck"]).await.json(0);
    assert_eq!(results(&shown), vec!["operated"; 4], "{shown:#}");
    assert_eq!(operations().await, 4);

    // What a saga refuses, and a cart that nobody knows.
    let nobody = Uuid::new_v4().to_string();
    let shown = act(&["compensate", &first, &nobody]).await.json(1);
    assert_eq!(results(&shown), ["refused"], "{shown:#}");
    assert_eq!(shown["sagas"][0]["detail"], "already_compensating");
    assert_eq!(shown["unknown"][0], nobody.as_str(), "{shown:#}");

    let resolve = [
        "resolve",
        &first,
        "--step",
        "AUTHORIZE_PAYMENT",
        "--evidence",
        "the gateway shows no hold",
    ];
    let shown = act(&resolve).await.json(0);
    assert_eq!(shown["sagas"][0]["step"], "RESERVE_INVENTORY", "{shown:#}");
    assert!(matches!(
        system.outcome(&stuck[0]).await,
        Outcome::Failed(_)
    ));
    let shown = act(&["abandon", &second]).await.json(0);
    assert_eq!(shown["sagas"][0]["state"], "ABANDONED", "{shown:#}");
    // Payment never ran: its database has nothing that could be asked.
    let shown = run(&system, &["explain", &second, "--json"]).await.json(1);
    let timeline = shown["timeline"].to_string();
    assert!(
        timeline.contains("ABANDON by night shift: the test"),
        "{timeline}"
    );

    // No answer: the orchestrator is away.
    system.stop("orchestrator").await;
    let third = stuck[2].cart_id.to_string();
    let shown = act(&["retry", &third, "--wait-seconds", "1"]).await.json(1);
    assert_eq!(results(&shown), ["unanswered"], "{shown:#}");

    // Nor does the database, from when the input is published on.
    let url = system.installation().database_url(Service::Orchestrator);
    let (user, rest) = url.rsplit_once('@').expect("a user");
    let (address, name) = rest.split_once('/').expect("a name");
    let proxy = Proxy::start(address).await;
    let through = format!(
        "--orchestrator-database-url={user}@{}/{name}",
        proxy.address()
    );
    let fourth = stuck[3].cart_id;
    let freeze = async {
        let published = system.recorder.wait_for("its second input", |seen| {
            let of_cart = seen.iter().filter(|seen| match &seen.message {
                Some(Message::SagaOperation(operation)) => operation.cart_id == fourth,
                _ => false,
            });
            (of_cart.count() == 2).then_some(())
        });
        published.await;
        proxy.set(Network::Frozen);
    };
    let fourth = fourth.to_string();
    let limits = ["--wait-seconds", "600", "--timeout-seconds", "15"];
    let retry = [&["retry", &fourth, &through][..], &limits].concat();
    let (ran, ()) = tokio::join!(act(&retry), freeze);
    let shown = ran.json(1);
    assert_eq!(results(&shown), ["unanswered"], "{shown:#}");
    let detail = shown["sagas"][0]["detail"].as_str().expect("text");
    for says in [
        "published, but",
        "the orchestrator database did not answer",
        "checkoutctl explain",
    ] {
        assert!(detail.contains(says), "{says}: {detail}");
    }
}
