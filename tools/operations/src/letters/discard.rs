//! Passes letters over for good.

use std::collections::BTreeMap;

use audit::{Error, Result, Target};
use contracts::Topic;
use jiff::Timestamp;

use super::failure::Failure;
use super::{Discarded, Letters, remember};
use crate::show::clean;

/// Marks letters as handled without publishing them; `operator` and `reason` are kept
/// with the marks. The letters stay in their topic until its retention is over. A dry
/// run only finds out whether it can be remembered.
///
/// Those of a topic are discarded all or none; returned are the topics of which they are
/// not, and why. To do it again is harmless.
///
/// # Errors
/// When none could be discarded.
pub async fn discard(
    target: &Target,
    letters: &Letters,
    operator: &str,
    reason: &str,
    dry_run: bool,
) -> Result<BTreeMap<Topic, String>> {
    let discarded = Discarded {
        by: clean(operator),
        at: Timestamp::now(),
        reason: clean(reason),
    };
    let places = remember::places(letters.letters.iter());
    // Of all topics, before anything is marked.
    remember::check(target, vec![places.clone()], Some(&discarded)).await?;
    if dry_run {
        return Ok(BTreeMap::new());
    }
    let topics = places.len();
    let failed = remember::mark(target, places, Some(&discarded)).await;
    outcome(topics, failed)
}

/// What comes of letters of so many topics.
fn outcome(topics: usize, failed: BTreeMap<Topic, Failure>) -> Result<BTreeMap<Topic, String>> {
    let why = |(topic, failure): (Topic, Failure)| (topic, failure.why);
    let failed: BTreeMap<Topic, String> = failed.into_iter().map(why).collect();
    if failed.is_empty() || failed.len() < topics {
        return Ok(failed);
    }
    let why: Vec<String> = failed
        .into_iter()
        .map(|(topic, why)| format!("letters of {topic}.dlq are not discarded: {why}"))
        .collect();
    Err(Error::Invalid(format!("{}; do it again", why.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(topics: &[Topic]) -> BTreeMap<Topic, Failure> {
        let failure = Failure {
            why: "no answer".to_owned(),
            is_gone: true,
        };
        let failed = topics.iter().map(|topic| (*topic, failure.clone()));
        failed.collect()
    }

    #[test]
    fn what_was_done_in_part_is_told_and_what_could_not_be_done_is_an_error() {
        assert!(outcome(0, failed(&[])).unwrap().is_empty());
        assert!(outcome(2, failed(&[])).unwrap().is_empty());
        let (carts, replies) = (Topic::ShoppingCheckouts, Topic::OrderingReplies);
        let part = outcome(2, failed(&[carts])).unwrap();
        assert_eq!(part, BTreeMap::from([(carts, "no answer".to_owned())]));
        let refused = outcome(2, failed(&[carts, replies]))
            .unwrap_err()
            .to_string();
        for text in [
            "shopping.checkouts.dlq",
            "ordering.replies.dlq",
            "no answer",
        ] {
            assert!(refused.contains(text), "{text}: {refused}");
        }
    }
}
