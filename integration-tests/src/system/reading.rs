//! What is on the topics now, read anew to their ends as any reader would: the recorder
//! may be behind, after an outage above all.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use audit::{Kafka, LogReader};
use contracts::ids::{CheckoutId, checkout_id};
use contracts::messages::{CartCheckedOut, FailureReason};
use contracts::{Message, RecordType, Topic};
use rdkafka::Offset;
use rdkafka::message::Message as _;
use tokio::runtime::Handle;

use super::System;

impl System {
    /// Fails unless every cart has exactly one outcome on the public topics, in exactly
    /// one record, for a reader that sees what is committed.
    pub fn assert_outcomes_once(&self, carts: &[CartCheckedOut]) {
        let mut records: BTreeMap<CheckoutId, Vec<RecordType>> = carts
            .iter()
            .map(|cart| (checkout_id(cart.event_id), Vec::new()))
            .collect();
        for message in self.public_messages() {
            if let Some(of) = message.checkout_id().and_then(|id| records.get_mut(&id)) {
                of.push(message.record_type());
            }
        }
        records.retain(|_, records| records.len() != 1);
        assert!(records.is_empty(), "not one outcome each: {records:#?}");
    }

    /// Everything on the public topics that is committed.
    pub fn public_messages(&self) -> Vec<Message> {
        let mut messages = Vec::new();
        tokio::task::block_in_place(|| {
            let log = self.log_reader();
            for topic in Topic::ALL.iter().copied().filter(|topic| topic.is_public()) {
                let name = self.names.name(topic);
                let partitions = log.partitions(name).expect("partitions");
                let starts: Vec<_> = partitions
                    .into_iter()
                    .map(|partition| (partition, Offset::Beginning))
                    .collect();
                log.read(name, &starts, &mut |record| {
                    let decoded = self.codec.decode(topic, record.payload());
                    let decoded = Handle::current().block_on(decoded);
                    messages.push(decoded.unwrap_or_else(|error| {
                        let (partition, offset) = (record.partition(), record.offset());
                        panic!("{name}, partition {partition}, offset {offset}: {error}")
                    }));
                    Ok(ControlFlow::Continue(()))
                })
                .unwrap_or_else(|error| panic!("{name} is not read: {error}"));
            }
        });
        messages
    }

    /// Fails if a checkout failed for anything but what the customer asked for.
    pub fn assert_nobody_given_up(&self) {
        for message in self.public_messages() {
            let Message::CheckoutFailed(failed) = message else {
                continue;
            };
            let reason = failed.reason;
            assert!(
                matches!(
                    reason,
                    FailureReason::OutOfStock | FailureReason::PaymentDeclined
                ),
                "{reason:?}: {}",
                failed.cart_id
            );
        }
    }

    /// Fails if anything was ever on a dead-letter topic.
    pub fn assert_no_dead_letters(&self) {
        let ends: Vec<_> = tokio::task::block_in_place(|| {
            let log = self.log_reader();
            let consumed = Topic::ALL.iter().filter(|topic| topic.is_consumed());
            let names = consumed.map(|topic| self.names.dlq(*topic));
            names
                .flat_map(|name| {
                    let partitions = log.partitions(name).expect("partitions").into_iter();
                    let ends = partitions.map(|partition| {
                        let (_, end) = log.watermarks(name, partition).expect("watermarks");
                        (name.to_owned(), partition, end)
                    });
                    ends.collect::<Vec<_>>()
                })
                .filter(|(_, _, end)| *end > 0)
                .collect()
        });
        assert!(
            ends.is_empty(),
            "dead letters, up to these offsets: {ends:?}"
        );
    }

    fn log_reader(&self) -> LogReader {
        LogReader::new(&Kafka::at(&self.installation.bootstrap_servers)).expect("a reader")
    }
}
