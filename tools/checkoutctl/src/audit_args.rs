//! `checkoutctl audit`: its flags, and how it is done.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use audit::Options;
use contracts::TopicNames;
use jiff::{Span, SpanRelativeTo, Timestamp};
use operations::args::TargetArgs;

use crate::print;
use crate::telling::{self, Telling};

#[derive(clap::Args, Debug)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    target: TargetArgs,

    /// A checkout without an outcome that is younger is in flight, and no
    /// violation; in seconds. With 0 every open checkout is one.
    #[arg(
        long,
        env = "AUDIT_GRACE_SECONDS",
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(0..=86_400)
    )]
    grace_seconds: u64,

    /// What does not add up is looked at again after this pause, in
    /// milliseconds, since topics and databases are read at different instants.
    #[arg(
        long,
        env = "AUDIT_SECOND_LOOK_MS",
        value_name = "MS",
        default_value_t = 2_000,
        value_parser = clap::value_parser!(u64).range(0..=600_000)
    )]
    second_look_ms: u64,

    /// Judge carts published since then only: a time such as
    /// 2026-01-31T12:00:00Z, or how long ago, such as 90m or 14d. Default: all
    /// that the topics still hold.
    #[arg(long, env = "AUDIT_SINCE", value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,

    /// Limit of one statement on a database, and of waiting for Kafka, in
    /// seconds. A statement reads a whole table.
    #[arg(
        long,
        env = "AUDIT_TIMEOUT_SECONDS",
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    timeout_seconds: u64,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// A time, or how long ago.
pub(crate) fn since(text: &str) -> Result<Timestamp, String> {
    let now = Timestamp::now();
    let time = text.parse::<Timestamp>().or_else(|_| {
        let ago: Span = text.parse()?;
        now.checked_sub(ago.to_duration(SpanRelativeTo::days_are_24_hours())?)
    });
    match time {
        Ok(time) if time <= now => Ok(time),
        Ok(time) => Err(format!("{time} is still to come")),
        Err(_) => Err("a time is 2026-01-31T12:00:00Z, or 90m or 14d for so long ago".to_owned()),
    }
}

/// Audits and prints what was found.
pub(crate) async fn audit(args: &AuditArgs, names: TopicNames) -> ExitCode {
    let telling = Arc::new(Telling::new());
    let options = Options {
        grace: Duration::from_secs(args.grace_seconds),
        second_look: Some(Duration::from_millis(args.second_look_ms)),
        since: args.since,
        statement_limit: Duration::from_secs(args.timeout_seconds),
        expected: None,
        tell: Some(Arc::new({
            let telling = Arc::clone(&telling);
            move |text: &str| telling.tell(text)
        })),
    };
    let found = audit::run(
        &args.target.target(names, args.timeout_seconds.min(60)),
        &options,
    )
    .await;
    telling.clear();
    let report = match found {
        Ok(report) => report,
        Err(error) => {
            telling::line(&format!("checkoutctl audit: could not look: {error}"));
            return ExitCode::from(crate::COULD_NOT);
        }
    };
    match args.json {
        true => print::line(&report.json().to_string()),
        false => print::text(&report.to_string()),
    }
    match report.violations.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(crate::FOUND),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_so_long_ago() {
        let absolute = since("2026-01-31T12:00:00Z").unwrap();
        assert_eq!(absolute.to_string(), "2026-01-31T12:00:00Z");
        let minutes = |text| {
            let then = since(text).unwrap();
            Timestamp::now().duration_since(then).as_mins()
        };
        assert_eq!(minutes("90m"), 90);
        assert_eq!(minutes("14d"), 14 * 24 * 60);
        for bad in ["yesterday", "", "-5m", "9999-01-01T00:00:00Z"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }
}
