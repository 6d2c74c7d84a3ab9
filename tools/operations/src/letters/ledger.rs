//! What came of each letter of a redrive, as far as it has come.

use std::collections::BTreeMap;

use audit::Result;
use contracts::{Topic, TopicNames};
use serde::Serialize;

use super::failure::Failure;
use super::{Letter, LetterId};
use crate::publish::Place;
use crate::show::{BAD, GOOD, WARN, paint, table};

/// So many are published between two marks: after a crash they are published again.
pub(super) const MARK_EVERY: usize = 100;

/// What came of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It would be redriven: this was a dry run.
    WouldBeRedriven,
    /// It was published, and is marked as handled.
    Redriven,
    /// It was published, but could not be marked: it is still open.
    NotMarked,
    /// Kafka did not take it.
    NotPublished,
    /// Nothing was done with it, after Kafka was lost or others could not be marked.
    NotTried,
}

/// What came of a letter, and where it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Redriven {
    /// The letter.
    pub letter: LetterId,
    /// What came of it.
    pub result: Verdict,
    /// The topic that it goes to.
    pub to: String,
    /// Partition and offset that it has there now.
    pub place: Option<(i32, i64)>,
    /// What is still wrong with it: it will probably come back.
    pub warning: Option<String>,
    /// Why it was not published, or is still open.
    pub error: Option<String>,
    /// Whether that is because Kafka does not answer: then it helps to wait.
    #[serde(skip)]
    is_gone: bool,
}

impl Redriven {
    /// What would come of a letter.
    pub fn planned(names: &TopicNames, letter: &Letter) -> Self {
        Self {
            letter: letter.letter.clone(),
            result: Verdict::WouldBeRedriven,
            to: names.name(letter.topic).to_owned(),
            place: None,
            warning: letter
                .decodes_not
                .as_ref()
                .map(|why| format!("still does not decode: {why}")),
            error: None,
            is_gone: false,
        }
    }

    /// A table for people, with colours, and what to do where not all went well.
    pub fn text(all: &[Self]) -> String {
        let rows = all.iter().map(|one| {
            let (style, result) = match (one.result, &one.warning) {
                (Verdict::WouldBeRedriven, Some(_)) => (WARN, "would be redriven"),
                (Verdict::WouldBeRedriven, None) => (GOOD, "would be redriven"),
                (Verdict::Redriven, _) => (GOOD, "redriven"),
                (Verdict::NotMarked, _) => (BAD, "not marked"),
                (Verdict::NotPublished, _) => (BAD, "failed"),
                (Verdict::NotTried, _) => (BAD, "not tried"),
            };
            vec![
                one.letter.to_string(),
                paint(style, result),
                match one.place {
                    Some((partition, offset)) => format!("{}:{partition}:{offset}", one.to),
                    None => one.to.clone(),
                },
                one.error
                    .as_ref()
                    .or(one.warning.as_ref())
                    .cloned()
                    .unwrap_or_default(),
            ]
        });
        let mut text = table(&["LETTER", "RESULT", "TO", ""], rows.collect());
        let not_marked = all.iter().filter(|one| one.result == Verdict::NotMarked);
        let (waiting, refused): (Vec<&Self>, Vec<&Self>) = not_marked.partition(|one| one.is_gone);
        if !waiting.is_empty() {
            let letters: Vec<String> = waiting.iter().map(|one| one.letter.to_string()).collect();
            text.push_str(&format!(
                "published, but still open; once Kafka answers, and before anything else is \
                 redriven:\n  checkoutctl dlq discard {} --reason 'was redriven'\n",
                letters.join(" ")
            ));
        }
        if !refused.is_empty() {
            text.push_str(
                "published, but still open: mend why it cannot be marked and redrive it again, \
                 repeats are recognised\n",
            );
        }
        if let Some(one) = all.iter().find(|one| one.result == Verdict::NotTried) {
            let when = match one.is_gone {
                true => "Kafka answers",
                false => "that is mended",
            };
            text.push_str(&format!(
                "what was not tried is as it was: redrive it once {when}\n"
            ));
        }
        text
    }
}

/// What came of each letter so far.
pub(super) struct Ledger<'l> {
    letters: &'l [Letter],
    /// In the order of the letters.
    all: Vec<Redriven>,
    /// Which were published, and are not marked yet.
    unmarked: Vec<usize>,
    /// Why nothing more is published.
    stop: Option<Failure>,
}

impl<'l> Ledger<'l> {
    /// Nothing was tried yet.
    pub(super) fn of(names: &TopicNames, letters: &'l [Letter]) -> Self {
        let planned = letters.iter().map(|letter| Redriven {
            result: Verdict::NotTried,
            ..Redriven::planned(names, letter)
        });
        Self {
            letters,
            all: planned.collect(),
            unmarked: Vec::new(),
            stop: None,
        }
    }

    /// The letter at this place of the list was published, or not.
    pub(super) fn sent(&mut self, index: usize, sent: Result<Place>) {
        let one = &mut self.all[index];
        match sent {
            Ok(place) => {
                one.place = Some(place);
                one.result = Verdict::NotMarked;
                self.unmarked.push(index);
            }
            Err(error) => {
                let failure = Failure::of(&error);
                let mut why = failure.why.clone();
                if failure.is_gone {
                    why.push_str("; it may be published all the same: repeats are recognised");
                    self.stop = Some(failure);
                }
                one.result = Verdict::NotPublished;
                one.error = Some(why);
            }
        }
    }

    /// Whether so many are published that they should be marked.
    pub(super) fn is_due(&self) -> bool {
        self.unmarked.len() >= MARK_EVERY
    }

    /// What was published and is not marked yet.
    pub(super) fn unmarked(&self) -> impl Iterator<Item = &'l Letter> {
        self.unmarked.iter().map(|index| &self.letters[*index])
    }

    /// What was published is marked now, but of these topics.
    pub(super) fn marked(&mut self, failed: &BTreeMap<Topic, Failure>) {
        for index in std::mem::take(&mut self.unmarked) {
            let one = &mut self.all[index];
            match failed.get(&self.letters[index].topic) {
                None => {
                    one.result = Verdict::Redriven;
                    one.error = None;
                }
                Some(Failure { why, is_gone }) => {
                    let advice = match is_gone {
                        true => "; discard it once Kafka answers",
                        // What refuses this refuses to discard it as well.
                        false => "",
                    };
                    one.error = Some(format!("published, but still open: {why}{advice}"));
                    one.is_gone = *is_gone;
                    self.unmarked.push(index);
                }
            }
        }
        if let Some(failure) = failed.values().next() {
            self.stop.get_or_insert_with(|| failure.clone());
        }
    }

    /// Whether nothing more is to be published: what cannot be marked would be published
    /// again, and each letter would wait for a cluster that is gone.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_some()
    }

    /// What came of each letter.
    pub(super) fn close(self) -> Vec<Redriven> {
        let mut all = self.all;
        for one in &mut all {
            if one.result == Verdict::NotTried {
                let why = self.stop.as_ref().map_or("", |stop| stop.why.as_str());
                one.error = Some(format!("not tried: {why}"));
                one.is_gone = self.stop.as_ref().is_some_and(|stop| stop.is_gone);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use audit::Error;
    use rdkafka::error::{KafkaError, RDKafkaErrorCode};

    use super::*;

    fn refused(code: RDKafkaErrorCode) -> Result<Place> {
        Err(Error::kafka("shopping.checkouts did not take a record")(
            KafkaError::MessageProduction(code),
        ))
    }

    /// Two of one topic, and two of another.
    fn letters() -> Vec<Letter> {
        let carts = Topic::ShoppingCheckouts;
        let replies = Topic::OrderingReplies;
        [(carts, 0), (carts, 1), (replies, 0), (replies, 1)]
            .map(|(topic, offset)| Letter::sample(topic, offset, "NOT_FRAMED"))
            .into()
    }

    /// The letters of a topic cannot be marked.
    fn failed(why: &str, is_gone: bool) -> BTreeMap<Topic, Failure> {
        let why = why.to_owned();
        BTreeMap::from([(Topic::ShoppingCheckouts, Failure { why, is_gone })])
    }

    fn results(all: &[Redriven]) -> Vec<Verdict> {
        all.iter().map(|one| one.result).collect()
    }

    fn error(one: &Redriven) -> &str {
        one.error.as_deref().unwrap_or_default()
    }

    #[test]
    fn what_was_published_and_could_not_be_marked_is_told_and_the_rest_is_not_tried() {
        let letters = letters();
        let mut ledger = Ledger::of(&TopicNames::default(), &letters);
        for (index, offset) in [(0, 7), (1, 8), (2, 9)] {
            ledger.sent(index, Ok((0, offset)));
        }
        assert!(!ledger.is_stopped());
        ledger.marked(&failed("no answer", true));
        assert!(ledger.is_stopped());
        let left: Vec<_> = ledger.unmarked().map(|letter| letter.topic).collect();
        assert_eq!(left, [Topic::ShoppingCheckouts; 2]);

        let all = ledger.close();
        use Verdict::{NotMarked, NotTried, Redriven as Done};
        assert_eq!(results(&all), [NotMarked, NotMarked, Done, NotTried]);
        assert_eq!(all[0].place, Some((0, 7)), "it is known where it is");
        let advice = "still open: no answer; discard it once Kafka answers";
        assert!(error(&all[0]).contains(advice), "{all:?}");
        assert_eq!(all[2].error, None);
        assert!(error(&all[3]).contains("not tried: no answer"), "{all:?}");
        let text = Redriven::text(&all);
        let command = "checkoutctl dlq discard shopping.checkouts.dlq:0:0 \
                       shopping.checkouts.dlq:0:1 --reason 'was redriven'";
        assert!(text.contains(command), "{text}");
        assert!(text.contains("redrive it once Kafka answers"), "{text}");
    }

    #[test]
    fn nobody_is_told_to_discard_what_cannot_be_marked_either_way() {
        let letters = letters();
        let mut ledger = Ledger::of(&TopicNames::default(), &letters);
        ledger.sent(0, Ok((0, 7)));
        ledger.marked(&failed("no room", false));
        assert!(ledger.is_stopped(), "it would be published in vain");
        let all = ledger.close();
        use Verdict::{NotMarked, NotTried};
        assert_eq!(results(&all), [NotMarked, NotTried, NotTried, NotTried]);
        assert_eq!(error(&all[0]), "published, but still open: no room");
        let text = Redriven::text(&all);
        assert!(!text.contains("discard"), "{text}");
        assert!(!text.contains("once Kafka answers"), "{text}");
        for says in [
            "mend why it cannot be marked and redrive it again",
            "what was not tried is as it was: redrive it once that is mended",
        ] {
            assert!(text.contains(says), "{says}: {text}");
        }
    }

    #[test]
    fn what_can_be_marked_after_all_is_redriven() {
        let letters = letters();
        let mut ledger = Ledger::of(&TopicNames::default(), &letters[..1]);
        ledger.sent(0, Ok((0, 7)));
        ledger.marked(&failed("no answer", true));
        ledger.marked(&BTreeMap::new());
        assert_eq!(ledger.unmarked().count(), 0);
        let all = ledger.close();
        assert_eq!((all[0].result, &all[0].error), (Verdict::Redriven, &None));
    }

    #[test]
    fn a_letter_that_is_refused_stops_no_other_and_a_cluster_that_is_gone_does() {
        let letters = letters();
        let mut ledger = Ledger::of(&TopicNames::default(), &letters);
        ledger.sent(0, refused(RDKafkaErrorCode::MessageSizeTooLarge));
        assert!(!ledger.is_stopped());
        ledger.sent(1, Ok((0, 7)));
        ledger.sent(2, refused(RDKafkaErrorCode::MessageTimedOut));
        assert!(ledger.is_stopped());
        ledger.marked(&BTreeMap::new());
        let all = ledger.close();
        use Verdict::{NotPublished, NotTried, Redriven as Done};
        assert_eq!(results(&all), [NotPublished, Done, NotPublished, NotTried]);
        assert!(!error(&all[0]).contains("may be published"), "{all:?}");
        assert!(error(&all[2]).contains("may be published"), "{all:?}");
        assert!(!Redriven::text(&all).contains("discard"), "{all:?}");
    }

    #[test]
    fn letters_are_marked_when_a_batch_is_full() {
        let letters: Vec<Letter> = (0..)
            .take(MARK_EVERY)
            .map(|offset| Letter::sample(Topic::ShoppingCheckouts, offset, "NOT_FRAMED"))
            .collect();
        let mut ledger = Ledger::of(&TopicNames::default(), &letters);
        for index in 0..MARK_EVERY {
            assert!(!ledger.is_due(), "{index}");
            ledger.sent(index, Ok((0, 0)));
        }
        assert!(ledger.is_due());
        ledger.marked(&BTreeMap::new());
        assert!(!ledger.is_due());
    }
}
