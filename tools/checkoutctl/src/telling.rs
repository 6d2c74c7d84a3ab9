//! What a person reads while a command takes its time.

use std::io::{IsTerminal, Write};
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

/// What takes no longer than this needs no word about it; and between two words.
const TELL_AFTER: Duration = Duration::from_secs(1);
/// How often it is looked whether there is something to say.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Says on standard error what is being read: one line that changes on a
/// terminal, else a line now and then.
pub(crate) struct Telling {
    last: Mutex<Instant>,
    is_terminal: bool,
}

impl Telling {
    pub(crate) fn new() -> Self {
        Self {
            last: Mutex::new(Instant::now()),
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    pub(crate) fn tell(&self, text: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < TELL_AFTER {
            return;
        }
        *last = Instant::now();
        match self.is_terminal {
            true => self::text(&format!("\r\x1b[2K{text}")),
            false => line(text),
        }
    }

    pub(crate) fn clear(&self) {
        if self.is_terminal {
            text("\r\x1b[2K");
        }
    }
}

/// A line on standard error.
pub(crate) fn line(text: &str) {
    self::text(&format!("{text}\n"));
}

/// Text on standard error. Unlike `eprint!`, which panics where nobody reads it any more.
pub(crate) fn text(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What long work is at. The last step is told again and again, and for how long all of
/// it has taken: so a step that hangs is seen as well.
pub(crate) struct Steps(Mutex<String>);

impl Steps {
    pub(crate) fn new(first: &str) -> Self {
        Self(Mutex::new(first.to_owned()))
    }

    /// The next step begins.
    pub(crate) fn tell(&self, step: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = step.to_owned();
    }

    /// Waits for the work and tells of its steps.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let telling = Telling::new();
        let begin = Instant::now();
        let mut work = pin!(work);
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut work => {
                    telling.clear();
                    return done;
                }
                _ = ticks.tick() => telling.tell(&self.line(begin.elapsed())),
            }
        }
    }

    fn line(&self, taken: Duration) -> String {
        let step = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{step}: {} s", taken.as_secs())
    }
}

/// Waits for what has no steps to count, and says for how long it has.
pub(crate) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    Steps::new(what).during(work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_step_is_told_with_the_time_that_all_has_taken() {
        let steps = Steps::new("reading");
        assert_eq!(steps.line(Duration::from_millis(1_900)), "reading: 1 s");
        let done = steps.during(async {
            steps.tell("5 of 7 redriven");
            7
        });
        assert_eq!(done.await, 7);
        let line = steps.line(Duration::from_secs(63));
        assert_eq!(line, "5 of 7 redriven: 63 s");
    }
}
