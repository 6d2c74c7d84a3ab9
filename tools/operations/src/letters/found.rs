//! The letters that a look found, as a whole.

use audit::{Error, Result};
use serde::Serialize;

use super::{Letter, LetterId};
use crate::show::{BAD, clock, paint, table};

/// The letters that a look found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Letters {
    /// In the order of topics, and of time in each.
    pub letters: Vec<Letter>,
    /// Whether there are more than were asked for.
    pub more: bool,
    /// Why the schema registry did not give a schema, where letters are undecoded for
    /// want of it.
    pub registry_fault: Option<String>,
}

impl Letters {
    /// Whether one is open, or may be among those that were not looked at.
    pub fn may_be_open(&self) -> bool {
        self.more || self.letters.iter().any(|letter| !letter.handled)
    }

    /// Whether these were found, all of them.
    ///
    /// # Errors
    /// Names the first that was not.
    pub fn all_there(&self, wanted: &[LetterId]) -> Result<()> {
        let is_there = |id: &&LetterId| self.letters.iter().any(|letter| letter.letter == **id);
        match wanted.iter().find(|id| !is_there(id)) {
            None => Ok(()),
            Some(id) => Err(Error::Invalid(format!(
                "there is no letter at {id}; `checkoutctl dlq list --letters` names those there are"
            ))),
        }
    }

    /// The groups, for people, with colours.
    pub fn text(&self) -> String {
        let rows = self.groups().into_iter().map(|group| {
            vec![
                group.count.to_string(),
                group.topic,
                group.service,
                paint(BAD, group.code),
                group.last.map_or_else(String::new, clock),
                group.example.to_string(),
                group.detail,
            ]
        });
        let headings = [
            "NUMBER",
            "FROM",
            "BY",
            "CODE",
            "LAST",
            "FOR EXAMPLE",
            "DETAIL",
        ];
        self.under(&headings, rows.collect())
    }

    /// The letters, a line for each, for people, with colours.
    pub fn lines(&self) -> String {
        let rows = self.letters.iter().map(|letter| {
            vec![
                letter.letter.to_string(),
                paint(BAD, &letter.code),
                letter.at.map_or_else(String::new, clock),
                yes_or_no(letter.handled),
                decodes(letter),
                letter
                    .cart_id
                    .map_or_else(String::new, |cart| cart.to_string()),
                letter.detail.clone(),
            ]
        });
        let headings = [
            "LETTER", "CODE", "AT", "HANDLED", "DECODES", "CART", "DETAIL",
        ];
        self.under(&headings, rows.collect())
    }

    /// Rows under their headings, and what is to be known of them all.
    fn under(&self, headings: &[&str], rows: Vec<Vec<String>>) -> String {
        if rows.is_empty() {
            return "no dead letters\n".to_owned();
        }
        let mut text = table(headings, rows);
        if self.more {
            text.push_str("there are more: narrow the filter, or raise --limit or --limit-bytes\n");
        }
        text + &self.registry_line()
    }

    /// A line for people where the registry did not give a schema; else nothing.
    pub fn registry_line(&self) -> String {
        let why = self.registry_fault.as_ref();
        why.map_or_else(String::new, |why| {
            format!("not all could be decoded: {why}\n")
        })
    }
}

fn decodes(letter: &Letter) -> String {
    match (&letter.content, &letter.decodes_not) {
        (None, None) => "not known".to_owned(),
        (content, _) => yes_or_no(content.is_some()),
    }
}

fn yes_or_no(is_so: bool) -> String {
    let word = if is_so { "yes" } else { "no" };
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use contracts::{RegistryError, Topic};

    use super::*;

    fn letters(number: i64) -> Letters {
        let topic = Topic::ShoppingCheckouts;
        Letters {
            letters: (0..number)
                .map(|offset| Letter::sample(topic, offset, "NULL_VALUE"))
                .collect(),
            more: false,
            registry_fault: None,
        }
    }

    #[test]
    fn every_letter_has_a_line_that_begins_with_its_place() {
        let text = letters(3).lines();
        let first: Vec<_> = text
            .lines()
            .skip(1)
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(
            first,
            [
                "shopping.checkouts.dlq:0:0",
                "shopping.checkouts.dlq:0:1",
                "shopping.checkouts.dlq:0:2"
            ]
        );
        assert_eq!(letters(0).lines(), "no dead letters\n");
    }

    #[test]
    fn a_registry_that_does_not_answer_is_told_of_below() {
        let found = Letters {
            registry_fault: Some("the registry is away".to_owned()),
            ..letters(1)
        };
        for text in [found.text(), found.lines()] {
            assert!(
                text.ends_with("not all could be decoded: the registry is away\n"),
                "{text}"
            );
        }
    }

    #[test]
    fn whether_a_letter_decodes_is_not_known_without_its_schema() {
        let away = RegistryError::Refused("no rights".to_owned()).into();
        let unknown = Letter::undecoded(Topic::ShoppingCheckouts, 1, "HANDLER_PANICKED", away);
        let found = Letters {
            letters: vec![unknown],
            ..letters(0)
        };
        let text = found.lines();
        assert!(text.contains("not known"), "{text}");
        let text = letters(1).lines();
        assert!(!text.contains("not known"), "{text}");
    }

    #[test]
    fn what_was_not_looked_at_may_be_open() {
        let mut found = letters(2);
        assert!(found.may_be_open());
        for letter in &mut found.letters {
            letter.handled = true;
        }
        assert!(!found.may_be_open() && !letters(0).may_be_open());
        found.more = true;
        assert!(found.may_be_open());
    }

    #[test]
    fn a_letter_that_is_not_there_is_named() {
        let wanted: Vec<LetterId> = vec!["shopping.checkouts.dlq:0:7".parse().unwrap()];
        let refused = letters(3).all_there(&wanted).unwrap_err().to_string();
        assert!(
            refused.contains("no letter at shopping.checkouts.dlq:0:7"),
            "{refused}"
        );
        assert!(letters(8).all_there(&wanted).is_ok());
    }
}
