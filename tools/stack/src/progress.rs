//! What a person sees while something takes long: bars on a terminal, a plain
//! line now and then elsewhere. Everything goes to standard error.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two plain lines about the same task.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Moving bars and spinners.
    Bars(MultiProgress),
    /// Plain lines.
    Lines,
    /// Nothing.
    Silent,
}

impl Progress {
    /// Bars when standard error is a terminal, plain lines otherwise.
    pub fn detect() -> Self {
        if std::io::stderr().is_terminal() {
            Self::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()))
        } else {
            Self::Lines
        }
    }

    /// Begins a task of that name, which is shown until it is done or dropped.
    pub fn task(&self, name: impl Into<String>) -> Task {
        let name = name.into();
        let bar = match self {
            Self::Bars(bars) => {
                let bar = bars.add(ProgressBar::new_spinner());
                if let Ok(style) =
                    ProgressStyle::with_template("  {spinner} {prefix:<18} {wide_msg} {elapsed:>5}")
                {
                    bar.set_style(style);
                }
                bar.set_prefix(name.clone());
                bar.enable_steady_tick(Duration::from_millis(120));
                Some(bar)
            }
            Self::Lines | Self::Silent => None,
        };
        Task {
            name,
            bar,
            lines: matches!(self, Self::Lines),
            last_line: Mutex::new(None),
            started: Instant::now(),
        }
    }

    /// Prints a line above the bars, or by itself.
    pub fn line(&self, text: &str) {
        match self {
            // A terminal that went away cannot be told anything.
            Self::Bars(bars) => drop(bars.println(text)),
            Self::Lines => eprintln!("{text}"),
            Self::Silent => {}
        }
    }
}

/// One thing that takes a while.
#[derive(Debug)]
pub struct Task {
    name: String,
    bar: Option<ProgressBar>,
    lines: bool,
    last_line: Mutex<Option<Instant>>,
    started: Instant,
}

impl Task {
    /// Says what it is doing now.
    pub fn update(&self, message: impl Into<Cow<'static, str>>) {
        let message = message.into();
        if let Some(bar) = &self.bar {
            bar.set_message(message);
        } else if self.lines {
            let mut last = self
                .last_line
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if last.is_none_or(|at| at.elapsed() >= LINE_EVERY) {
                *last = Some(Instant::now());
                eprintln!("{}: {message}", self.name);
            }
        }
    }

    /// Ends the task with a last word; the time it took is added.
    pub fn done(self, message: impl Into<Cow<'static, str>>) {
        let message = message.into();
        let seconds = self.started.elapsed().as_secs_f64();
        if let Some(bar) = &self.bar {
            if let Ok(style) = ProgressStyle::with_template("  ✓ {prefix:<18} {wide_msg}") {
                bar.set_style(style);
            }
            bar.finish_with_message(format!("{message} ({seconds:.1} s)"));
        } else if self.lines {
            eprintln!("{}: {message} ({seconds:.1} s)", self.name);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar
            && !bar.is_finished()
        {
            bar.finish_and_clear();
        }
    }
}
