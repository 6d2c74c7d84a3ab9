//! Limits of the message loop.

use clap::Args;

/// Limits of the message loop.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Most messages handled in one database transaction.
    #[arg(
        long,
        env = "MAX_BATCH_RECORDS",
        value_name = "N",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub max_batch_records: u32,

    /// From how many messages on what a batch publishes is collected for BULK_LINGER_MS.
    #[arg(
        long,
        env = "BULK_FROM_RECORDS",
        value_name = "N",
        default_value_t = 8,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub bulk_from_records: u32,

    /// How long the Kafka client collects what a large batch publishes, in milliseconds, so
    /// that it goes out in one request for each partition and not in several.
    #[arg(
        long,
        env = "BULK_LINGER_MS",
        value_name = "MS",
        default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(0..=1_000)
    )]
    pub bulk_linger_ms: u64,

    /// Most rows of each table that are kept in memory from one batch to the next, so that
    /// most batches need not read; 0 makes every batch read.
    #[arg(
        long,
        env = "MAX_CACHED_ROWS",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(0..=10_000_000)
    )]
    pub max_cached_rows: u32,

    /// Messages published but not yet acknowledged by Kafka; at the limit no new batch
    /// is started.
    #[arg(
        long,
        env = "MAX_UNACKNOWLEDGED_RECORDS",
        value_name = "N",
        default_value_t = 20_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub max_unacknowledged_records: u32,

    /// Largest message that is published, in bytes; must be less than what the topics
    /// accept: what they refuse holds its partition up.
    #[arg(
        long,
        env = "MAX_MESSAGE_BYTES",
        value_name = "BYTES",
        default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1_024..=1_000_000_000)
    )]
    pub max_message_bytes: u32,

    /// How often due timers are looked up, in milliseconds.
    #[arg(
        long,
        env = "TIMER_TICK_MS",
        value_name = "MS",
        default_value_t = 200,
        value_parser = clap::value_parser!(u64).range(1..=60_000)
    )]
    pub timer_tick_ms: u64,

    /// How long a partition is quiet before its acknowledged outputs are cleared from
    /// the database, in milliseconds.
    #[arg(
        long,
        env = "SETTLE_AFTER_MS",
        value_name = "MS",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    pub settle_after_ms: u64,

    /// How often Kafka is told the offsets reached, in milliseconds. The numbers only serve
    /// lag monitors.
    #[arg(
        long,
        env = "OFFSET_COMMIT_INTERVAL_MS",
        value_name = "MS",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u64).range(10..=600_000)
    )]
    pub offset_commit_interval_ms: u64,

    /// Calls to outside systems that run at once.
    #[arg(
        long,
        env = "MAX_CALLS_RUNNING",
        value_name = "N",
        default_value_t = 64,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub max_calls_running: u32,

    /// Calls to outside systems that wait for their turn; more are made later, by
    /// their timers.
    #[arg(
        long,
        env = "MAX_CALLS_WAITING",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub max_calls_waiting: u32,

    /// First pause after a transient fault, in milliseconds; it doubles up to
    /// `--backoff-max-ms`.
    #[arg(
        long,
        env = "BACKOFF_FIRST_MS",
        value_name = "MS",
        default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..=60_000)
    )]
    pub backoff_first_ms: u64,

    /// Longest pause after a transient fault, in milliseconds.
    #[arg(
        long,
        env = "BACKOFF_MAX_MS",
        value_name = "MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    pub backoff_max_ms: u64,

    /// Kafka's session time-out in milliseconds: how soon the partitions of a dead
    /// instance are given to another.
    #[arg(
        long,
        env = "SESSION_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1_000..=1_800_000)
    )]
    pub session_timeout_ms: u64,

    /// How long a consumer may be on its way into its group, in milliseconds; then a new
    /// one takes its place. A rebalance among many instances must fit in, and a public
    /// transaction that was left open. As long does Kafka wait in a rebalance for a member
    /// that does not come, and as long may it take to compare the partitions that a consumer
    /// is given with their logs.
    #[arg(
        long,
        env = "REJOIN_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 60_000,
        value_parser = clap::value_parser!(u64).range(5_000..=1_800_000)
    )]
    pub rejoin_timeout_ms: u64,

    /// How long Kafka may take to acknowledge a message, in milliseconds; then a new
    /// producer takes the place of the one that has it, and sends it again. Kafka knows
    /// repeats of one producer only: what the former had on its way to a broker that
    /// hung can come a second time, and late.
    #[arg(
        long,
        env = "DELIVERY_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 120_000,
        value_parser = clap::value_parser!(u64).range(2_000..=1_800_000)
    )]
    pub delivery_timeout_ms: u64,

    /// Whether ordering.orders and ordering.checkouts are written in transactions, so
    /// that a read_committed consumer sees each record once, also after a crash. Without,
    /// a crash or a broker that is slow for long can have a record published twice, with the
    /// same ce_id.
    #[arg(
        long,
        env = "PUBLIC_TRANSACTIONS",
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set
    )]
    pub public_transactions: bool,

    /// Limit of one transaction in milliseconds: as long can one that a crash left open
    /// hold back the readers of the public topics.
    #[arg(
        long,
        env = "TRANSACTION_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1_000..=60_000)
    )]
    pub transaction_timeout_ms: u64,

    /// How long messages for public topics are collected under load for the next
    /// transaction, in milliseconds, at most: one for each message of the last one. Fewer
    /// and larger transactions cost less; a lone checkout does not wait.
    #[arg(
        long,
        env = "TRANSACTION_GATHER_MS",
        value_name = "MS",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(0..=1_000)
    )]
    pub transaction_gather_ms: u64,

    /// How long a transaction on a public topic may be open before it is reported as
    /// hanging, in milliseconds; this instance's own, or any other that holds readers back.
    #[arg(
        long,
        env = "TRANSACTION_WARN_AFTER_MS",
        value_name = "MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(100..=600_000)
    )]
    pub transaction_warn_after_ms: u64,

    /// How often it is looked whether an open transaction holds back the readers of the
    /// public topics, in milliseconds.
    #[arg(
        long,
        env = "READERS_CHECK_INTERVAL_MS",
        value_name = "MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(100..=600_000)
    )]
    pub readers_check_interval_ms: u64,

    /// Memory for records fetched ahead, in bytes.
    #[arg(
        long,
        env = "PREFETCH_BYTES",
        value_name = "BYTES",
        default_value_t = 8 * 1024 * 1024,
        value_parser = clap::value_parser!(u32).range(65_536..=2_000_000_000)
    )]
    pub prefetch_bytes: u32,

    /// How long a partition that is given up waits until Kafka has acknowledged what was
    /// published for it, in milliseconds; a stop takes up to four times as long.
    #[arg(
        long,
        env = "DRAIN_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 5_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    pub drain_timeout_ms: u64,

    /// Limit of the message loop's graceful stop after SIGTERM or SIGINT, in milliseconds;
    /// then the process ends in any case, once HTTP and traces have ended, which takes up to
    /// six seconds more.
    #[arg(
        long,
        env = "SHUTDOWN_TIMEOUT_MS",
        value_name = "MS",
        default_value_t = 20_000,
        value_parser = clap::value_parser!(u64).range(1..=600_000)
    )]
    pub shutdown_timeout_ms: u64,
}
