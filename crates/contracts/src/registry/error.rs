//! What can go wrong with the registry, told from its answers.

use std::error::Error;

use schema_registry_converter::{error::SRCError, schema_registry_common::RawError};
use serde::Deserialize;

use super::RegistryConfig;

/// Why the schema registry did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The configuration cannot be right.
    #[error("schema registry misconfigured: {0}")]
    Misconfigured(String),
    /// The registry did not answer in time, or what answered is no registry.
    #[error(
        "schema registry at {urls} cannot be reached: {detail}; check its URL and that it runs"
    )]
    Unreachable {
        /// Where it was looked for.
        urls: String,
        /// What happened.
        detail: String,
    },
    /// The registry refuses the request: credentials or rights are missing.
    #[error("schema registry refused the request: {0}; check user, password and rights")]
    Refused(String),
    /// The registry does not have what was asked for.
    #[error("schema registry does not have it: {0}")]
    NotFound(String),
    /// The subject's compatibility rule forbids the schema.
    #[error("schema is incompatible with its subject's earlier ones: {0}")]
    Incompatible(String),
    /// The registry calls the request invalid.
    #[error("schema registry calls the request invalid: {0}")]
    Invalid(String),
    /// The registry's answer makes no sense.
    #[error("schema registry's answer makes no sense: {0}")]
    Unintelligible(String),
    /// Subjects that a service writes to lack its schema.
    #[error(
        "schemas are not registered: {}; run `checkoutctl schemas apply`",
        .0.join(", ")
    )]
    MissingSubjects(Vec<String>),
}

impl RegistryError {
    /// Whether the same call may succeed later without anyone doing anything
    /// but bringing the registry back.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Reads a registry's error code: a status, or a status and two digits.
    pub(super) fn from_refusal(config: &RegistryConfig, code: u32, message: &str) -> Self {
        let (status, is_exact) = if code >= 1_000 {
            (code / 100, true)
        } else {
            (code, false)
        };
        let shown = format!("{message} (code {code})");
        match status {
            401 | 403 => Self::Refused(shown),
            // A registry that misses something says what. A bare 404 comes
            // from a wrong path, and must not make a record look undecodable.
            404 if is_exact => Self::NotFound(shown),
            404 => config.unreachable(format!("no schema registry at this path: {shown}")),
            409 => Self::Incompatible(shown),
            400 | 422 => Self::Invalid(shown),
            _ => config.unreachable(shown),
        }
    }
}

/// The registry's own description of an error.
#[derive(Deserialize)]
pub(super) struct Refusal {
    pub(super) error_code: u32,
    pub(super) message: String,
}

/// What an error of the converter means.
pub(super) fn explain(config: &RegistryConfig, error: &SRCError) -> RegistryError {
    if let Some(raw) = error.source().and_then(|s| s.downcast_ref::<RawError>()) {
        // Code 0 stands for an answer without a registry's error in it: some
        // proxy's, or a page that happens to be at the URL.
        return if raw.error_code == 0 {
            config.unreachable(error.error.clone())
        } else {
            RegistryError::from_refusal(config, raw.error_code, &raw.message)
        };
    }
    match error.source() {
        Some(cause) if error.retriable => config.unreachable(chain(cause)),
        _ => RegistryError::Unintelligible(error.to_string()),
    }
}

/// An error and all its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u32) -> RegistryError {
        RegistryError::from_refusal(&RegistryConfig::at("http://localhost"), code, "said so")
    }

    #[test]
    fn only_a_registry_can_say_that_something_is_missing() {
        for code in [40401, 40403, 40408] {
            assert!(matches!(told(code), RegistryError::NotFound(_)), "{code}");
            assert!(!told(code).is_transient());
        }
        assert!(
            told(404).is_transient(),
            "a wrong path is not a missing schema"
        );
    }

    #[test]
    fn what_may_pass_by_itself_is_transient_and_nothing_else() {
        for code in [408, 429, 500, 50002, 503] {
            assert!(told(code).is_transient(), "{code}");
        }
        for code in [401, 40301, 409, 40901, 422, 42201] {
            assert!(!told(code).is_transient(), "{code}");
        }
    }

    #[test]
    fn a_missing_subject_leads_to_the_command_that_registers_it() {
        let error = RegistryError::MissingSubjects(vec!["a-b.C".to_owned(), "a-b.D".to_owned()]);
        assert_eq!(
            error.to_string(),
            "schemas are not registered: a-b.C, a-b.D; run `checkoutctl schemas apply`"
        );
    }
}
