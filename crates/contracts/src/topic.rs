//! The topics, and what they are called in one installation.

use std::{fmt, sync::Arc};

use crate::RecordType;

/// What is appended to a topic's name for its dead letter queue.
const DLQ_SUFFIX: &str = ".dlq";

/// Longest name Kafka allows a topic, in characters.
const NAME_MAX_CHARS: usize = 249;

macro_rules! topics {
    ($($(#[$doc:meta])* $topic:ident => $name:literal, consumed: $consumed:literal,
        compacted: $compacted:literal;)*) => {
        /// A topic of the checkout, without its dead letter queue.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Topic {
            $($(#[$doc])* $topic,)*
        }

        impl Topic {
            /// Every topic.
            pub const ALL: &'static [Self] = &[$(Self::$topic),*];

            /// The topic's name without any prefix.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$topic => $name,)*
                }
            }

            /// Whether one of the services consumes the topic, so that it has
            /// a dead letter queue.
            pub const fn is_consumed(self) -> bool {
                match self {
                    $(Self::$topic => $consumed,)*
                }
            }

            /// Whether the last record of a key is what holds, and all that stays.
            pub const fn is_compacted(self) -> bool {
                match self {
                    $(Self::$topic => $compacted,)*
                }
            }
        }
    };
}

// Written by `build.rs`: the topics of `topics.yaml`, in its order. A topic that has a
// dead letter queue there is consumed by one of the services.
include!(concat!(env!("OUT_DIR"), "/topics.rs"));

impl Topic {
    /// Whether the topic is for other teams: its records are published in
    /// transactions, each exactly once.
    pub const fn is_public(self) -> bool {
        matches!(self, Self::OrderingOrders | Self::OrderingCheckouts)
    }

    /// Whether the topic is between services: commands and their replies. Which of its
    /// partitions a record is in says nothing.
    pub const fn is_inner(self) -> bool {
        self.is_consumed() && !matches!(self, Self::ShoppingCheckouts | Self::OrderingOperations)
    }

    /// The types of record that the topic carries.
    pub fn records(self) -> impl Iterator<Item = RecordType> {
        RecordType::ALL
            .iter()
            .copied()
            .filter(move |record| record.topic() == self)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The names of the topics in one installation.
///
/// Every name is a prefix and the topic's own name, so installations that have
/// different prefixes share a cluster and a registry without meeting. The
/// prefix is empty by default. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicNames(Arc<Names>);

#[derive(Debug, PartialEq, Eq)]
struct Names {
    prefix: String,
    /// Name and dead letter queue of each topic, in the order of `Topic::ALL`.
    topics: Vec<(String, String)>,
}

impl TopicNames {
    /// The names under `prefix`, which is put before each name as it is: end
    /// it with a dot or a dash where one is wanted.
    pub fn new(prefix: &str) -> Self {
        let topics = Topic::ALL
            .iter()
            .map(|topic| {
                let name = format!("{prefix}{topic}");
                let dlq = format!("{name}{DLQ_SUFFIX}");
                (name, dlq)
            })
            .collect();
        Self(Arc::new(Names {
            prefix: prefix.to_owned(),
            topics,
        }))
    }

    /// Whether Kafka accepts names with this prefix.
    ///
    /// # Errors
    /// Says what is wrong with the prefix.
    pub fn check_prefix(prefix: &str) -> Result<(), String> {
        if let Some(bad) = prefix
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || "._-".contains(*c)))
        {
            return Err(format!(
                "topic prefix {prefix:?} contains {bad:?}; only letters, digits, '.', '_' and '-' are allowed"
            ));
        }
        let longest = Topic::ALL.iter().map(|t| t.name().len()).max().unwrap_or(0);
        let room = NAME_MAX_CHARS - DLQ_SUFFIX.len() - longest;
        if prefix.len() > room {
            return Err(format!(
                "topic prefix {prefix:?} has {} characters; at most {room} are allowed",
                prefix.len()
            ));
        }
        Ok(())
    }

    /// The prefix of every name.
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// The full name of a topic.
    pub fn name(&self, topic: Topic) -> &str {
        &self.0.topics[topic as usize].0
    }

    /// The full name of a topic's dead letter queue.
    pub fn dlq(&self, topic: Topic) -> &str {
        &self.0.topics[topic as usize].1
    }

    /// The topic with this full name; none for other topics and dead letter
    /// queues.
    pub fn topic(&self, name: &str) -> Option<Topic> {
        Topic::ALL.iter().copied().find(|t| self.name(*t) == name)
    }

    /// The registry's subject for a type of record: the full name of its
    /// topic, a dash, and its own full name (`TopicRecordNameStrategy`).
    pub fn subject(&self, record: RecordType) -> String {
        format!("{}-{}", self.name(record.topic()), record.full_name())
    }
}

impl Default for TopicNames {
    fn default() -> Self {
        Self::new("")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_topics() {
        for prefix in ["", "test-7."] {
            let names = TopicNames::new(prefix);
            for topic in Topic::ALL.iter().copied() {
                assert_eq!(names.name(topic), format!("{prefix}{}", topic.name()));
                assert_eq!(names.topic(names.name(topic)), Some(topic));
                assert_eq!(names.topic(names.dlq(topic)), None);
            }
        }
        assert_eq!(
            TopicNames::new("a.").topic("shopping.checkouts"),
            None,
            "a name without the prefix belongs to another installation"
        );
    }

    #[test]
    fn a_subject_names_the_topic_and_the_record() {
        assert_eq!(
            TopicNames::new("eu.").subject(RecordType::OrderCreated),
            "eu.ordering.orders-ordering.OrderCreated"
        );
    }

    #[test]
    fn a_prefix_that_kafka_refuses_is_named() {
        assert_eq!(TopicNames::check_prefix("eu-1.test_"), Ok(()));
        assert!(TopicNames::check_prefix("a b").unwrap_err().contains("' '"));
        assert!(TopicNames::check_prefix(&"x".repeat(230)).is_err());
    }
}
