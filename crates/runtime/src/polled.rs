//! A producer with a thread that serves its events.
//!
//! As rdkafka's own, but one that rests while nothing happens. A poll of rdkafka waits
//! in whole milliseconds and spins through what is left of the last one; its threaded
//! producer polls for 100 ms at a time and so spins for one percent of a core, for each
//! producer, with or without work.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext, PurgeConfig};

use crate::fault::RunError;

/// How long one poll serves events, each as soon as it is there. A producer that is
/// dropped goes after as long.
const POLL: Duration = Duration::from_secs(1);

/// The producer; it is dropped without waiting for its thread.
pub(crate) struct PolledProducer<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    stop: Arc<AtomicBool>,
}

impl<C: ProducerContext + 'static> PolledProducer<C> {
    /// Starts it.
    pub(crate) fn start(config: &ClientConfig, context: C) -> Result<Self, RunError> {
        let producer: BaseProducer<C> = config
            .create_with_context(context)
            .map_err(RunError::Configuration)?;
        let producer = Arc::new(producer);
        let stop = Arc::new(AtomicBool::new(false));
        let (polled, stopped) = (Arc::clone(&producer), Arc::clone(&stop));
        std::thread::Builder::new()
            .name("producer".into())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    polled.poll(POLL);
                }
            })
            .map_err(|error| RunError::Defect(format!("no thread for a producer: {error}")))?;
        Ok(Self { producer, stop })
    }
}

impl<C: ProducerContext + 'static> Deref for PolledProducer<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &BaseProducer<C> {
        &self.producer
    }
}

impl<C: ProducerContext + 'static> Drop for PolledProducer<C> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Nothing of it is to be sent any more, though its thread goes later.
        self.producer
            .purge(PurgeConfig::default().queue().inflight());
    }
}
