//! Runs a command to its end, bounded in time, and follows what it writes.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::error::{Error, Result};

/// Lines of a failed command that the error shows.
const SHOWN_LINES: usize = 30;
/// Lines that are remembered while it runs.
const KEPT_LINES: usize = 2_000;

/// Runs `command`; each piece of its output (both streams; ended by a line
/// feed, or by the carriage return of a progress display) is given to
/// `on_piece`. Returns all pieces.
///
/// The command is killed when this future is dropped.
pub(crate) async fn run(
    mut command: Command,
    limit: Duration,
    mut on_piece: impl FnMut(&str),
) -> Result<Vec<String>> {
    let shown = shown(&command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::io(format!("cannot run {shown}")))?;
    let (sender, mut pieces) = mpsc::channel(64);
    if let Some(out) = child.stdout.take() {
        tokio::spawn(split(out, sender.clone()));
    }
    if let Some(err) = child.stderr.take() {
        tokio::spawn(split(err, sender.clone()));
    }
    drop(sender);

    let mut kept = Vec::new();
    let finish = async {
        while let Some(piece) = pieces.recv().await {
            on_piece(&piece);
            if kept.len() >= KEPT_LINES {
                kept.drain(..KEPT_LINES / 2);
            }
            kept.push(piece);
        }
        child.wait().await
    };
    match tokio::time::timeout(limit, finish).await {
        Ok(Ok(status)) if status.success() => Ok(kept),
        outcome => Err(Error::Command {
            command: shown,
            status: match outcome {
                Ok(Ok(status)) => status.to_string(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("it was stopped after {} s", limit.as_secs()),
            },
            output: kept[kept.len().saturating_sub(SHOWN_LINES)..].join("\n"),
        }),
    }
}

/// The command as a person would type it.
fn shown(command: &Command) -> String {
    let command = command.as_std();
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

async fn split(mut from: impl AsyncRead + Unpin, to: mpsc::Sender<String>) {
    let mut buffer = [0; 4096];
    let mut piece = Vec::new();
    loop {
        // An error here means the same as the end: nothing more to read.
        let read = from.read(&mut buffer).await.unwrap_or(0);
        for byte in &buffer[..read] {
            match byte {
                b'\n' | b'\r' => {
                    let text = String::from_utf8_lossy(&piece).trim_end().to_owned();
                    piece.clear();
                    if !text.is_empty() && to.send(text).await.is_err() {
                        return;
                    }
                }
                byte => piece.push(*byte),
            }
        }
        if read == 0 {
            if !piece.is_empty() {
                let _ = to.send(String::from_utf8_lossy(&piece).into_owned()).await;
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn pieces_come_one_by_one() {
        let mut seen = Vec::new();
        let script = "printf 'one\\rtwo\\n\\nthree'";
        let kept = run(shell(script), LIMIT, |piece| seen.push(piece.to_owned()))
            .await
            .unwrap();
        assert_eq!(seen, ["one", "two", "three"]);
        assert_eq!(kept, seen);
    }

    #[tokio::test]
    async fn failure_shows_what_it_wrote() {
        let outcome = run(shell("echo it broke >&2; exit 3"), LIMIT, |_| {}).await;
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("it broke"), "{error}");
        assert!(error.contains('3'), "{error}");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_stopped() {
        let outcome = run(shell("exec sleep 600"), Duration::from_millis(100), |_| {}).await;
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("it was stopped after"), "{error}");
    }
}
