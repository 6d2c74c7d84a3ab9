//! The runtime's metrics: names, units, and where they are recorded. Rate,
//! errors and duration are by message type; label values are bounded.

use std::time::Duration;

use contracts::{ErrorCode, TopicNames};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::Handler;

/// Names and units, for `/metrics`.
fn describe() {
    crate::traffic::describe();
    describe_counter!(
        "saga_inputs_total",
        "Inputs handled, by type (a record's name, timer or answer) and outcome (handled, refused)"
    );
    describe_histogram!(
        "saga_message_age_seconds",
        "From a record's timestamp to the commit of the batch that handled it, by type"
    );
    describe_histogram!("saga_batch_inputs", "Inputs in a committed batch");
    describe_histogram!(
        "saga_batch_seconds",
        "Duration of a batch: reads, handling, writes, commit"
    );
    describe_counter!(
        "saga_outputs_total",
        "Messages handed to the Kafka client, by topic"
    );
    describe_gauge!(
        "saga_outputs_unacknowledged",
        "Messages published and not acknowledged by Kafka"
    );
    describe_counter!(
        "saga_dead_letters_total",
        "Records sent to a dead-letter topic, by topic and error code"
    );
    describe_histogram!(
        "saga_transaction_seconds",
        "Duration of a transaction that publishes public records, or only tells offsets"
    );
    describe_gauge!(
        "saga_transaction_open_seconds",
        "Age of this instance's open transaction; 0 when none is open"
    );
    describe_gauge!(
        "saga_readers_held_records",
        "Records of a public topic after the last stable offset, by topic and partition"
    );
    describe_gauge!(
        "saga_readers_held_seconds",
        "How long an open transaction, of whatever producer, has held the last stable offset of a public topic, by topic and partition"
    );
    describe_gauge!(
        "saga_consumer_lag_records",
        "Records not yet handled, by topic and partition"
    );
    describe_counter!(
        "saga_database_trips_total",
        "Round trips to the database by the message loop"
    );
    describe_counter!(
        "saga_row_cache_total",
        "Batches by where their rows were from: hit (kept from former batches), miss (read), stale (kept, but changed by somebody else; read after all, and so a miss as well)"
    );
    describe_counter!("saga_timers_fired_total", "Timers fired");
    describe_counter!("saga_faults_total", "Faults of the surroundings, by kind");
    describe_gauge!(
        "saga_calls_in_flight",
        "Calls to the outside that run, wait for a place, or whose answer is not yet handled"
    );
    describe_counter!(
        "saga_calls_deferred_total",
        "Calls left to their timers because the pool was full"
    );
    describe_counter!(
        "saga_transactions_abandoned_total",
        "Clients for transactions on public topics that did not come back and were left to themselves"
    );
    describe_counter!(
        "saga_inputs_dropped_total",
        "Timers and answers that could not be handled"
    );
    describe_gauge!("saga_partitions_owned", "Partitions owned by this instance");
    describe_gauge!(
        "saga_reading_paused",
        "1 while nothing is read because what was read waits, for the database for instance"
    );
    reading_paused(false);
    // From the start: a rate over a series that begins with its first event misses it.
    for name in [
        "saga_database_trips_total",
        "saga_timers_fired_total",
        "saga_calls_deferred_total",
        "saga_transactions_abandoned_total",
        "saga_inputs_dropped_total",
    ] {
        counter!(name).increment(0);
    }
}

/// Statements sent together to the database.
pub(crate) fn database_trip() {
    counter!("saga_database_trips_total").increment(1);
}

pub(crate) fn calls_in_flight(calls: usize) {
    gauge!("saga_calls_in_flight").set(calls as f64);
}

/// A call was left to its timer.
pub(crate) fn call_deferred() {
    counter!("saga_calls_deferred_total").increment(1);
}

/// A client for transactions was left to itself.
pub(crate) fn transaction_abandoned() {
    counter!("saga_transactions_abandoned_total").increment(1);
}

/// Where the rows of a batch were from.
pub(crate) fn row_cache(result: &'static str) {
    counter!("saga_row_cache_total", "result" => result).increment(1);
}

pub(crate) fn input(kind: &'static str, outcome: &'static str) {
    counter!("saga_inputs_total", "type" => kind, "outcome" => outcome).increment(1);
}

pub(crate) fn message_age(kind: &'static str, age: Duration) {
    histogram!("saga_message_age_seconds", "type" => kind).record(age);
}

pub(crate) fn batch(inputs: usize, took: Duration) {
    histogram!("saga_batch_inputs").record(inputs as f64);
    histogram!("saga_batch_seconds").record(took);
}

pub(crate) fn transaction_open(age: Duration) {
    gauge!("saga_transaction_open_seconds").set(age.as_secs_f64());
}

pub(crate) fn readers_held(topic: &str, partition: i32, records: i64, held_for: Duration) {
    let labels = [
        ("topic", topic.to_owned()),
        ("partition", partition.to_string()),
    ];
    gauge!("saga_readers_held_records", &labels).set(records as f64);
    gauge!("saga_readers_held_seconds", &labels).set(held_for.as_secs_f64());
}

pub(crate) fn outputs(topic: String, records: u64) {
    counter!("saga_outputs_total", "topic" => topic).increment(records);
}

pub(crate) fn unacknowledged(records: usize) {
    gauge!("saga_outputs_unacknowledged").set(records as f64);
}

pub(crate) fn dead_letter(topic: &str, code: &'static str) {
    dead_letters(topic, code, 1);
}

/// Begins to count for a service, once there is a recorder and before anything is waited
/// for: dead letters of each kind from 0, so that whoever asks from time to time sees the
/// first one come.
pub fn begin_to_count<H: Handler>(topics: &TopicNames) {
    describe();
    for topic in H::CONSUMES {
        for code in ErrorCode::ALL {
            dead_letters(topics.name(*topic), code.as_str(), 0);
        }
    }
}

fn dead_letters(topic: &str, code: &'static str, more: u64) {
    counter!("saga_dead_letters_total", "topic" => topic.to_owned(), "code" => code)
        .increment(more);
}

pub(crate) fn fault(kind: &'static str) {
    counter!("saga_faults_total", "kind" => kind).increment(1);
}

pub(crate) fn timers(fired: usize) {
    counter!("saga_timers_fired_total").increment(fired as u64);
}

pub(crate) fn reading_paused(paused: bool) {
    gauge!("saga_reading_paused").set(f64::from(u8::from(paused)));
}

pub(crate) fn partitions(owned: usize) {
    gauge!("saga_partitions_owned").set(owned as f64);
}
