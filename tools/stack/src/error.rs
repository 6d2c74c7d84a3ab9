//! What can go wrong while the parts start, run and stop.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the stack could not do what it was asked to; each says what to do or
/// shows what the part itself had to say.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No provider can be used on this machine; the text lists what each lacks.
    #[error("{0}")]
    NoProvider(String),
    /// A part or service did not become ready within its limit.
    #[error("{what} was not ready after {:.0} s: {reason}{tail}", waited.as_secs_f64())]
    NotReady {
        /// The part or service.
        what: String,
        /// How long it was waited for.
        waited: Duration,
        /// What the last probe found.
        reason: String,
        /// The end of its log.
        tail: LogTail,
    },
    /// A part or service ended while it was needed.
    #[error("{what} ended ({status}){tail}")]
    Ended {
        /// The part or service.
        what: String,
        /// Exit status or signal.
        status: String,
        /// The end of its log.
        tail: LogTail,
    },
    /// A command that the stack ran failed.
    #[error("{command} failed ({status}):\n{output}")]
    Command {
        /// The command, as a person would type it.
        command: String,
        /// Exit status or signal.
        status: String,
        /// The last lines it wrote.
        output: String,
    },
    /// The guard process could not be asked, or refused.
    #[error("the guard process: {0}")]
    Guard(String),
    /// A file, folder, socket or process could not be used.
    #[error("{doing}: {cause}")]
    Io {
        /// What was being done, naming the file, address or program.
        doing: String,
        /// The system's error.
        cause: std::io::Error,
    },
    /// A statement failed on PostgreSQL.
    #[error("{doing}: {}", audit::describe(cause))]
    Database {
        /// What was being done, naming the database.
        doing: String,
        /// PostgreSQL's error.
        cause: tokio_postgres::Error,
    },
    /// Topics or schemas could not be applied.
    #[error("{doing}: {cause:#}")]
    Deploy {
        /// What was being applied, and where.
        doing: String,
        /// The cause, with its own causes.
        cause: anyhow::Error,
    },
    /// Topics or databases could not be read.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The request itself makes no sense here; the text says why.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// For `map_err`: wraps a system error with what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |cause| Self::Io { doing, cause }
    }

    /// For `map_err`: wraps an error of PostgreSQL with what was being done.
    pub(crate) fn database(doing: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let doing = doing.into();
        move |cause| Self::Database { doing, cause }
    }
}

/// The last lines of a log file, for an error message, and the errors before them: a
/// part that ends writes much about how it ends after it has said why.
#[derive(Debug, Clone, Default)]
pub struct LogTail {
    path: PathBuf,
    lines: Vec<String>,
}

/// Lines of a log that an error shows.
const TAIL_LINES: usize = 25;
/// Earlier lines that it shows because they tell of errors.
const ERROR_LINES: usize = 10;
/// Bytes at the end of a log that are looked at.
const TAIL_BYTES: u64 = 256 * 1024;

impl LogTail {
    /// The last lines of the file at `path`; empty when it cannot be read.
    pub fn of(path: &Path) -> Self {
        use std::io::{Read, Seek, SeekFrom};
        let read = || -> std::io::Result<String> {
            let mut file = std::fs::File::open(path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let text = read().unwrap_or_default();
        let before = text.lines().count().saturating_sub(TAIL_LINES);
        let before = text.lines().take(before);
        let errors: Vec<_> = before.filter(|line| is_error(line)).collect();
        let mut lines = last_lines(&errors.join("\n"), ERROR_LINES);
        if !lines.is_empty() {
            lines.push("[…]".into());
        }
        lines.extend(last_lines(&text, TAIL_LINES));
        Self {
            path: path.to_path_buf(),
            lines,
        }
    }
}

impl fmt::Display for LogTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.as_os_str().is_empty() {
            return Ok(());
        }
        write!(f, "\n--- last lines of {} ---", self.path.display())?;
        if self.lines.is_empty() {
            write!(f, "\n(empty)")?;
        }
        self.lines.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

/// Whether Kafka, the registry or PostgreSQL tells of an error by this line.
fn is_error(line: &str) -> bool {
    ["ERROR", "FATAL", "Exception"]
        .iter()
        .any(|word| line.contains(word))
}

/// The last `count` lines of `text`.
pub(crate) fn last_lines(text: &str, count: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..]
        .iter()
        .map(|line| (*line).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_shows_the_last_lines_and_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.log");
        let text: String = (1..=100).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let shown = LogTail::of(&path).to_string();
        assert!(shown.contains("part.log"), "{shown}");
        assert!(shown.ends_with("line 100"), "{shown}");
        assert!(!shown.contains("line 75\n"), "{shown}");
        assert!(shown.contains("line 76\n"), "{shown}");
        assert!(!shown.contains("[…]"), "{shown}");
    }

    #[test]
    fn a_tail_shows_the_error_that_came_long_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.log");
        let shutdown = "INFO closed one more\n".repeat(100);
        std::fs::write(&path, format!("ERROR the port is taken\n{shutdown}")).unwrap();
        let shown = LogTail::of(&path).to_string();
        let shows = "part.log ---\nERROR the port is taken\n[…]\nINFO";
        assert!(shown.contains(shows), "{shown}");
    }

    #[test]
    fn a_log_that_is_not_there_says_so_quietly() {
        let shown = LogTail::of(Path::new("/does/not/exist.log")).to_string();
        assert!(shown.contains("(empty)"), "{shown}");
        assert_eq!(LogTail::default().to_string(), "");
    }
}
