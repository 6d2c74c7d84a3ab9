//! How long a consumer may be on its way into its group. A rebalance waits for requests
//! that are on theirs, and one that an outage swallowed must not hold the partitions up
//! for ever: a new consumer begins with none.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Since when a consumer has been on its way.
pub(crate) struct Rejoin {
    limit: Duration,
    since: Mutex<Option<Instant>>,
}

impl Rejoin {
    /// Of a consumer that joins now.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            since: Mutex::new(Some(Instant::now())),
        }
    }

    /// Partitions are given up: an assignment follows, be it an empty one.
    pub(crate) fn begin(&self) {
        self.since().get_or_insert_with(Instant::now);
    }

    /// The assignment is there.
    pub(crate) fn done(&self) {
        *self.since() = None;
    }

    /// The limit, once it has passed; said once.
    pub(crate) fn overdue(&self) -> Option<Duration> {
        self.since()
            .take_if(|since| since.elapsed() > self.limit)
            .map(|_| self.limit)
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_overdue_from_the_start_or_the_loss_until_the_assignment() {
        let rejoin = Rejoin::new(Duration::ZERO);
        assert_eq!(rejoin.overdue(), Some(Duration::ZERO), "it has yet to join");
        assert_eq!(rejoin.overdue(), None, "whoever asked knows it");
        rejoin.done();
        rejoin.begin();
        assert_eq!(rejoin.overdue(), Some(Duration::ZERO));
        rejoin.done();
        assert_eq!(rejoin.overdue(), None);
    }

    #[test]
    fn a_second_loss_does_not_begin_it_anew() {
        let rejoin = Rejoin::new(Duration::from_secs(3_600));
        let first = *rejoin.since();
        rejoin.begin();
        assert_eq!(*rejoin.since(), first);
        assert_eq!(rejoin.overdue(), None, "the limit has not passed");
    }
}
