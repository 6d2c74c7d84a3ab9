//! Who looks at what, and how often. Each thing is looked at by itself, so that one that
//! is slow holds up none of the others.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use operations::backlog::{self, Backlog};
use operations::letters::{self, Filter, Most};
use operations::sagas::{self, Listed, Standing};
use tokio::time::{sleep, timeout};

use super::{Look, Open, Sight, services};
use crate::console::{Shared, on_thread};

/// Checkouts that ended last which are shown.
const ENDED_SHOWN: u32 = 10;
/// The rest after a look at databases and topics is so many times as long as the look:
/// what is slow is asked less often.
const REST_FACTOR: u32 = 4;
/// Services are asked as often as they can be: what they answer is at hand.
const NO_REST: u32 = 0;
/// What was found is old after so many intervals, and never sooner than that.
const OLD_AFTER_LOOKS: u32 = 4;
const OLD_AFTER_MIN: Duration = Duration::from_secs(10);
/// A look that takes longer is told of in the log, again and again.
const LONG_LOOK: Duration = Duration::from_secs(60);
/// What is shown in place of what a look would have found, had it not broken down.
const BROKE_DOWN: &str = "the console broke down over this look, and tries again; its log says why";

/// Looks for ever, in the background.
pub(crate) fn start(console: &Shared) {
    let limits = &console.limits;
    let http = reqwest::Client::builder()
        .timeout(limits.timeout())
        .build()
        .unwrap_or_default();
    let every = Duration::from_millis(limits.metrics_interval_ms);
    let names: BTreeSet<&'static str> = console.instances.iter().map(|of| of.service).collect();
    for service in names {
        let http = http.clone();
        let look = move |console: Shared| {
            let http = http.clone();
            async move { Ok(services::answers(&console.instances, service, &http).await) }
        };
        keep_looking(
            console,
            service,
            every,
            NO_REST,
            look,
            move |sight, look| {
                services::put(sight, service, look, Instant::now());
            },
        );
    }
    let brakes = move |console: Shared| {
        let http = http.clone();
        async move { services::participants(&console.instances, &http).await }
    };
    keep_looking(console, "brakes", every, NO_REST, brakes, |sight, look| {
        sight.participants = Some(look);
    });
    let (every, rest) = (Duration::from_millis(limits.look_interval_ms), REST_FACTOR);
    keep_looking(
        console,
        "sagas by step",
        every,
        rest,
        standing,
        |sight, look| {
            sight.standing = Some(look);
        },
    );
    keep_looking(console, "ended sagas", every, rest, ended, |sight, look| {
        sight.ended = Some(look);
    });
    keep_looking(console, "backlog", every, rest, backlog, |sight, look| {
        sight.backlog = Some(look);
    });
    keep_looking(
        console,
        "dead letters",
        every,
        rest,
        open_letters,
        |sight, look| {
            sight.letters = Some(look);
        },
    );
}

/// Looks at one thing for ever, and puts down what came of it. A look that breaks down
/// is told of, on the page and in the log, and made again.
fn keep_looking<T, Looking>(
    console: &Shared,
    what: &'static str,
    every: Duration,
    rest_factor: u32,
    look: impl Fn(Shared) -> Looking + Clone + Send + 'static,
    put: impl Fn(&mut Sight, Look<T>) + Send + 'static,
) where
    T: Send + 'static,
    Looking: Future<Output = Result<T, String>> + 'static,
{
    let lasts = every.saturating_mul(OLD_AFTER_LOOKS).max(OLD_AFTER_MIN);
    let console = Shared::clone(console);
    tokio::spawn(async move {
        loop {
            let (begin, at) = (Instant::now(), Timestamp::now());
            let (of, look) = (Shared::clone(&console), look.clone());
            let mut looking = pin!(on_thread(move || look(of)));
            let found = loop {
                match timeout(LONG_LOOK, looking.as_mut()).await {
                    Ok(found) => break found,
                    // Another one beside it would only wait, too.
                    Err(_) => tracing::warn!(
                        what,
                        seconds = begin.elapsed().as_secs(),
                        "a look for the overview does not end; what is shown of it grows old"
                    ),
                }
            };
            let found = found.unwrap_or_else(|error| {
                tracing::error!(what, %error, "a look for the overview broke down; it is made again");
                Err(BROKE_DOWN.to_owned())
            });
            let took = begin.elapsed();
            // One that takes as long again has to have come, after its rest.
            let lasts = lasts.max(took.saturating_mul(rest_factor + 2));
            let lasts = SignedDuration::try_from(lasts).unwrap_or(SignedDuration::MAX);
            console
                .seen
                .put(|sight| put(sight, Look { found, at, lasts }));
            sleep(every.max(took.saturating_mul(rest_factor))).await;
        }
    });
}

async fn standing(console: Shared) -> Result<Vec<Standing>, String> {
    let found = sagas::standing(&console.target, console.limits.timeout()).await;
    found.map_err(|error| error.to_string())
}

async fn ended(console: Shared) -> Result<Vec<Listed>, String> {
    let limit = console.limits.timeout();
    let found = sagas::ended_last(&console.target, ENDED_SHOWN, limit).await;
    found.map_err(|error| error.to_string())
}

async fn backlog(console: Shared) -> Result<Vec<Backlog>, String> {
    let found = backlog::backlog(&console.target, console.limits.timeout()).await;
    found.map_err(|error| error.to_string())
}

async fn open_letters(console: Shared) -> Result<Open, String> {
    let most = Most {
        letters: console.limits.page_letters as usize,
        bytes: console.limits.letters_read_bytes as usize,
    };
    let found = letters::read(&console.target, &Filter::default(), most, &|_| {}).await;
    let found = found.map_err(|error| error.to_string())?;
    Ok(Open {
        letters: found.letters.len(),
        more: found.more,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use clap::Parser;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::console::Console;
    use crate::options::Options;

    const EVERY: Duration = Duration::from_millis(1);
    const PATIENCE: Duration = Duration::from_secs(30);

    fn console() -> Shared {
        let options = Options::parse_from(["console"]);
        Console::new(options, "127.0.0.1:0".parse().unwrap()).unwrap()
    }

    /// Whether what is seen becomes like this before patience ends.
    async fn becomes(console: &Shared, holds: impl Fn(&Sight) -> bool) -> bool {
        let waiting = async {
            while !holds(&console.seen.now()) {
                sleep(EVERY).await;
            }
        };
        timeout(PATIENCE, waiting).await.is_ok()
    }

    fn put_standing(sight: &mut Sight, look: Look<Vec<Standing>>) {
        sight.standing = Some(look);
    }

    async fn quick(_: Shared) -> Result<Vec<Listed>, String> {
        Ok(Vec::new())
    }

    #[tokio::test]
    async fn a_look_that_breaks_down_is_told_of_and_made_again() {
        let console = console();
        let breaks = Arc::new(AtomicBool::new(true));
        let look = {
            let breaks = Arc::clone(&breaks);
            move |_: Shared| {
                let breaks = Arc::clone(&breaks);
                async move {
                    assert!(!breaks.load(Ordering::Relaxed), "as the test wants it");
                    Ok(Vec::new())
                }
            }
        };
        keep_looking(&console, "a test", EVERY, NO_REST, look, put_standing);
        let found = |sight: &Sight| sight.standing.as_ref().map(|look| look.found.clone());
        let broke_down = |sight: &Sight| found(sight) == Some(Err(BROKE_DOWN.to_owned()));
        assert!(becomes(&console, broke_down).await, "it is told of");
        breaks.store(false, Ordering::Relaxed);
        let is_well = |sight: &Sight| found(sight) == Some(Ok(Vec::new()));
        assert!(becomes(&console, is_well).await, "it is made again");
    }

    #[tokio::test]
    async fn a_look_that_does_not_end_holds_up_no_other() {
        let console = console();
        let gate = Arc::new(Semaphore::new(0));
        let slow = {
            let gate = Arc::clone(&gate);
            move |_: Shared| {
                let gate = Arc::clone(&gate);
                async move {
                    // Ends when the gate is closed.
                    let _ = gate.acquire().await;
                    Ok(Vec::new())
                }
            }
        };
        keep_looking(&console, "slow", EVERY, NO_REST, slow, put_standing);
        keep_looking(&console, "quick", EVERY, NO_REST, quick, |sight, look| {
            sight.ended = Some(look);
        });
        let first = Timestamp::now();
        let later = move |sight: &Sight| sight.ended.as_ref().is_some_and(|look| look.at > first);
        let goes_on = becomes(&console, later).await;
        let slow = console.seen.now().standing;
        // Before anything is judged: the runtime does not end before the slow one does.
        gate.close();
        assert!(goes_on, "the quick one is looked at again");
        assert!(slow.is_none(), "the slow one has ended: {slow:?}");
    }
}
