//! What is said of a cart whose saga is not there, or cannot be read: what became of its
//! request, as far as can be told.

use contracts::Topic;

use super::outlook::{Known, redrive};
use crate::sagas::Listed;
use crate::show::ago;

/// A newer version wrote the saga.
pub(super) fn not_understood(listed: &Listed) -> String {
    let step = listed.step.as_deref();
    let step = step.map_or_else(String::new, |step| format!(" at {step}"));
    let note = listed.note.as_deref().unwrap_or_default();
    format!(
        "The saga is {}{step}, and what happens next cannot be told: {note}.",
        listed.state
    )
}

impl Known<'_> {
    /// The orchestrator's database is away: whether there is one is not known.
    pub(super) fn untold(&self) -> String {
        let newest = match self.records().next_back() {
            Some(record) => format!(
                "The newest record of the cart that was found is {} on {}, partition {}, offset \
                 {}{}.",
                record.record_type,
                record.topic,
                record.partition,
                record.offset,
                record
                    .at
                    .map_or_else(String::new, |at| format!(", {}", ago(at, self.now))),
            ),
            None if self.kafka_answered => format!(
                "No record of the cart is among the newest {} of each partition.",
                self.search_records
            ),
            None => "Records could not be looked for, either.".to_owned(),
        };
        format!(
            "What state the checkout is in and what happens next cannot be told without the \
             orchestrator's database: see the note, and ask again when it answers. {newest}"
        )
    }

    /// The orchestrator's database has none.
    pub(super) fn unknown(&self) -> (String, Vec<String>) {
        if !self.kafka_answered {
            let text = "No checkout of this cart is known, and Kafka could not be asked whether \
                        one was requested: see the note.";
            return (text.to_owned(), Vec::new());
        }
        let topic = Topic::ShoppingCheckouts;
        if let Some(letter) = self.dead_letter(&[topic]) {
            let why = letter.remark.as_deref().unwrap_or_default();
            return (
                format!(
                    "No checkout of this cart was begun: its request is a dead letter, {why}. \
                     Have the producer mend and publish it, or redrive it once the cause is \
                     mended."
                ),
                vec![redrive(letter)],
            );
        }
        let name = self.names.name(topic);
        if let Some(unread) = self.records().find(|record| record.topic == name) {
            let lag = self
                .lag
                .iter()
                .find(|lag| lag.topic == name && lag.partition == unread.partition);
            let ahead = lag.map_or(0, |lag| {
                unread.offset - lag.position.unwrap_or(unread.offset)
            });
            return (
                format!(
                    "The request is on {name}, partition {}, offset {}, and the orchestrator has \
                     {ahead} offsets to read before it. If that number does not fall, see whether \
                     the orchestrator runs and what its log says.",
                    unread.partition, unread.offset
                ),
                Vec::new(),
            );
        }
        (
            format!(
                "No checkout of this cart is known, and no request for one is among the first {} \
                 records that the orchestrator has still to read. Check the id and --topic-prefix; \
                 an ended checkout is removed after RETENTION_HOURS.",
                self.search_records
            ),
            Vec::new(),
        )
    }
}

#[cfg(test)]
mod tests {
    use contracts::TopicNames;
    use contracts::ids::{CartId, GenericUuid};
    use uuid::Uuid;

    use super::super::{Entry, Record, outlook};
    use super::*;
    use crate::sagas::example;

    fn record(offset: i64) -> Entry {
        Entry::Record(Box::new(Record::sample("payments.commands", offset, None)))
    }

    fn known<'k>(timeline: &'k [Entry], names: &'k TopicNames) -> Known<'k> {
        Known {
            cart: CartId::from_untyped_uuid(Uuid::nil()),
            now: "2026-01-01T00:00:30Z".parse().unwrap(),
            listed: None,
            home_partition: None,
            waits_for: None,
            timeline,
            lag: &[],
            names,
            search_records: 10,
            kafka_answered: true,
            orchestrator_answered: true,
        }
    }

    #[test]
    fn of_a_saga_that_a_newer_version_wrote_the_plain_columns_are_told() {
        let newer = example("STUCK", "SHIP_PARCEL");
        let (text, commands) = outlook::of(&Known {
            listed: Some(&newer),
            ..known(&[], &TopicNames::default())
        });
        for part in [
            "The saga is STUCK at SHIP_PARCEL",
            "use programs of the orchestrator's version.",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(commands.is_empty(), "{commands:?}");
    }

    #[test]
    fn without_the_orchestrators_database_only_what_was_found_is_told() {
        let told = |timeline: &[Entry], kafka_answered| {
            outlook::of(&Known {
                kafka_answered,
                orchestrator_answered: false,
                ..known(timeline, &TopicNames::default())
            })
        };
        let (text, commands) = told(&[record(3), record(4)], true);
        assert!(text.contains("cannot be told"), "{text}");
        assert!(text.contains("partition 0, offset 4."), "{text}");
        assert!(commands.is_empty(), "{commands:?}");
        let (text, _) = told(&[], true);
        assert!(text.contains("newest 10 of each partition"), "{text}");
        let (text, _) = told(&[], false);
        assert!(text.contains("could not be looked for"), "{text}");
    }
}
