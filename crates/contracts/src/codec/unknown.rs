//! Schema ids that the registry does not know, remembered for a while.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A bounded set of ids, each of which leaves by itself after a time: a schema
/// may be registered, or a registry restored, at any moment.
#[derive(Debug)]
pub(super) struct UnknownIds {
    memory: Duration,
    max: usize,
    seen: Mutex<HashMap<u32, Instant>>,
}

impl UnknownIds {
    pub(super) fn new(memory: Duration, max: usize) -> Self {
        Self {
            memory,
            max,
            seen: Mutex::new(HashMap::new()),
        }
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        self.lock()
            .get(&id)
            .is_some_and(|since| since.elapsed() < self.memory)
    }

    pub(super) fn insert(&self, id: u32) {
        let mut seen = self.lock();
        if seen.len() >= self.max {
            seen.retain(|_, since| since.elapsed() < self.memory);
        }
        if seen.len() < self.max {
            seen.insert(id, Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Instant>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ids_leave_after_their_time_and_never_grow_beyond_the_limit() {
        let unknown = UnknownIds::new(Duration::from_secs(30), 2);
        unknown.insert(1);
        tokio::time::advance(Duration::from_secs(20)).await;
        for id in 2..10 {
            unknown.insert(id);
        }
        assert!(unknown.contains(1) && unknown.contains(2) && !unknown.contains(3));
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(!unknown.contains(1), "its time is over");
        unknown.insert(4);
        assert!(unknown.contains(4), "there is room again");
        assert_eq!(unknown.lock().len(), 2);
    }
}
