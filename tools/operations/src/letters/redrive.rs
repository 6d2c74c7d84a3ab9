//! Publishes letters again where they came from.

use std::num::NonZeroU32;
use std::time::Duration;

use audit::{Result, Target};
use contracts::DLQ_HEADERS;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::ledger::{Ledger, MARK_EVERY};
use super::{Letter, Letters, Redriven, remember};
use crate::publish::{Outgoing, Publisher};
use crate::show::clean;

/// Headers that tell of an earlier redrive.
const REDRIVEN: &str = "checkout_redriven_";
/// The shortest pause between two records: what is less is no interval.
const PAUSE_MIN: Duration = Duration::from_nanos(1);

/// What redriving would do: nothing is published.
///
/// # Errors
/// When it could not be remembered which letters were handled; says what to do instead.
pub async fn rehearse(target: &Target, letters: &Letters) -> Result<Vec<Redriven>> {
    check(target, letters).await?;
    let letters = letters.letters.iter();
    let planned = letters.map(|letter| Redriven::planned(&target.topics, letter));
    Ok(planned.collect())
}

/// Publishes letters again as they were, but for the headers that tell of the error,
/// at most so many a second; `operator` and `reason` go into headers. What was
/// published is marked as handled. `tell` hears how far it is.
///
/// What goes wrong later than before the first letter is in the result: a letter that
/// alone cannot be published, and, where the cluster is lost or somebody else took the
/// room for marks, what was published and could not be marked, and what was not tried.
///
/// # Errors
/// When Kafka cannot be reached before anything is published, or it could not be
/// remembered which letters were handled.
pub async fn redrive(
    target: &Target,
    letters: &Letters,
    rate: NonZeroU32,
    operator: &str,
    reason: &str,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<Vec<Redriven>> {
    check(target, letters).await?;
    let publisher = Publisher::new(&target.kafka)?;
    let letters = letters.letters.as_slice();
    let mut ledger = Ledger::of(&target.topics, letters);
    let mut turns = turns(rate);
    for (index, letter) in letters.iter().enumerate() {
        turns.tick().await;
        let record = outgoing(target, letter, operator, reason);
        ledger.sent(index, publisher.send(record).await);
        tell(&format!("{} of {} redriven", index + 1, letters.len()));
        if ledger.is_due() {
            mark(target, &mut ledger).await;
        }
        if ledger.is_stopped() {
            break;
        }
    }
    // What was published last, and once more what could not be marked.
    mark(target, &mut ledger).await;
    Ok(ledger.close())
}

/// Makes sure that they can be marked, batch by batch.
async fn check(target: &Target, letters: &Letters) -> Result<()> {
    let batches = letters.letters.chunks(MARK_EVERY);
    let batches = batches.map(|batch| remember::places(batch.iter()));
    remember::check(target, batches.collect(), None).await
}

async fn mark(target: &Target, ledger: &mut Ledger<'_>) {
    let places = remember::places(ledger.unmarked());
    if !places.is_empty() {
        let failed = remember::mark(target, places, None).await;
        ledger.marked(&failed);
    }
}

/// Ticks at most so often a second, from now on; also after one that came late.
fn turns(rate: NonZeroU32) -> Interval {
    let pause = Duration::from_secs(1) / rate.get();
    let mut turns = interval(pause.max(PAUSE_MIN));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

fn outgoing(target: &Target, letter: &Letter, operator: &str, reason: &str) -> Outgoing {
    let kept = letter
        .raw
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with(DLQ_HEADERS) && !name.starts_with(REDRIVEN));
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

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    fn rate(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_rate_are_published_in_a_second() {
        let begin = Instant::now();
        let mut turns = turns(rate(4));
        for _ in 0..9 {
            turns.tick().await;
        }
        // The first at once, then eight pauses.
        assert_eq!(begin.elapsed(), Duration::from_secs(2));
        // Time that was lost is not made up for by a burst.
        advance(Duration::from_secs(60)).await;
        turns.tick().await;
        let late = Instant::now();
        turns.tick().await;
        assert_eq!(late.elapsed(), Duration::from_millis(250));
    }

    #[tokio::test(start_paused = true)]
    async fn any_rate_that_can_be_said_is_one() {
        for number in [1, 1_000_000_000, u32::MAX] {
            turns(rate(number)).tick().await;
        }
    }
}
