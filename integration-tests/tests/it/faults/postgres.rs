//! A PostgreSQL that stops, breaks off, refuses, or is slow. Each service waits
//! and goes on by itself; no record is to blame, so none is a dead letter.

use std::time::Duration;

use contracts::RecordType;
use integration_tests::load::Load;
use integration_tests::sabotage::{Harm, Rival, Sabotage};
use integration_tests::{EVERY, Lost, Network, Options, PATIENCE, SERVICES, Seen, System};
use stack::PartKind;
use tokio::time::{Instant, sleep, sleep_until};

/// How long a fault lasts where nothing else says when it has been enough.
const OUTAGE: Duration = Duration::from_secs(20);
/// Sabotages a service's database, until that has been met so often.
async fn sabotage(system: &System, service: &str, harm: Harm, times: i64) {
    let sabotage = Sabotage::begin(system, service, harm).await;
    system
        .until(&format!("{service} meets its sabotage"), async || {
            sabotage.met().await >= times
        })
        .await;
    sabotage.end().await;
}

/// Sabotages all databases at once, each until it has been met so often.
async fn sabotage_all(system: &System, harm: Harm, times: i64) {
    let all = SERVICES
        .iter()
        .map(|service| sabotage(system, service, harm, times));
    futures::future::join_all(all).await;
}

/// Waits until carts come through.
async fn under_way(system: &System) {
    orders(system, 1).await;
}

/// Waits until carts come through that have not yet.
async fn one_more_order(system: &System) {
    let so_far = system.recorder.all();
    let so_far = so_far.iter().filter(|seen| is_order(seen)).count();
    orders(system, so_far + 1).await;
}

fn is_order(seen: &Seen) -> bool {
    seen.record_type() == Some(RecordType::OrderCreated)
}

async fn orders(system: &System, number: usize) {
    let enough = |seen: &[Seen]| {
        let orders = seen.iter().filter(|seen| is_order(seen));
        (orders.count() >= number).then_some(())
    };
    system.recorder.wait_for("an order", enough).await;
}

/// How often a service has had to wait for what it stands on.
async fn waits(system: &System, service: &str) -> f64 {
    let transient = "kind=\"transient\"";
    let faults = system.counted(service, 0, "saga_faults_total", transient);
    faults.await
}

/// How long a database hangs.
const HANG: Duration = Duration::from_secs(10);

/// A system of its own, with one broker: PostgreSQL is to be stopped.
async fn with_own_parts(name: &str) -> System {
    let options = Options {
        own_brokers: 1,
        ..Options::default()
    };
    System::start(name, options).await
}

/// Some seconds of carts, and more while the fault lasts.
const LOAD: Load = Load {
    carts: 100,
    rate: 15.0,
    seed: 1,
    products: 4,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_server_that_is_shut_down_for_20_s_is_waited_for() {
    let system = with_own_parts("shut_down").await;
    let outage = async {
        under_way(&system).await;
        let server = system.parts(PartKind::Postgres)[0];
        let process = server.process().expect("a process");
        process.interrupt().expect("asked for a fast shutdown");
        process.wait_ended(PATIENCE).await.expect("it stopped");
        sleep(OUTAGE).await;
        process.start_again().await.expect("started");
        server.wait_ready(PATIENCE).await.expect("it is back");
    };
    let carts = system.load_during(LOAD, outage).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_server_that_crashes_recovers_every_commit() {
    let system = with_own_parts("crashed").await;
    let crashes = async {
        let server = system.parts(PartKind::Postgres)[0];
        let process = server.process().expect("a process");
        for _ in 0..3 {
            one_more_order(&system).await;
            process.kill9().expect("killed");
            process.wait_ended(PATIENCE).await.expect("it ended");
            // Its children notice that it is gone; until then they keep the
            // data folder, and a new server ends at once.
            system
                .until("it starts again", async || {
                    process.start_again().await.expect("started");
                    server.wait_ready(PATIENCE).await.is_ok()
                })
                .await;
        }
    };
    let carts = system.load_during(LOAD, crashes).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}

/// Open transactions of each service that are cut off.
const CUTS: usize = 5;

/// Cuts connections of a service, each in the middle of a batch's transaction: the batch
/// has read, and what it writes waits for a table that the test holds.
async fn cut_transactions(system: &System, service: &str) {
    // Rows are still read, and locked.
    const HOLD: &str = "BEGIN; LOCK TABLE progress IN SHARE MODE";
    // A batch that only tidies up has not read: its transaction begins with this statement.
    const CUT: &str = "
        SELECT xact_start < query_start, pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock'
          AND starts_with(query, 'WITH part_0')";
    const MOVED: &str = "SELECT sum(revision)::int8 FROM progress";
    let (holder, client) = (system.connect(service).await, system.connect(service).await);
    let moved = async || -> i64 {
        let row = client.query_one(MOVED, &[]).await;
        row.expect("an answer").get(0)
    };
    let begin = Instant::now();
    let before = waits(system, service).await;
    let mut cut: Vec<bool> = Vec::new();
    let in_transaction = |cut: &[bool]| cut.iter().filter(|has_read| **has_read).count();
    while in_transaction(&cut) < CUTS {
        assert!(begin.elapsed() < PATIENCE, "{service}: {cut:?}");
        holder.batch_execute(HOLD).await.expect("it is held");
        let so_far = cut.len();
        let what = format!("a batch of {service} is cut off");
        system
            .until(&what, async || {
                let rows = client.query(CUT, &[]).await.expect("an answer");
                let done = rows.iter().filter(|row| row.get(1));
                cut.extend(done.map(|row| row.get::<_, bool>(0)));
                cut.len() > so_far
            })
            .await;
        // Between two cuts something has to get through.
        let stood = moved().await;
        holder.batch_execute("ROLLBACK").await.expect("let go");
        let what = format!("a batch of {service} gets through");
        system.until(&what, async || moved().await > stood).await;
    }
    let met = waits(system, service).await - before;
    assert!(met >= cut.len() as f64, "{service}: {met} of {cut:?}");
    let log = system.log(service, 0).await;
    // Terminating connection due to administrator command.
    let told = log.matches("57P01").count();
    assert!(told >= cut.len(), "{service}: {told} of {cut:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_in_the_middle_of_transactions_lose_nothing() {
    let options = Options {
        // Every batch reads before it writes, and its transaction is open meanwhile.
        environment: &[(EVERY, "MAX_CACHED_ROWS", "0")],
        ..Options::default()
    };
    let system = System::start("cut_connections", options).await;
    let cuts = async {
        under_way(&system).await;
        let cuts = SERVICES
            .iter()
            .map(|service| cut_transactions(&system, service));
        futures::future::join_all(cuts).await;
    };
    let carts = system.load_during(LOAD, cuts).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn serialization_failures_are_tried_again() {
    let system = System::start("serialization", Options::default()).await;
    let faults = sabotage_all(&system, Harm::Raises("40001"), 60);
    let carts = system.load_during(LOAD, faults).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
    let (transitions, started) = ("checkout_transitions_total", "outcome=\"started\"");
    let counted = system.counted("orchestrator", 0, transitions, started);
    assert_eq!(
        counted.await,
        carts.len() as f64,
        "what is tried again counts once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_a_deadlock_ends_is_tried_again() {
    let system = System::start("deadlocks", Options::default()).await;
    for service in SERVICES {
        // The one that waits this long looks for a deadlock, and is its victim.
        let sql = "ALTER ROLE {} SET deadlock_timeout = '50ms'";
        system.administer(service, sql).await;
        // Only new connections have it.
        system.cut_connections(service).await;
    }
    let rivals = SERVICES.iter().map(async |service| {
        let rival = Rival::of(&system, service).await;
        system
            .until(&format!("{service} meets a deadlock"), async || {
                rival.strike().await;
                // Now and then it is the rival that looks, and is the victim.
                system.log(service, 0).await.contains("40P01")
            })
            .await;
        // A server process tells what it has counted when it ends, at the latest.
        system
            .until(&format!("a deadlock of {service} is counted"), async || {
                rival.deadlocks().await > 0
            })
            .await;
    });
    let rivals = async { drop(futures::future::join_all(rivals).await) };
    let carts = system.load_during(LOAD, rivals).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_everything_and_loses_nothing() {
    let system = System::start("full_disk", Options::default()).await;
    let full = async {
        under_way(&system).await;
        // One after the other: nothing reaches a service behind one that stands.
        for service in SERVICES {
            sabotage(&system, service, Harm::DiskFull, 5).await;
        }
    };
    let carts = system.load_during(LOAD, full).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_slower_than_the_limit_are_given_up_and_tried_again() {
    let options = Options {
        environment: IMPATIENT_WITH_DATABASES,
        ..Options::default()
    };
    let system = System::start("slow_statements", options).await;
    let slow = sabotage_all(&system, Harm::Sleeps(3), 15);
    let carts = system.load_during(LOAD, slow).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
    for service in SERVICES {
        assert!(
            waits(&system, service).await > 0.0,
            "{service} has waited as long as it took"
        );
    }
}

/// Batches of each service that are slow: one after the other they take some 15 s.
const SLOW_BATCHES: i64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_are_slow_within_the_limit_delay_carts_and_fail_none() {
    let system = System::start("slow_within", Options::default()).await;
    let mut before = Vec::new();
    for &service in SERVICES {
        before.push((service, waits(&system, service).await));
    }
    let slow = sabotage_all(&system, Harm::Slow, SLOW_BATCHES);
    let load = Load { rate: 8.0, ..LOAD };
    let carts = system.load_during(load, slow).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
    for (service, before) in before {
        assert_eq!(
            waits(&system, service).await,
            before,
            "{service} took a slow database for one that is away"
        );
    }
    system.assert_nobody_given_up();
}

const IMPATIENT_WITH_DATABASES: &[(&str, &str, &str)] = &[(EVERY, "DATABASE_TIMEOUT_MS", "1000")];

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_for_10_s_holds_everything_up_and_loses_nothing() {
    let options = Options {
        environment: IMPATIENT_WITH_DATABASES,
        proxies: true,
        ..Options::default()
    };
    let system = System::start("hanging", options).await;
    let databases = &system.proxies().databases;
    let hang = async {
        for _ in 0..2 {
            one_more_order(&system).await;
            let before = waits(&system, "orchestrator").await;
            let begin = Instant::now();
            for proxy in databases.values() {
                proxy.set(Network::Frozen);
            }
            // Carts keep coming, so that it has something to ask.
            system
                .until("the orchestrator waits for its database", async || {
                    waits(&system, "orchestrator").await > before
                })
                .await;
            sleep_until(begin + HANG).await;
            for proxy in databases.values() {
                proxy.set(Network::Up);
            }
        }
    };
    let carts = system.load_during(LOAD, hang).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_found_to_have_happened_or_not() {
    let options = Options {
        proxies: true,
        ..Options::default()
    };
    let system = System::start("lost_commits", options).await;
    let databases = &system.proxies().databases;
    let losses = async {
        for proxy in databases.values() {
            proxy.lose_commits(Lost::Answer, 5);
            proxy.lose_commits(Lost::Request, 7);
        }
        for (service, proxy) in databases {
            system
                .until(&format!("{service} loses commits"), async || {
                    proxy.lost_commits(Lost::Answer) >= 10 && proxy.lost_commits(Lost::Request) >= 5
                })
                .await;
        }
        for proxy in databases.values() {
            proxy.lose_commits(Lost::Answer, 0);
            proxy.lose_commits(Lost::Request, 0);
        }
    };
    let carts = system.load_during(LOAD, losses).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_only_reads_for_a_while_is_waited_for() {
    let system = System::start("read_only", Options::default()).await;
    let read_only = async {
        under_way(&system).await;
        for service in SERVICES {
            let sql = "ALTER DATABASE {} SET default_transaction_read_only = on";
            system.administer(service, sql).await;
            system.cut_connections(service).await;
            // Cannot execute ... in a read-only transaction.
            system.until_logged(service, "25006").await;
            let sql = "ALTER DATABASE {} RESET default_transaction_read_only";
            system.administer(service, sql).await;
        }
    };
    let carts = system.load_during(LOAD, read_only).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_too_many_connections_is_waited_for() {
    let system = System::start("too_many_connections", Options::default()).await;
    let crowd = async {
        under_way(&system).await;
        for service in SERVICES {
            let sql = "ALTER ROLE {} CONNECTION LIMIT 0";
            system.administer(service, sql).await;
            system.cut_connections(service).await;
            system.until_logged(service, "53300").await;
            let sql = "ALTER ROLE {} CONNECTION LIMIT -1";
            system.administer(service, sql).await;
        }
    };
    let carts = system.load_during(LOAD, crowd).await;
    system.assert_settled(&carts).await;
    system.assert_no_dead_letters();
}
