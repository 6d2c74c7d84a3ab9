//! One cart, explained.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use contracts::messages::SagaState;
use contracts::{Message, RecordType, Topic, TraceContext};
use flow::Step;
use integration_tests::carts::cart;
use integration_tests::{IMPATIENT, Options, Outcome, PATIENCE, SERVICES, System, product};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use serde_json::Value;
use uuid::Uuid;

use super::{run, texts};

/// Records on the topics that have nothing to do with the cart: on all topics and their
/// dead letters together, each getting the same share. Another number is given as
/// `EXPLAIN_TEST_RECORDS`: 1000000 puts a million on the topics in all.
const FILLER: usize = 200_000;
/// What an explanation may read of them, however many there are. This is what makes it
/// quick, so this is judged always.
const READ_AT_MOST: u64 = 5_000;
/// How long an explanation may take. Judged where the number of records was given, on a
/// machine that does nothing else; in a usual run everything runs beside everything else,
/// and a time would say little.
const LIMIT: Duration = Duration::from_secs(2);

/// The number of records that was asked for.
fn given() -> Option<usize> {
    let number = std::env::var("EXPLAIN_TEST_RECORDS").ok()?;
    Some(number.parse().expect("EXPLAIN_TEST_RECORDS is a number"))
}

/// Fillers that are on their way to Kafka at once.
const AT_ONCE: usize = 500_000;

/// The types of the records in the timeline, in its order.
fn records(shown: &Value) -> Vec<String> {
    let timeline = shown["timeline"].as_array().expect("a timeline");
    timeline
        .iter()
        .filter(|entry| entry["kind"] == "record")
        .map(|entry| entry["type"].as_str().expect("a type").to_owned())
        .collect()
}

/// Explains a cart, with further flags; the run must end with this status.
async fn explained(system: &System, id: &str, more: &[&str], status: i32) -> Value {
    let arguments = [&["explain", id, "--json"][..], more].concat();
    run(system, &arguments).await.json(status)
}

/// Fills all topics, dead letters too, in turn, with records of no cart.
fn fill(system: &System) {
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set(
            "bootstrap.servers",
            &system.installation().bootstrap_servers,
        )
        .set("queue.buffering.max.messages", "1000000")
        .set("linger.ms", "50")
        .create::<ThreadedProducer<rdkafka::producer::DefaultProducerContext>>()
        .expect("a producer");
    let names = Topic::ALL.iter().flat_map(|topic| {
        let dlq = topic.is_consumed().then(|| system.names.dlq(*topic));
        [Some(system.names.name(*topic)), dlq].into_iter().flatten()
    });
    let names: Vec<&str> = names.collect();
    for number in 0..given().unwrap_or(FILLER) {
        let key = Uuid::new_v4().to_string();
        let record = BaseRecord::to(names[number % names.len()])
            .key(&key)
            .payload("filler");
        assert!(producer.send(record).is_ok(), "the queue is long enough");
        if number % AT_ONCE == AT_ONCE - 1 {
            producer.flush(PATIENCE).expect("delivered");
        }
    }
    producer.flush(PATIENCE).expect("delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_is_explained_from_few_of_many_records() {
    let system = System::start(
        "ctl_explain",
        Options {
            environment: IMPATIENT,
            ..Options::default()
        },
    )
    .await;
    // The services have to be past the filler, and not to read it.
    for service in SERVICES {
        system.stop(service).await;
    }
    fill(&system);
    for service in SERVICES {
        for row in system
            .query(service, "SELECT topic, partition FROM progress", &[])
            .await
        {
            let (topic, partition): (String, i32) = (row.get(0), row.get(1));
            let end = system.end(&topic, partition);
            let sql = format!(
                "UPDATE progress SET next_offset = {end}, last_record = NULL \
                 WHERE topic = '{topic}' AND partition = {partition}"
            );
            system.execute(service, &sql).await;
        }
    }
    for service in ["orchestrator", "inventory", "order"] {
        system.start_service(service).await;
    }
    let sku = product();
    system.set_stock(&sku, 5).await;
    let stuck = cart(&sku, 1, 700);
    let trace = TraceContext::new_root();
    system.publish_traced(&stuck, &trace).await;
    system.snapshot(&stuck, SagaState::Stuck).await;

    let id = stuck.cart_id.to_string();
    let begin = Instant::now();
    let shown = run(&system, &["explain", &id, "--json"]).await.json(0);
    let took = begin.elapsed();
    eprintln!("explained in {took:?}");
    assert!(given().is_none() || took < LIMIT, "{took:?}");
    let read = shown["recordsRead"].as_u64().expect("a number");
    assert!(read < READ_AT_MOST, "{read} records were read");
    assert_eq!(shown["state"], "STUCK", "{shown:#}");
    assert_eq!(shown["waitsFor"]["service"], "payment");
    assert_eq!(shown["waitsFor"]["command"], "payments.VoidAuthorization");
    let mut kinds = records(&shown);
    // A command that was sent again counts once.
    kinds.dedup();
    let begin = [
        "shopping.CartCheckedOut",
        "inventory.ReserveInventory",
        "inventory.InventoryReserved",
        "payments.AuthorizePayment",
    ];
    assert_eq!(kinds[..4], begin, "{kinds:?}");
    for kind in [
        "payments.VoidAuthorization",
        "ordering.SagaStuck",
        "ordering.SagaSnapshot",
    ] {
        assert!(kinds.iter().any(|found| found == kind), "{kind}: {kinds:?}");
    }
    // Payment never ran for this cart: it has the commands to read.
    let next = shown["next"].as_str().expect("text");
    assert!(next.contains("the payment service has"), "{next}");
    let lag = shown["lag"].as_array().expect("a list");
    assert!(
        lag.iter()
            .any(|lag| lag["service"] == "payment" && lag["unread"].as_i64() > Some(0)),
        "{lag:?}"
    );
    let commands = shown["commands"].as_array().expect("a list");
    assert!(
        commands.iter().any(|line| line
            .as_str()
            .is_some_and(|line| line.contains("sagas resolve"))),
        "{commands:?}"
    );
    for line in commands {
        let line = line.as_str().expect("text").replace("'…'", "why");
        let mut words: Vec<&str> = line.split(' ').skip(1).collect();
        words.extend(["--operator", "night shift", "--dry-run"]);
        let ran = run(&system, &words).await;
        assert_eq!(ran.status, Some(0), "{line}: {}", ran.errors);
    }
    let trace_id = format!("{:032x}", u128::from_be_bytes(trace.trace_id));
    for entry in shown["timeline"].as_array().expect("a timeline") {
        assert_eq!(entry["traceId"], trace_id.as_str(), "{entry:#}");
        if entry["kind"] == "record" {
            assert!(entry["content"].is_object(), "{entry:#}");
            assert!(entry["offset"].is_i64() && entry["at"].is_string());
        }
    }
    let tables = texts(&shown["rows"], "table");
    let known = ["sagas", "reservations", "authorizations", "orders"];
    let further = audit::further_services().into_iter().map(|_| "holdings");
    assert_eq!(tables, known.into_iter().chain(further).collect::<Vec<_>>());
    assert_eq!(shown["rows"][1]["rows"][0]["state"], "RESERVED");
    assert_eq!(shown["rows"][1]["rows"][0]["items"][0]["product_id"], sku);

    // Without the history only the ends of the topics are read, as far as is said.
    let little = ["--orchestrator-database-url=", "--search-records=20"];
    let ends = explained(&system, &id, &little, 2).await;
    let read = ends["recordsRead"].as_u64().expect("a number");
    assert!(read < READ_AT_MOST, "{read} records were read");

    // For people: the same, without colours, since this is no terminal.
    let ran = run(&system, &["explain", &id]).await;
    assert_eq!(ran.status, Some(0), "{}", ran.errors);
    assert!(!ran.out.contains('\x1b'), "{}", ran.out);
    for text in [
        "STUCK at AUTHORIZE_PAYMENT",
        "payments.VoidAuthorization",
        next,
    ] {
        assert!(ran.out.contains(text), "{text}: {}", ran.out);
    }

    // Payment comes back, and everything is undone.
    system.start_service("payment").await;
    assert!(matches!(system.outcome(&stuck).await, Outcome::Failed(_)));
    let shown = run(&system, &["explain", &id, "--json"]).await.json(0);
    let kinds = records(&shown);
    let place = |kind: &str| {
        let found = kinds.iter().position(|found| found == kind);
        found.unwrap_or_else(|| panic!("{kind}: {kinds:?}"))
    };
    assert!(place("payments.AuthorizationVoided") < place("inventory.ReleaseInventory"));
    assert!(place("inventory.ReleaseInventory") < place("inventory.InventoryReleased"));
    assert!(place("inventory.InventoryReleased") < place("ordering.CheckoutFailed"));
    assert_eq!(shown["state"], "FAILED");
    assert!(shown["next"].as_str().expect("text").contains("TIMED_OUT"));
    let read = shown["recordsRead"].as_u64().expect("a number");
    assert!(read < READ_AT_MOST, "{read} records were read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_that_never_became_a_checkout_is_explained() {
    let options = Options {
        // Each record once: nothing is sent again on a busy machine.
        environment: &[
            ("orchestrator", "REPLY_WAIT_FIRST_MS", "60000"),
            ("orchestrator", "REPLY_WAIT_MAX_MS", "60000"),
        ],
        ..Options::default()
    };
    let system = System::start("ctl_explain_none", options).await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let good = cart(&sku, 1, 700);
    system.publish(&good).await;
    assert!(matches!(system.outcome(&good).await, Outcome::Created(_)));
    let id = good.cart_id.to_string();
    let shown = run(&system, &["explain", &id, "--json"]).await.json(0);
    let of_step = |step: &Step| {
        let definition = step.definition();
        [definition.command.record, definition.success.record]
    };
    let mut expected = vec![RecordType::CartCheckedOut];
    expected.extend(Step::ALL.iter().flat_map(of_step));
    expected.push(RecordType::OrderCreated);
    let expected: Vec<_> = expected.iter().map(|record| record.full_name()).collect();
    assert_eq!(records(&shown), expected, "{shown:#}");
    assert_eq!(shown["notes"], Value::Array(Vec::new()), "{shown:#}");

    // A second cart with the event of the first is a dead letter.
    let mut second = cart(&sku, 1, 700);
    second.event_id = good.event_id;
    system.publish(&second).await;
    assert_eq!(system.refusal(&second).await, "CONTRACT_VIOLATED");
    let id = second.cart_id.to_string();
    let shown = run(&system, &["explain", &id, "--json"]).await.json(1);
    let next = shown["next"].as_str().expect("text");
    assert!(next.contains("CONTRACT_VIOLATED"), "{next}");
    assert!(next.contains("was used before"), "{next}");

    // One that the orchestrator has not read.
    system.stop("orchestrator").await;
    let waits = cart(&sku, 1, 700);
    system.publish(&waits).await;
    let id = waits.cart_id.to_string();
    let shown = run(&system, &["explain", &id, "--json"]).await.json(1);
    let next = shown["next"].as_str().expect("text");
    assert!(next.contains("offsets to read before it"), "{next}");

    // Kafka is away: what the databases have is told.
    let id = good.cart_id.to_string();
    let away = [
        "--kafka-bootstrap-servers",
        "127.0.0.1:1",
        "--timeout-seconds",
        "15",
    ];
    let shown = run(&system, &[&["explain", &id, "--json"], &away[..]].concat()).await;
    let shown = shown.json(1);
    assert_eq!(shown["state"], "COMPLETED", "{shown:#}");
    assert_eq!(shown["allAnswered"], false);
    let tables = shown["rows"].as_array().expect("a list");
    let orders = tables.iter().find(|rows| rows["table"] == "orders");
    let order = &orders.expect("a table of orders")["rows"][0];
    assert_eq!(order["state"], "RECORDED", "{shown:#}");
    let notes = shown["notes"].to_string();
    assert!(notes.contains("Kafka was not asked"), "{notes}");

    // Nobody knows it.
    let nobody = Uuid::new_v4().to_string();
    let shown = run(&system, &["explain", &nobody, "--json"]).await.json(1);
    let next = shown["next"].as_str().expect("text");
    assert!(next.contains("No checkout of this cart is known"), "{next}");
}

/// The only note of an explanation.
fn note(shown: &Value) -> &str {
    match shown["notes"].as_array().map(Vec::as_slice) {
        Some([note]) => note.as_str().expect("text"),
        _ => panic!("one note: {shown:#}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_is_explained_while_registry_or_the_orchestrators_database_is_away() {
    let system = System::start("ctl_explain_away", Options::default()).await;
    let sku = product();
    system.set_stock(&sku, 5).await;
    let good = cart(&sku, 1, 700);
    // With headers, which name the types of records that are not decoded.
    system
        .publish_traced(&good, &TraceContext::new_root())
        .await;
    assert!(matches!(system.outcome(&good).await, Outcome::Created(_)));
    let id = good.cart_id.to_string();
    let whole = explained(&system, &id, &[], 0).await;
    assert_eq!(whole["orchestratorAnswered"], true);
    assert_eq!(whole["allAnswered"], true);
    let kinds = records(&whole);

    // The registry is away, or takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent_url = format!("http://{}", silent.local_addr().expect("an address"));
    for url in ["http://127.0.0.1:1", silent_url.as_str()] {
        let soon = "--schema-registry-timeout-ms=500";
        let shown = explained(&system, &id, &["--schema-registry-url", url, soon], 1).await;
        assert_eq!(shown["state"], "COMPLETED", "{shown:#}");
        assert_eq!(shown["allAnswered"], false);
        assert_eq!(shown["rows"], whole["rows"]);
        assert_eq!(records(&shown), kinds);
        for entry in shown["timeline"].as_array().expect("a timeline") {
            if entry["kind"] == "record" {
                assert_eq!(entry["content"], Value::Null, "{entry:#}");
                assert_eq!(entry["remark"], "not decoded: see the note", "{entry:#}");
            }
        }
        let (note, undecoded) = (note(&shown), format!("{} records", kinds.len()));
        for part in [url, undecoded.as_str(), "check its URL"] {
            assert!(note.contains(part), "{part}: {note}");
        }
    }
    // It was asked once for all records: what it got waits to be let in.
    silent.set_nonblocking(true).expect("a setting");
    let asked = std::iter::from_fn(|| silent.accept().ok()).count();
    assert_eq!(asked, 1);

    // The orchestrator's database is not named, or away.
    for url in ["", "postgresql://nobody@127.0.0.1:1/none"] {
        let database = format!("--orchestrator-database-url={url}");
        let shown = explained(&system, &id, &[&database], 2).await;
        assert_eq!(shown["orchestratorAnswered"], false);
        assert_eq!(shown["allAnswered"], false);
        assert_eq!(shown["state"], Value::Null, "{shown:#}");
        let of = |kinds: &[String]| kinds.iter().cloned().collect::<BTreeSet<_>>();
        assert_eq!(of(&records(&shown)), of(&kinds));
        for entry in shown["timeline"].as_array().expect("a timeline") {
            assert!(entry["content"].is_object(), "{entry:#}");
        }
        // The other databases, and not the saga.
        let rows = whole["rows"].as_array().expect("a list");
        assert_eq!(shown["rows"].as_array().expect("a list")[..], rows[1..]);
        assert!(texts(&shown["lag"], "service").contains(&"payment".to_owned()));
        let next = shown["next"].as_str().expect("text");
        assert!(next.contains("cannot be told"), "{next}");
        let note = note(&shown);
        assert!(note.contains("orchestrator"), "{note}");
        assert_eq!(note.contains("ORCHESTRATOR_DATABASE_URL"), url.is_empty());

        let ran = run(&system, &["explain", &id, &database]).await;
        assert_eq!(ran.status, Some(2), "{}", ran.errors);
        for text in ["whether it has a saga is not known", "cannot be told", note] {
            assert!(ran.out.contains(text), "{text}: {}", ran.out);
        }
    }

    // Kafka too: what the participants know by the cart.
    let away = [
        "--orchestrator-database-url=",
        "--kafka-bootstrap-servers=127.0.0.1:1",
        "--timeout-seconds=15",
    ];
    let shown = explained(&system, &id, &away, 2).await;
    let rows = whole["rows"].as_array().expect("a list");
    assert_eq!(shown["rows"].as_array().expect("a list")[..], rows[1..]);
    let next = shown["next"].as_str().expect("text");
    assert!(next.contains("could not be looked for"), "{next}");

    // A cart service may have put the request into any partition.
    system.stop("orchestrator").await;
    let anywhere = cart(&sku, 1, 700);
    let request = Message::from(anywhere.clone());
    let topic = Topic::ShoppingCheckouts;
    let partitions = system.partitions(topic).await;
    assert!(partitions > 1, "one says nothing");
    let partitions: BTreeSet<i64> = (0_i32..).take(partitions).map(i64::from).collect();
    for partition in &partitions {
        let partition = i32::try_from(*partition).expect("a partition");
        system.publish_at(topic, partition, &request).await;
    }
    let (id, away) = (anywhere.cart_id.to_string(), away[0]);
    let shown = explained(&system, &id, &[away], 2).await;
    let timeline = shown["timeline"].as_array().expect("a timeline");
    let found = timeline
        .iter()
        .filter_map(|entry| entry["partition"].as_i64());
    assert_eq!(found.collect::<BTreeSet<_>>(), partitions, "{shown:#}");
}
