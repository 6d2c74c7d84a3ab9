//! Which letters are meant.

use audit::{Error, Result};
use contracts::{Topic, TopicNames};
use jiff::Timestamp;

use super::LetterId;

/// Which letters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Put aside from these topics; none: from any.
    pub topics: Vec<Topic>,
    /// For this reason, such as `NOT_FRAMED`.
    pub code: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// These alone.
    pub letters: Vec<LetterId>,
    /// Those that were redriven or discarded, too.
    pub handled: bool,
}

impl Filter {
    /// The topics that such letters were put aside from.
    ///
    /// # Errors
    /// When a letter that is named is in no dead-letter topic.
    pub(super) fn sources(&self, names: &TopicNames) -> Result<Vec<Topic>> {
        let mut topics: Vec<Topic> = Vec::new();
        for letter in &self.letters {
            topics.push(topic_of(names, &letter.topic)?);
        }
        if topics.is_empty() {
            let consumed = Topic::ALL.iter().copied();
            topics.extend(consumed.filter(|topic| topic.is_consumed()));
        }
        topics.retain(|topic| self.topics.is_empty() || self.topics.contains(topic));
        topics.sort_unstable();
        topics.dedup();
        Ok(topics)
    }

    /// Whether a letter may be meant, as far as its place tells.
    pub(super) fn takes(&self, dlq: &str, partition: i32, offset: i64) -> bool {
        let mut named = self.named(dlq, partition);
        self.letters.is_empty() || named.any(|named| named == offset)
    }

    /// The offsets that are named of a partition.
    pub(super) fn named(&self, dlq: &str, partition: i32) -> impl Iterator<Item = i64> {
        let letters = self.letters.iter();
        letters
            .filter(move |letter| letter.topic == dlq && letter.partition == partition)
            .map(|letter| letter.offset)
    }
}

/// The topic whose dead letters are in the topic of this full name.
fn topic_of(names: &TopicNames, dlq: &str) -> Result<Topic> {
    let mut consumed = Topic::ALL.iter().copied();
    consumed
        .find(|topic| topic.is_consumed() && names.dlq(*topic) == dlq)
        .ok_or_else(|| {
            Error::Invalid(format!(
                "{dlq} is no dead-letter topic of this installation; --topic-prefix says what \
                 their names begin with"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> LetterId {
        text.parse().unwrap()
    }

    #[test]
    fn letters_that_are_named_are_meant_and_no_others() {
        let names = TopicNames::new("eu.");
        let filter = Filter {
            letters: vec![
                id("eu.shopping.checkouts.dlq:1:7"),
                id("eu.shopping.checkouts.dlq:1:5"),
            ],
            ..Filter::default()
        };
        assert_eq!(filter.sources(&names).unwrap(), [Topic::ShoppingCheckouts]);
        let dlq = names.dlq(Topic::ShoppingCheckouts);
        assert!(filter.takes(dlq, 1, 5) && !filter.takes(dlq, 1, 6) && !filter.takes(dlq, 0, 5));
        assert_eq!(filter.named(dlq, 1).max(), Some(7));
        assert!(Filter::default().takes(dlq, 0, 0));

        let elsewhere = Filter {
            letters: vec![id("shopping.checkouts.dlq:1:7")],
            ..Filter::default()
        };
        let refused = elsewhere.sources(&names).unwrap_err().to_string();
        assert!(refused.contains("--topic-prefix"), "{refused}");
    }

    #[test]
    fn without_a_topic_all_that_have_dead_letters_are_read() {
        let names = TopicNames::new("");
        let all = Filter::default().sources(&names).unwrap();
        assert!(all.contains(&Topic::ShoppingCheckouts) && all.contains(&Topic::OrderingReplies));
        assert!(
            !all.contains(&Topic::OrderingOrders),
            "nobody here reads it"
        );
        let one = Filter {
            topics: vec![Topic::OrderingReplies],
            ..Filter::default()
        };
        assert_eq!(one.sources(&names).unwrap(), [Topic::OrderingReplies]);
    }
}
