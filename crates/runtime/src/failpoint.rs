//! Points of a batch, and of what it publishes, at which tests kill this process, as
//! `kill -9` would.
//!
//! They exist only with the feature `fail-points`, which no shipped binary has.
//! The variable `FAILPOINTS` says which one kills, and when:
//! `after-commit=3*off->return` at the fourth batch that reaches it. Of a batch with several
//! partitions each one that publishes more than one message reaches `while-publishing`; what
//! is in and after a public transaction is reached by transactions.

/// Where it may be cut off.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "fail-points"), allow(dead_code, reason = "only named"))]
pub(crate) enum Point {
    /// Nothing was asked of the database.
    BeforeTransaction,
    /// The rows are locked and read, nothing is written: in a batch that reads.
    InTransaction,
    /// Committed, and nothing published.
    AfterCommit,
    /// Some messages are handed to the producer, others are not.
    WhilePublishing,
    /// All messages are handed over; none need be acknowledged.
    AfterPublishing,
    /// The public messages are in a transaction of Kafka, and no proof of a membership is.
    BeforePublicOffsets,
    /// The public messages and the offsets are in a transaction of Kafka that is open.
    InPublicTransaction,
    /// That transaction is committed, and the rows do not say so.
    AfterPublicTransaction,
    /// Partitions are assigned, or none more, and the group waits for nobody.
    BeforeAssignment,
}

/// Reads `FAILPOINTS`; once in the life of the process.
#[cfg(feature = "fail-points")]
pub(crate) fn configure() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    // The scenario ends with the process, not with this function.
    ONCE.call_once(|| std::mem::forget(fail::FailScenario::setup()));
}

/// Kills the process if a test wants it to die here.
#[cfg(feature = "fail-points")]
pub(crate) fn reach(point: Point) {
    let name = match point {
        Point::BeforeTransaction => "before-transaction",
        Point::InTransaction => "in-transaction",
        Point::AfterCommit => "after-commit",
        Point::WhilePublishing => "while-publishing",
        Point::AfterPublishing => "after-publishing",
        Point::BeforePublicOffsets => "before-public-offsets",
        Point::InPublicTransaction => "in-public-transaction",
        Point::AfterPublicTransaction => "after-public-transaction",
        Point::BeforeAssignment => "before-assignment",
    };
    fail::fail_point!(name, |_| {
        eprintln!("killed at the fail point {name}");
        // No destructor runs, nothing is flushed.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    });
}

/// How far tests have moved the clock, in milliseconds.
#[cfg(feature = "fail-points")]
pub(crate) fn clock_offset_ms() -> i64 {
    fail::fail_point!("clock", |offset: Option<String>| offset
        .and_then(|offset| offset.parse().ok())
        .unwrap_or(0));
    0
}

#[cfg(not(feature = "fail-points"))]
pub(crate) const fn configure() {}

#[cfg(not(feature = "fail-points"))]
pub(crate) const fn reach(_: Point) {}

#[cfg(not(feature = "fail-points"))]
pub(crate) const fn clock_offset_ms() -> i64 {
    0
}
