//! What the native provider needs on this machine.

use std::time::Duration;

use tokio::process::Command;

use super::{cache, java};
use crate::command;

/// The oldest Java that the parts run on.
const JAVA_VERSION: u32 = 17;
/// Asking a program for its version.
const LIMIT: Duration = Duration::from_secs(20);

/// What is missing; empty when the native provider can be used.
pub(crate) async fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    let mut ask = Command::new(java());
    ask.arg("-version");
    match command::run(ask, LIMIT, |_| {}).await {
        Ok(lines) => match lines.iter().find_map(|line| java_version(line)) {
            Some(version) if version >= JAVA_VERSION => {}
            Some(version) => {
                missing.push(format!("Java {JAVA_VERSION} or newer (found {version})"))
            }
            None => missing.push(format!(
                "Java {JAVA_VERSION} or newer (its version is unclear)"
            )),
        },
        Err(_) => missing.push(format!("Java {JAVA_VERSION} or newer")),
    }
    if !cache::is_filled() {
        let mut ask = Command::new("mvn");
        ask.arg("--version");
        if command::run(ask, LIMIT, |_| {}).await.is_err() {
            missing.push("Maven (`mvn`), to fetch Kafka, the registry and PostgreSQL".into());
        }
    }
    missing
}

/// The major version in `openjdk version "17.0.15" 2025-04-15`.
fn java_version(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once(" version \"")?;
    let mut numbers = rest
        .split(|c: char| !c.is_ascii_digit())
        .map(|digits| digits.parse().ok());
    match numbers.next()?? {
        // Until Java 8 it was called 1.8.
        1 => numbers.next()?,
        major => Some(major),
    }
}

#[cfg(test)]
mod tests {
    use super::java_version;

    #[test]
    fn versions_old_and_new() {
        let version = |text: &str| java_version(&format!("openjdk version \"{text}\" 2025-04-15"));
        assert_eq!(version("17.0.15"), Some(17));
        assert_eq!(version("21"), Some(21));
        assert_eq!(version("25-ea"), Some(25));
        assert_eq!(version("1.8.0_392"), Some(8));
        assert_eq!(java_version("OpenJDK Runtime Environment (build 17)"), None);
    }
}
