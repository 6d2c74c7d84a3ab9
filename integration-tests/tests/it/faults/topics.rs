//! Topics that are deleted, made anew, emptied or enlarged behind the services'
//! backs.

use std::ops::Range;

use contracts::ids::GenericUuid;
use contracts::messages::{ReservationItem, ReserveInventory};
use contracts::{Message, RecordType, Topic, ids};
use integration_tests::carts::cart;
use integration_tests::load::Load;
use integration_tests::{Options, PATIENCE, Seen, System, product};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

/// The topic that is disturbed.
const COMMANDS: Topic = Topic::InventoryCommands;
const PARTITIONS: i32 = 4;
/// More than the services have read of any partition by then.
const MANY: usize = 40;

/// A command that inventory would carry out, if it read it.
fn foreign_command() -> ReserveInventory {
    let of = cart(&product(), 1, 700);
    let checkout_id = ids::checkout_id(of.event_id);
    ReserveInventory {
        command_id: ids::command_id(checkout_id, RecordType::ReserveInventory),
        checkout_id,
        cart_id: of.cart_id,
        customer_id: Some(of.customer_id),
        items: vec![ReservationItem {
            product_id: of.items[0].product_id.clone(),
            quantity: 1,
        }],
    }
}

/// Deletes inventory's commands and makes the topic anew, with so many foreign commands
/// in each partition; their carts.
async fn replace(system: &System, records: usize) -> Vec<Uuid> {
    let name = system.names.name(COMMANDS);
    let admin = system.admin();
    let options = AdminOptions::new();
    for outcome in admin.delete_topics(&[name], &options).await.expect("asked") {
        outcome.expect("deleted");
    }
    let new = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
    let begin = Instant::now();
    loop {
        let outcome = admin.create_topics([&new], &options).await.expect("asked");
        match &outcome[0] {
            Ok(_) => break,
            // It takes a moment until the old one is gone.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) if begin.elapsed() < PATIENCE => {
                sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    // The controller has made it; the broker may still write into the old one.
    system
        .until("the broker has the new topic, empty", async || {
            let ends = ends(system, COMMANDS, 0..PARTITIONS);
            ends.iter().all(|end| *end == Some(0))
        })
        .await;
    let mut carts = Vec::new();
    for partition in 0..PARTITIONS {
        for _ in 0..records {
            let command = foreign_command();
            carts.push(command.cart_id.into_untyped_uuid());
            system
                .publish_at(COMMANDS, partition, &command.into())
                .await;
        }
    }
    carts
}

/// The ends of these partitions, for a client that is new to the topic; none where the
/// broker tells of none.
fn ends(system: &System, topic: Topic, partitions: Range<i32>) -> Vec<Option<i64>> {
    let client: BaseConsumer = ClientConfig::new()
        .set(
            "bootstrap.servers",
            &system.installation().bootstrap_servers,
        )
        .set("log_level", "0")
        .create()
        .expect("a client");
    let name = system.names.name(topic);
    let limit = Duration::from_secs(5);
    let end = |partition| client.fetch_watermarks(name, partition, limit);
    tokio::task::block_in_place(|| {
        partitions
            .map(|partition| Some(end(partition).ok()?.1))
            .collect()
    })
}

/// A system whose services have read something of every topic.
async fn used(name: &str) -> System {
    used_with(name, Options::default()).await
}

/// The same, started so.
async fn used_with(name: &str, options: Options) -> System {
    let system = System::start(name, options).await;
    let carts = system.load(Load::new(30, 60.0)).await;
    // Commands go from batch to batch to another partition, and there may be few batches.
    for partition in 0..PARTITIONS {
        let command = foreign_command().into();
        system.publish_at(COMMANDS, partition, &command).await;
    }
    system.wait_consumed().await;
    system.assert_settled(&carts).await;
    system
}

/// Fails unless the reader's log has the words, and none of the foreign commands was
/// carried out or moved aside.
async fn read_nothing_of(log: &str, system: &System, foreign: &[Uuid]) {
    let name = system.names.name(COMMANDS);
    assert!(log.contains(name), "it names the topic: {log}");
    assert!(
        log.contains("The topic was deleted and made anew"),
        "it says what happened: {log}"
    );
    assert!(
        log.contains("UPDATE progress SET next_offset = NULL"),
        "it says what to do: {log}"
    );
    // Whatever it says to them, it keeps.
    let sql = "SELECT count(*) FROM reservations WHERE cart_id = ANY($1)";
    let carried_out: i64 = system.query("inventory", sql, &[&foreign]).await[0].get(0);
    assert_eq!(carried_out, 0, "it has read of the new topic");
    system.assert_no_dead_letters();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_with_fewer_records_stops_its_reader_with_words() {
    let system = used("anew_fewer").await;
    system.stop("inventory").await;
    let foreign = replace(&system, 0).await;
    let log = system.fails_to_start("inventory").await;
    read_nothing_of(&log, &system, &foreign).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_with_more_records_stops_its_reader_with_words() {
    let system = used("anew_more").await;
    system.stop("inventory").await;
    let foreign = replace(&system, MANY).await;
    let log = system.fails_to_start("inventory").await;
    read_nothing_of(&log, &system, &foreign).await;
}

/// A commit marker is no record: where one was read, there is none now.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_with_a_marker_where_a_record_was_stops_its_reader_with_words() {
    let system = used("anew_marker").await;
    system.stop("inventory").await;
    let read = "SELECT partition, next_offset FROM progress WHERE topic = $1 AND next_offset > 1";
    let read = system.query("inventory", read, &[&COMMANDS.name()]).await;
    assert!(!read.is_empty(), "it has read of some partition");
    let mut foreign = replace(&system, 0).await;
    for row in read {
        let (partition, next_offset): (i32, i64) = (row.get(0), row.get(1));
        // As many as before but for two, whose places a record and its marker take.
        for offset in 0..next_offset + 10 {
            let command = foreign_command();
            foreign.push(command.cart_id.into_untyped_uuid());
            let message: Message = command.into();
            match offset == next_offset - 2 {
                true => publish_in_transaction(&system, partition, &message),
                false => system.publish_at(COMMANDS, partition, &message).await,
            }
        }
    }
    let log = system.fails_to_start("inventory").await;
    read_nothing_of(&log, &system, &foreign).await;
}

/// Publishes a command in a transaction of its own.
fn publish_in_transaction(system: &System, partition: i32, message: &Message) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set(
            "bootstrap.servers",
            &system.installation().bootstrap_servers,
        )
        .set("transactional.id", format!("a-stranger-{}", Uuid::new_v4()))
        .create()
        .expect("a producer");
    let (key, value) = (message.key(), system.encode(message));
    tokio::task::block_in_place(|| {
        producer.init_transactions(PATIENCE).expect("ready");
        producer.begin_transaction().expect("begun");
        let record = BaseRecord::to(system.names.name(COMMANDS))
            .partition(partition)
            .key(&key)
            .payload(&value);
        let sent = producer.send(record);
        sent.unwrap_or_else(|(error, _)| panic!("not sent: {error}"));
        producer.commit_transaction(PATIENCE).expect("committed");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_under_its_running_reader_stops_it_with_words() {
    let system = used("anew_running").await;
    let foreign = replace(&system, MANY).await;
    let log = system.ends("inventory", 0).await;
    read_nothing_of(&log, &system, &foreign).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_while_its_reader_hangs_stops_it_with_words() {
    let system = used("anew_hanging").await;
    // It learns neither that the topic is gone nor that it begins anew: when it asks
    // again, a record is at the offset that it asks for.
    system.freeze_instance("inventory", 0).await;
    let foreign = replace(&system, MANY).await;
    system.thaw_instance("inventory", 0).await;
    let log = system.ends("inventory", 0).await;
    read_nothing_of(&log, &system, &foreign).await;
}

/// Removes every command to inventory that there is now, as retention does.
async fn remove_all(system: &System) {
    let name = system.names.name(COMMANDS);
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(name, partition, Offset::End)
            .expect("a partition");
    }
    let removed = system
        .admin()
        .delete_records(&all, &AdminOptions::new())
        .await
        .expect("asked");
    for element in removed.elements() {
        element.error().expect("removed");
    }
}

/// Publishes a cart, and waits until its command to inventory is there.
async fn command_inventory(system: &System) {
    let cart = cart(&product(), 1, 700);
    system.publish(&cart).await;
    system.record(&cart, RecordType::ReserveInventory).await;
}

/// Fails unless the reader's log has the words.
fn says_what_was_removed(log: &str, system: &System) {
    let name = system.names.name(COMMANDS);
    assert!(log.contains(name), "it names the topic: {log}");
    assert!(
        log.contains("Retention removed records before they were read"),
        "it says what happened: {log}"
    );
    assert!(
        log.contains("UPDATE progress SET next_offset = NULL"),
        "it says what to do: {log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_retention_removed_unread_stop_their_reader_with_words() {
    let system = used("removed_unread").await;
    system.stop("inventory").await;
    command_inventory(&system).await;
    remove_all(&system).await;
    let log = system.fails_to_start("inventory").await;
    says_what_was_removed(&log, &system);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_retention_removed_before_a_reader_that_lags_stop_it_with_words() {
    let options = Options {
        // It stays in its group: nothing but its own reading tells it.
        environment: &[("inventory", "SESSION_TIMEOUT_MS", "600000")],
        ..Options::default()
    };
    let system = used_with("removed_lagging", options).await;
    system.freeze_instance("inventory", 0).await;
    // The first may be on its way to it already, as the answer to its last question.
    for _ in 0..2 {
        command_inventory(&system).await;
    }
    remove_all(&system).await;
    system.thaw_instance("inventory", 0).await;
    let log = system.ends("inventory", 0).await;
    assert!(
        log.contains("a position is outside its log"),
        "it notices while it runs: {log}"
    );
    says_what_was_removed(&log, &system);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_added_while_running_are_read_within_the_refresh_interval() {
    const ADDED: Range<i32> = PARTITIONS..2 * PARTITIONS;
    const REFRESH: &str = "topic.metadata.refresh.interval.ms=1000";
    let options = Options {
        environment: &[
            ("orchestrator", "KAFKA_PROPERTIES", REFRESH),
            ("inventory", "KAFKA_PROPERTIES", REFRESH),
        ],
        ..Options::default()
    };
    let system = System::start("more_partitions", options).await;
    let sku = product();
    system.set_stock(&sku, 1_000).await;
    for topic in [Topic::ShoppingCheckouts, COMMANDS, Topic::OrderingOrders] {
        system.set_partitions(topic, 2 * PARTITIONS as usize).await;
    }
    let mut carts = Vec::new();
    for partition in 0..2 * PARTITIONS {
        let cart = cart(&sku, 1, 700);
        let message: Message = cart.clone().into();
        system
            .publish_at(Topic::ShoppingCheckouts, partition, &message)
            .await;
        carts.push(cart);
    }
    // As an orchestrator sends them that was started since: this one keeps to the
    // partitions that it found.
    for partition in ADDED {
        let command = foreign_command();
        let id = command.command_id;
        system
            .publish_at(COMMANDS, partition, &command.into())
            .await;
        let answer = |seen: &Seen| {
            matches!(&seen.message,
                Some(Message::InventoryUnavailable(answer)) if answer.command_id == id)
        };
        let what = format!("an answer to what is in partition {partition}");
        system
            .recorder
            .wait_for(&what, |seen| seen.iter().any(answer).then_some(()))
            .await;
    }
    // It has learned of the new partitions of what outsiders read by then, or soon does;
    // which one an order is in, its key says.
    system
        .until("an order is in a new partition", async || {
            let cart = cart(&sku, 1, 700);
            system.publish(&cart).await;
            carts.push(cart);
            let ends = ends(&system, Topic::OrderingOrders, ADDED);
            ends.into_iter().any(|end| end > Some(0))
        })
        .await;
    system.assert_settled(&carts).await;
    system.assert_outcomes_once(&carts);
}
