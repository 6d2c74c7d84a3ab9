//! The limits and addresses of a running service. Every limit has a unit in its
//! name; the defaults suit a small production installation.

use std::time::Duration;

/// How to reach Kafka.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// `host:port`, comma-separated.
    pub bootstrap_servers: String,
    /// The consumer group; instances of one service share it.
    pub group_id: String,
    /// Appears in broker logs and quotas.
    pub client_id: String,
    /// Further librdkafka properties for both clients, such as `security.protocol`.
    pub properties: Vec<(String, String)>,
}

/// Everything the runtime can be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How to reach Kafka.
    pub kafka: KafkaSettings,
    /// Most inputs in one batch.
    pub max_batch_records: usize,
    /// Messages from which on what a batch publishes is sent by `bulk_linger`.
    pub bulk_from_records: usize,
    /// How long the client collects the messages of such a batch, so that they go out in
    /// one request for each partition and not in several.
    pub bulk_linger: Duration,
    /// Most rows of a table that are kept between batches; 0 makes every batch read.
    pub max_cached_rows: usize,
    /// Messages published but not yet acknowledged; at the limit no new batch is
    /// started.
    pub max_unacknowledged_records: usize,
    /// Largest encoded message that is published; an input whose output is
    /// larger is poison.
    pub max_message_bytes: usize,
    /// How often due timers are looked up.
    pub timer_tick: Duration,
    /// How long a partition is quiet before its acknowledged outputs are cleared
    /// from its progress row.
    pub settle_after: Duration,
    /// How often Kafka is told the offsets reached. They only serve lag monitors.
    pub offset_commit_interval: Duration,
    /// Calls to the outside that run at once.
    pub max_calls_running: usize,
    /// Calls to the outside that wait; more are left to their timers.
    pub max_calls_waiting: usize,
    /// Limit of one trip to the database.
    pub database_timeout: Duration,
    /// First pause after a transient fault; it doubles up to `backoff_max`.
    pub backoff_first: Duration,
    /// Longest pause after a transient fault.
    pub backoff_max: Duration,
    /// Limit of finishing the batch in hand and its acknowledgements when
    /// stopping or giving a partition up.
    pub drain_timeout: Duration,
    /// Kafka's session time-out: how soon a dead instance's partitions move.
    pub session_timeout: Duration,
    /// How long the consumer may be on its way into its group before it is replaced by
    /// a new one.
    pub rejoin_timeout: Duration,
    /// How long Kafka may take to acknowledge a message that is published outside
    /// transactions; then the producer is replaced by a new one, which sends it again.
    pub delivery_timeout: Duration,
    /// Whether public topics are written in transactions. Without, a crash or the end of
    /// `delivery_timeout` can have a record published twice, with the same `ce_id`.
    pub public_transactions: bool,
    /// Limit of a transaction: how long one that a crash left open can hold
    /// readers of the public topics back.
    pub transaction_timeout: Duration,
    /// How long public outputs are collected under load for the next transaction, at
    /// most: a millisecond for each record of the last one. A lone saga does not wait.
    pub transaction_gather: Duration,
    /// How long a transaction may be open before it is reported.
    pub transaction_warn_after: Duration,
    /// How often it is looked whether readers of the public topics are held back.
    pub readers_check_interval: Duration,
    /// Records that the consumer holds ready, in bytes.
    pub prefetch_bytes: usize,
    /// Whether a span is exported for each message handled.
    pub export_traces: bool,
}

impl Settings {
    /// The defaults, for this Kafka.
    pub fn new(kafka: KafkaSettings) -> Self {
        Self {
            kafka,
            max_batch_records: 1_000,
            bulk_from_records: 8,
            bulk_linger: Duration::from_millis(1),
            max_cached_rows: 10_000,
            max_unacknowledged_records: 20_000,
            max_message_bytes: 1_000_000,
            timer_tick: Duration::from_millis(200),
            settle_after: Duration::from_secs(1),
            offset_commit_interval: Duration::from_secs(1),
            max_calls_running: 64,
            max_calls_waiting: 10_000,
            database_timeout: Duration::from_secs(30),
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(5),
            session_timeout: Duration::from_secs(10),
            rejoin_timeout: Duration::from_secs(60),
            delivery_timeout: Duration::from_secs(120),
            public_transactions: true,
            transaction_timeout: Duration::from_secs(10),
            transaction_gather: Duration::from_millis(10),
            transaction_warn_after: Duration::from_secs(5),
            readers_check_interval: Duration::from_secs(5),
            prefetch_bytes: 8 * 1024 * 1024,
            export_traces: false,
        }
    }
}

/// Exponential back-off with jitter, between the two limits of [`Settings`].
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    tries: u32,
}

impl Backoff {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            first: settings.backoff_first,
            max: settings.backoff_max,
            tries: 0,
        }
    }

    /// The next pause: doubled each time, between half and the whole of it.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = self
            .first
            .saturating_mul(1 << self.tries.min(16))
            .min(self.max);
        self.tries = self.tries.saturating_add(1);
        whole.mul_f64(rand::random_range(0.5..=1.0))
    }

    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }
}
