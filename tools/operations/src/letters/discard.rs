//! Passes letters over for good.

use audit::{Error, Result, Target};
use jiff::Timestamp;

use super::{Discarded, Letters, remember};
use crate::show::clean;

/// Marks letters as handled without publishing them; `operator` and `reason` are kept
/// with the marks. The letters stay in their topic until its retention is over. A dry
/// run only finds out whether it can be remembered.
///
/// # Errors
/// When it could not be remembered, of some topics at least; to do it again is harmless.
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
    let places = remember::places(letters.letters.iter());
    // Of all topics, before anything is marked.
    remember::check(target, vec![places.clone()], Some(&discarded)).await?;
    if dry_run {
        return Ok(());
    }
    let failed = remember::mark(target, places, Some(&discarded)).await;
    match failed.is_empty() {
        true => Ok(()),
        false => {
            let topics: Vec<String> = failed.keys().map(|topic| format!("{topic}.dlq")).collect();
            let why: Vec<String> = failed.into_values().collect();
            Err(Error::Invalid(format!(
                "letters of {} are not discarded: {}; do it again",
                topics.join(", "),
                why.join("; ")
            )))
        }
    }
}
