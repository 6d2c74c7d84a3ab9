//! The time that batches are handled at and timers are compared with.

use jiff::{SignedDuration, Timestamp};

use crate::failpoint;

/// Now, by the clock of this machine. It may jump: whoever keeps a time for
/// later has to be right when the clock was wrong.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    match failpoint::clock_offset_ms() {
        0 => now,
        offset_ms => now
            .checked_add(SignedDuration::from_millis(offset_ms))
            .unwrap_or(now),
    }
}
