//! What became of the records of the open transaction.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::{ClientContext, Statistics};

use super::locked;
use crate::traffic::Traffic;

/// Counts the deliveries of the open transaction.
#[derive(Default)]
pub(super) struct Deliveries {
    state: Mutex<(usize, Option<KafkaError>)>,
    changed: Condvar,
}

/// The producer's callbacks.
pub(super) struct LaneContext(pub(super) Arc<Deliveries>, pub(super) Traffic);

impl ClientContext for LaneContext {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "transactional producer");
    }

    fn stats(&self, statistics: Statistics) {
        self.1.tell(&statistics);
    }
}

impl ProducerContext for LaneContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut state = locked(&self.0.state);
        state.0 = state.0.saturating_sub(1);
        if let Err((error, _)) = result {
            state.1.get_or_insert_with(|| error.clone());
        }
        self.0.changed.notify_all();
    }
}

impl Deliveries {
    pub(super) fn expect(&self, records: usize) {
        *locked(&self.state) = (records, None);
    }

    /// Waits until all are delivered: `commit_transaction` would wait in steps of
    /// 100 ms.
    pub(super) fn wait(&self, limit: Duration) -> Result<(), KafkaError> {
        let state = locked(&self.state);
        let (mut state, _) = self
            .changed
            .wait_timeout_while(state, limit, |state| state.0 > 0)
            .unwrap_or_else(PoisonError::into_inner);
        match state.1.take() {
            Some(error) => Err(error),
            // What is still under way fails with the transaction.
            None => Ok(()),
        }
    }
}
