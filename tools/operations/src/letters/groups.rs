//! Letters that were put aside for the same reason.

use std::collections::BTreeMap;

use contracts::Topic;
use jiff::Timestamp;
use serde::Serialize;

use super::{Letter, LetterId, Letters};

/// Letters that were put aside for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// The topic that they were put aside from.
    pub topic: String,
    /// The service that did it.
    pub service: String,
    /// Why.
    pub code: String,
    /// The same in words, without what differs: numbers and ids.
    pub detail: String,
    /// How many.
    pub count: u64,
    /// When the first came.
    pub first: Option<Timestamp>,
    /// When the last came.
    pub last: Option<Timestamp>,
    /// One of them: the last.
    pub example: LetterId,
}

impl Letters {
    /// By topic and reason, the most first.
    pub fn groups(&self) -> Vec<Group> {
        let mut groups: BTreeMap<(Topic, &str, &str, String), Group> = BTreeMap::new();
        for letter in &self.letters {
            let detail = without_what_differs(&letter.detail);
            let key = (
                letter.topic,
                letter.service.as_str(),
                letter.code.as_str(),
                detail.clone(),
            );
            let group = groups.entry(key).or_insert_with(|| Group {
                topic: letter.topic.name().to_owned(),
                service: letter.service.clone(),
                code: letter.code.clone(),
                detail,
                count: 0,
                first: letter.at,
                last: letter.at,
                example: letter.letter.clone(),
            });
            group.count += 1;
            group.first = group.first.min(letter.at);
            if letter.at >= group.last {
                group.last = letter.at;
                group.example = letter.letter.clone();
            }
        }
        let mut groups: Vec<Group> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        groups
    }

    /// The letters of a group.
    pub fn of<'l>(&'l self, group: &'l Group) -> impl Iterator<Item = &'l Letter> {
        self.letters.iter().filter(|letter| {
            letter.topic.name() == group.topic
                && letter.service == group.service
                && letter.code == group.code
                && without_what_differs(&letter.detail) == group.detail
        })
    }
}

/// A text without the words that have digits: ids, numbers, offsets.
fn without_what_differs(detail: &str) -> String {
    let words = detail
        .split(' ')
        .map(|word| match word.chars().any(|c| c.is_ascii_digit()) {
            true => "…",
            false => word,
        });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_one_group_whatever_their_ids() {
        assert_eq!(
            without_what_differs("eventId 6f2d7c1e was used before, by cart 3f1a"),
            "eventId … was used before, by cart …"
        );
    }
}
