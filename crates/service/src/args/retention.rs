//! How long ended rows are kept, and how gently they are removed.

use std::time::Duration;

use clap::Args;

/// How long ended rows are kept, and how gently they are removed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Retention")]
pub struct RetentionArgs {
    /// How long rows are kept that have ended and serve only to recognise repeats, in hours;
    /// 0: for ever. It is the window in which a repeated record is known as one, so it must
    /// be longer than carts and the topics between services keep records. What is still held
    /// is never removed.
    #[arg(
        long,
        env = "RETENTION_HOURS",
        value_name = "HOURS",
        default_value_t = 720,
        value_parser = clap::value_parser!(u32).range(0..=876_000)
    )]
    pub retention_hours: u32,

    /// How often it is looked for rows to remove, in seconds. Of several instances one looks.
    #[arg(
        long,
        env = "PURGE_INTERVAL_SECONDS",
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub purge_interval_seconds: u32,

    /// Most rows that are removed in one transaction.
    #[arg(
        long,
        env = "PURGE_BATCH_ROWS",
        value_name = "N",
        default_value_t = 500,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    pub purge_batch_rows: u32,

    /// Pause between two such transactions, in milliseconds.
    #[arg(
        long,
        env = "PURGE_PAUSE_MS",
        value_name = "MS",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(0..=60_000)
    )]
    pub purge_pause_ms: u32,
}

impl RetentionArgs {
    /// How long ended rows are kept; `None`: for ever.
    pub fn retention(&self) -> Option<Duration> {
        hours(self.retention_hours)
    }
}

/// So many hours; `None` for 0, which stands for no limit.
pub fn hours(hours: u32) -> Option<Duration> {
    (hours > 0).then(|| Duration::from_secs(u64::from(hours) * 3_600))
}
