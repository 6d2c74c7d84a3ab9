//! Where the parts come from, and which way works on this machine.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::native::requirements;
use crate::{compose, external};

/// A way to have Kafka, a schema registry and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Plain processes on this machine: needs Java 17 and Maven.
    Native,
    /// Containers by docker-compose.yml: needs a Docker engine.
    Compose,
    /// Parts that run already: needs their addresses in the environment.
    External,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Native => "native",
            Self::Compose => "compose",
            Self::External => "external",
        })
    }
}

impl Provider {
    /// The wanted one if it can be used here; without a wish the first that
    /// can: external, native, compose.
    ///
    /// # Errors
    /// When none can; the error lists what each lacks.
    pub async fn find(wanted: Option<Self>) -> Result<Self> {
        let candidates = match wanted {
            Some(wanted) => vec![wanted],
            None => vec![Self::External, Self::Native, Self::Compose],
        };
        let mut lacking = Vec::new();
        for candidate in candidates {
            let missing = match candidate {
                Self::Native => requirements::missing().await,
                Self::Compose => compose::missing().await,
                Self::External => external::missing().await,
            };
            if missing.is_empty() {
                return Ok(candidate);
            }
            lacking.push((candidate, missing));
        }
        Err(Error::NoProvider(explain(&lacking)))
    }
}

fn explain(lacking: &[(Provider, Vec<String>)]) -> String {
    let mut text = match lacking {
        [(only, _)] => format!("the provider {only} cannot be used here; missing:"),
        _ => "nothing here can provide Kafka, a schema registry and PostgreSQL; missing:".into(),
    };
    for (provider, missing) in lacking {
        text.push_str(&format!(
            "\n  for --provider {provider}: {}",
            missing.join(", ")
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_listed_for_each() {
        let text = explain(&[
            (
                Provider::Native,
                vec!["Java 17 or newer".into(), "Maven".into()],
            ),
            (Provider::Compose, vec!["a Docker engine".into()]),
        ]);
        assert!(text.contains("for --provider native: Java 17 or newer, Maven"));
        assert!(text.contains("for --provider compose: a Docker engine"));
    }
}
