//! `--check-config`: everything that can be asked, asked once.
#![allow(clippy::print_stdout)] // The report is this command's output.

use std::fmt::Write;
use std::time::Duration;

use contracts::Codec;
use runtime::Handler;

use crate::CommonArgs;
use crate::database::{Database, describe_error};

/// Limit of each check.
const LIMIT: Duration = Duration::from_secs(30);

/// The findings so far.
#[derive(Default)]
struct Findings {
    text: String,
    failed: bool,
}

impl Findings {
    fn add(&mut self, part: &str, finding: Result<String, String>) {
        let (mark, text) = match finding {
            Ok(text) => ("ok  ", text),
            Err(text) => {
                self.failed = true;
                ("FAIL", text)
            }
        };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{mark}  {part:<9}  {text}");
    }
}

/// Prints a report and returns whether all is well.
pub(crate) async fn check<H: Handler>(args: &CommonArgs, database: &Database) -> bool {
    let mut findings = Findings::default();
    findings.add("values", Ok("all values can be used".into()));
    findings.add("database", limited(check_database(database)).await);
    findings.add("schemas", limited(check_schemas::<H>(args)).await);
    findings.add("topics", limited(check_topics::<H>(args)).await);
    print!("{}", findings.text);
    !findings.failed
}

/// Prints what is wrong with the values themselves.
pub(crate) fn report_problems(problems: &[String]) {
    let mut findings = Findings::default();
    for problem in problems {
        findings.add("values", Err(problem.clone()));
    }
    print!("{}", findings.text);
}

async fn limited(check: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    tokio::time::timeout(LIMIT, check)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
}

async fn check_database(database: &Database) -> Result<String, String> {
    let name = database.describe();
    let version = async {
        let client = database.connect().await?;
        let row = client.query_one("SHOW server_version", &[]).await?;
        row.try_get::<_, String>(0)
    };
    match version.await {
        Ok(version) => Ok(format!("{name} answers, PostgreSQL {version}")),
        Err(error) => Err(format!("{name}: {}", describe_error(&error))),
    }
}

async fn check_schemas<H: Handler>(args: &CommonArgs) -> Result<String, String> {
    let registry = args.registry_config();
    match Codec::connect(&registry, args.topic_names(), H::PRODUCES).await {
        Ok(_) => Ok(format!(
            "{} schemas are registered at {}",
            H::PRODUCES.len(),
            registry.urls.join(", ")
        )),
        Err(error) => Err(error.to_string()),
    }
}

async fn check_topics<H: Handler>(args: &CommonArgs) -> Result<String, String> {
    let settings = args.settings(H::NAME);
    let missing = runtime::missing_topics::<H>(&settings, &args.topic_names()).await?;
    if missing.is_empty() {
        Ok(format!(
            "all topics exist at {}",
            settings.kafka.bootstrap_servers
        ))
    } else {
        Err(format!(
            "topics are missing: {}; create them with `checkoutctl topics apply`",
            missing.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_fails_the_whole() {
        let mut findings = Findings::default();
        findings.add("database", Ok("answers".into()));
        assert!(!findings.failed);
        findings.add("schemas", Err("not there".into()));
        findings.add("topics", Ok("exist".into()));
        assert!(findings.failed);
        assert_eq!(
            findings.text,
            "ok    database   answers\nFAIL  schemas    not there\nok    topics     exist\n"
        );
    }
}
