//! Publishes letters again where they came from, or passes them over for good.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use audit::{Error, Result, Target};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use super::{Discarded, ERRORS, Letter, LetterId, Letters, marks};
use crate::publish::{Outgoing, Publisher};
use crate::show::{BAD, GOOD, WARN, clean, paint, table};

/// Headers that tell of an earlier redrive.
const REDRIVEN: &str = "checkout_redriven_";
/// So many are published between two marks: after a crash they are published again.
const MARK_EVERY: usize = 100;

/// What came of a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Redriven {
    /// The letter.
    pub letter: LetterId,
    /// The topic that it goes to.
    pub to: String,
    /// Partition and offset that it has there now.
    pub place: Option<(i32, i64)>,
    /// What is still wrong with it: it will probably come back.
    pub warning: Option<String>,
    /// Why it was not published.
    pub error: Option<String>,
}

fn plan(target: &Target, letter: &Letter) -> Redriven {
    Redriven {
        letter: letter.letter.clone(),
        to: target.topics.name(letter.topic).to_owned(),
        place: None,
        warning: letter
            .decodes_not
            .as_ref()
            .map(|why| format!("still does not decode: {why}")),
        error: None,
    }
}

/// What redriving would do: nothing is published.
///
/// # Errors
/// When it could not be remembered which letters were handled.
pub async fn rehearse(target: &Target, letters: &Letters) -> Result<Vec<Redriven>> {
    mark(target, letters.letters.iter(), None, true).await?;
    let planned = letters.letters.iter().map(|letter| plan(target, letter));
    Ok(planned.collect())
}

/// Publishes letters again as they were, but for the headers that tell of the error,
/// at most so many a second; `operator` and `reason` go into headers. What was
/// published is marked as handled. `tell` hears how far it is.
///
/// # Errors
/// When Kafka cannot be reached, or it could not be remembered which letters were
/// handled; a letter that alone cannot be published is in the result.
pub async fn redrive(
    target: &Target,
    letters: &Letters,
    rate: NonZeroU32,
    operator: &str,
    reason: &str,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<Vec<Redriven>> {
    // Before anything is published: that it can be remembered.
    mark(target, letters.letters.iter(), None, true).await?;
    let publisher = Publisher::new(&target.kafka)?;
    let mut ticks = interval(Duration::from_secs(1) / rate.get());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut all = Vec::with_capacity(letters.letters.len());
    let mut published = Vec::new();
    for letter in &letters.letters {
        ticks.tick().await;
        let mut done = plan(target, letter);
        match publisher
            .send(outgoing(target, letter, operator, reason))
            .await
        {
            Ok(place) => {
                done.place = Some(place);
                published.push(letter);
            }
            Err(error) => done.error = Some(error.to_string()),
        }
        all.push(done);
        if published.len() >= MARK_EVERY {
            mark(target, published.drain(..), None, false).await?;
        }
        tell(&format!(
            "{} of {} redriven",
            all.len(),
            letters.letters.len()
        ));
    }
    mark(target, published.into_iter(), None, false).await?;
    Ok(all)
}

/// Marks letters as handled without publishing them; `operator` and `reason` are kept
/// with the marks. The letters stay in their topic until its retention is over. A dry
/// run only finds out whether it can be remembered.
///
/// # Errors
/// When it could not be remembered.
pub async fn discard(
    target: &Target,
    letters: &Letters,
    operator: &str,
    reason: &str,
    dry_run: bool,
) -> Result<()> {
    let discarded = Discarded {
        by: clean(operator),
        at: Timestamp::now(),
        reason: clean(reason),
    };
    // Of all topics, before anything is marked.
    mark(target, letters.letters.iter(), Some(&discarded), true).await?;
    match dry_run {
        true => Ok(()),
        false => mark(target, letters.letters.iter(), Some(&discarded), false).await,
    }
}

fn outgoing(target: &Target, letter: &Letter, operator: &str, reason: &str) -> Outgoing {
    let kept = letter
        .raw
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with(ERRORS) && !name.starts_with(REDRIVEN));
    let told = [
        ("from", letter.letter.to_string()),
        ("by", clean(operator)),
        ("reason", clean(reason)),
    ];
    let told = told
        .into_iter()
        .map(|(name, value)| (format!("{REDRIVEN}{name}"), Some(value.into_bytes())));
    Outgoing {
        topic: target.topics.name(letter.topic).to_owned(),
        key: letter.raw.key.clone(),
        payload: letter.raw.payload.clone(),
        headers: kept.cloned().chain(told).collect(),
    }
}

async fn mark(
    target: &Target,
    letters: impl Iterator<Item = &Letter>,
    discarded: Option<&Discarded>,
    dry_run: bool,
) -> Result<()> {
    let mut handled: BTreeMap<String, BTreeMap<i32, Vec<i64>>> = BTreeMap::new();
    for letter in letters {
        let id = &letter.letter;
        let of_topic = handled.entry(id.topic.clone()).or_default();
        of_topic.entry(id.partition).or_default().push(id.offset);
    }
    let (target, discarded) = (target.clone(), discarded.cloned());
    tokio::task::spawn_blocking(move || {
        for (topic, handled) in &handled {
            marks::mark(&target, topic, handled, discarded.as_ref(), dry_run)?;
        }
        Ok(())
    })
    .await
    .map_err(|_| Error::Invalid("the thread that asks Kafka broke down".to_owned()))?
}

impl Redriven {
    /// A table for people, with colours.
    pub fn text(all: &[Redriven], dry_run: bool) -> String {
        let rows = all.iter().map(|one| {
            let (style, result, detail) = match (&one.error, &one.warning) {
                (Some(error), _) => (BAD, "failed", error.clone()),
                (None, Some(warning)) if dry_run => (WARN, "would be redriven", warning.clone()),
                (None, _) if dry_run => (GOOD, "would be redriven", String::new()),
                (None, warning) => (GOOD, "redriven", warning.clone().unwrap_or_default()),
            };
            vec![
                one.letter.to_string(),
                paint(style, result),
                match one.place {
                    Some((partition, offset)) => format!("{}:{partition}:{offset}", one.to),
                    None => one.to.clone(),
                },
                detail,
            ]
        });
        table(&["LETTER", "RESULT", "TO", ""], rows.collect())
    }
}
