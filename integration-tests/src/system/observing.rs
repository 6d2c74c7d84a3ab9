//! What can be seen on the topics.

use std::collections::BTreeMap;

use contracts::messages::{CartCheckedOut, SagaState};
use contracts::{Message, RecordType, Topic, TraceContext};
use flow::Step;
use jiff::Timestamp;

use super::{Outcome, System};
use crate::{Seen, carts};

impl System {
    /// Fails unless every record of this cart is part of this trace.
    pub fn assert_traced(&self, cart: &CartCheckedOut, trace: &TraceContext) {
        let trace = &trace.to_string()[..35];
        for seen in self.recorder.all() {
            if seen.message.as_ref().and_then(Message::cart_id) == Some(cart.cart_id) {
                let parent = seen.header("traceparent").expect("a traceparent");
                assert_eq!(&parent[..35], trace, "{:?}", seen.record_type());
            }
        }
    }

    /// How the checkout of this event ended, as soon as it has.
    pub async fn outcome(&self, cart: &CartCheckedOut) -> Outcome {
        self.recorder
            .wait_for(&format!("the outcome of {}", cart.cart_id), |seen| {
                outcomes(seen, cart).into_iter().next()
            })
            .await
    }

    /// Fails unless this event has exactly one outcome on the public topics, in
    /// exactly one record.
    pub async fn assert_one_outcome(&self, cart: &CartCheckedOut) {
        self.assert_outcomes_once(std::slice::from_ref(cart));
    }

    /// Waits until every record of this cart that is on a topic has been
    /// handled: a marker cart of the same key goes the same way behind it.
    pub async fn quiesce(&self, cart: &CartCheckedOut) {
        let before = self.recorder.of_cart(cart.cart_id).len();
        let marker = carts::again(cart);
        self.publish(&marker).await;
        let marked = self.recorder.wait_for("the marker's outcome", |seen| {
            outcomes(seen, &marker).into_iter().next()
        });
        marked.await;
        assert!(self.recorder.of_cart(cart.cart_id).len() > before);
    }

    /// The dead letter of the record that carried this marker.
    pub async fn dead_letter(&self, topic: Topic, marker: &str) -> Seen {
        let dlq = self.names.dlq(topic).to_owned();
        self.recorder
            .wait_for("a dead letter", |seen| {
                seen.iter()
                    .find(|seen| {
                        seen.topic == dlq && seen.header("marker").as_deref() == Some(marker)
                    })
                    .cloned()
            })
            .await
    }

    /// Why a cart was refused: the code of its dead letter, or the reason of its
    /// failure.
    pub async fn refusal(&self, cart: &CartCheckedOut) -> String {
        let dlq = self.names.dlq(Topic::ShoppingCheckouts).to_owned();
        let key = cart.cart_id.to_string();
        self.recorder
            .wait_for("a refusal", |seen| {
                seen.iter().find_map(|seen| match &seen.message {
                    Some(Message::CheckoutFailed(failed)) if failed.cart_id == cart.cart_id => {
                        serde_json::to_value(failed.reason)
                            .ok()
                            .and_then(|reason| Some(reason.as_str()?.to_owned()))
                    }
                    _ if seen.topic == dlq && seen.key.as_deref() == Some(key.as_bytes()) => {
                        seen.header("__connect.errors.exception.class.name")
                    }
                    _ => None,
                })
            })
            .await
    }

    /// Waits for a record of this type about a cart.
    pub async fn record(&self, cart: &CartCheckedOut, record: RecordType) {
        self.recorder
            .wait_for(&format!("a {record}"), |seen| {
                seen.iter()
                    .filter_map(|seen| seen.message.as_ref())
                    .any(|message| {
                        message.cart_id() == Some(cart.cart_id) && message.record_type() == record
                    })
                    .then_some(())
            })
            .await;
    }

    /// Waits for a snapshot of a cart's saga in this state.
    pub async fn snapshot(&self, cart: &CartCheckedOut, state: SagaState) {
        self.recorder
            .wait_for(&format!("a snapshot {state:?}"), |seen| {
                seen.iter()
                    .any(|seen| {
                        matches!(&seen.message, Some(Message::SagaSnapshot(snapshot))
                            if snapshot.cart_id == cart.cart_id && snapshot.state == state)
                    })
                    .then_some(())
            })
            .await;
    }

    /// The compensating commands of a cart, each the first time it was sent, by
    /// the time of their publication.
    pub fn undo_order(&self, cart: &CartCheckedOut) -> Vec<RecordType> {
        let mut sent: BTreeMap<Timestamp, RecordType> = BTreeMap::new();
        for seen in self.recorder.all() {
            let Some(message) = &seen.message else {
                continue;
            };
            let record = message.record_type();
            let is_undo = Step::ALL
                .iter()
                .any(|step| step.definition().compensation.record == record);
            if is_undo
                && message.cart_id() == Some(cart.cart_id)
                && !sent.values().any(|sent| *sent == record)
            {
                let time = seen.header("ce_time").expect("a time");
                let time: Timestamp = time.parse().expect("RFC 3339");
                sent.insert(time, record);
            }
        }
        sent.into_values().collect()
    }
}

fn outcome_of(seen: &Seen, cart: &CartCheckedOut) -> Option<Outcome> {
    let checkout = contracts::ids::checkout_id(cart.event_id);
    match seen.message.clone()? {
        Message::OrderCreated(order) if order.checkout_id == checkout => {
            Some(Outcome::Created(order))
        }
        Message::CheckoutFailed(failed) if failed.checkout_id == checkout => {
            Some(Outcome::Failed(failed))
        }
        Message::CheckoutRejected(rejected) if rejected.checkout_id == checkout => {
            Some(Outcome::Rejected(rejected))
        }
        _ => None,
    }
}

fn outcomes(seen: &[Seen], cart: &CartCheckedOut) -> Vec<Outcome> {
    seen.iter()
        .filter_map(|seen| outcome_of(seen, cart))
        .collect()
}
