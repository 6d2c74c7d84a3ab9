//! The bounded pool for calls to the outside. A call runs after the commit of
//! the batch that asked for it; its answer is an input of a later batch.

use std::collections::HashSet;
use std::sync::Arc;

use contracts::TraceContext;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use crate::settings::Settings;
use crate::{Handler, Home, measure};

/// A call that has been asked for.
pub(crate) struct Call<C> {
    pub(crate) home: Home,
    pub(crate) trace: TraceContext,
    pub(crate) call: C,
}

/// An answer on its way back.
pub(crate) struct Answer<A> {
    pub(crate) home: Home,
    pub(crate) trace: TraceContext,
    pub(crate) key: Uuid,
    pub(crate) answer: A,
}

/// Runs calls and hands their answers over.
pub(crate) struct Calls<H: Handler> {
    handler: Arc<H>,
    running: Arc<Semaphore>,
    in_flight: HashSet<Uuid>,
    most: usize,
    sender: mpsc::UnboundedSender<Answer<H::Answer>>,
    receiver: mpsc::UnboundedReceiver<Answer<H::Answer>>,
}

impl<H: Handler> Calls<H> {
    pub(crate) fn new(handler: Arc<H>, settings: &Settings) -> Self {
        // Bounded all the same: no more answers can wait than calls are in flight.
        let (sender, receiver) = mpsc::unbounded_channel();
        measure::calls_in_flight(0);
        Self {
            handler,
            running: Arc::new(Semaphore::new(settings.max_calls_running)),
            in_flight: HashSet::new(),
            most: settings.max_calls_running + settings.max_calls_waiting,
            sender,
            receiver,
        }
    }

    /// Makes a call, unless the same one is in flight or too many are; then the
    /// timer of the row that waits makes it again.
    pub(crate) fn make(&mut self, call: Call<H::Call>) {
        let key = H::call_key(&call.call);
        if self.in_flight.len() >= self.most {
            measure::call_deferred();
            return;
        }
        if !self.in_flight.insert(key) {
            return;
        }
        measure::calls_in_flight(self.in_flight.len());
        let handler = Arc::clone(&self.handler);
        let running = Arc::clone(&self.running);
        let sender = self.sender.clone();
        tokio::spawn(async move {
            // The semaphore is never closed.
            let Ok(_permit) = running.acquire().await else {
                return;
            };
            // Its worker has ended while it waited: the timer makes the call again.
            if sender.is_closed() {
                return;
            }
            let Call { home, trace, call } = call;
            let answer = handler.call(call).await;
            // Here as well.
            let _ = sender.send(Answer {
                home,
                trace,
                key,
                answer,
            });
        });
    }

    /// The next answer.
    pub(crate) async fn next(&mut self) -> Option<Answer<H::Answer>> {
        let answer = self.receiver.recv().await;
        self.settled(answer)
    }

    /// An answer that is there now.
    pub(crate) fn try_next(&mut self) -> Option<Answer<H::Answer>> {
        let answer = self.receiver.try_recv().ok();
        self.settled(answer)
    }

    fn settled(&mut self, answer: Option<Answer<H::Answer>>) -> Option<Answer<H::Answer>> {
        if let Some(answer) = &answer {
            self.in_flight.remove(&answer.key);
            measure::calls_in_flight(self.in_flight.len());
        }
        answer
    }
}
