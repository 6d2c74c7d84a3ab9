//! Whether a service is ready, told by the runtime and read by `/readyz`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Shared between the runtime, which sets it, and whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<State>);

#[derive(Debug, Default)]
struct State {
    database: AtomicBool,
    group: AtomicBool,
    partitions: AtomicUsize,
}

/// What is ready at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// The last trip to the database succeeded.
    pub database: bool,
    /// The consumer is a member of its group and has been given its share, which
    /// may be empty.
    pub group: bool,
    /// Partitions owned now.
    pub partitions: usize,
}

impl HealthReport {
    /// Whether inputs are being handled.
    pub fn is_ready(&self) -> bool {
        self.database && self.group
    }
}

impl Health {
    /// Nothing is ready yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state now.
    pub fn report(&self) -> HealthReport {
        HealthReport {
            database: self.0.database.load(Ordering::Relaxed),
            group: self.0.group.load(Ordering::Relaxed),
            partitions: self.0.partitions.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn set_database(&self, up: bool) {
        self.0.database.store(up, Ordering::Relaxed);
    }

    pub(crate) fn set_group(&self, joined: bool) {
        self.0.group.store(joined, Ordering::Relaxed);
    }

    pub(crate) fn set_partitions(&self, owned: usize) {
        self.0.partitions.store(owned, Ordering::Relaxed);
    }
}
