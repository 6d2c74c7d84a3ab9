//! Where the registry is, and how patiently it is asked.

use std::{fmt, time::Duration};

use super::RegistryError;

/// Where the schema registry is, and the limits of a call to it.
///
/// ```
/// use contracts::RegistryConfig;
/// let config = RegistryConfig {
///     urls: vec!["http://localhost:8081".to_owned()],
///     ..RegistryConfig::default()
/// };
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Base URLs of the registry's nodes, tried in turn.
    pub urls: Vec<String>,
    /// Time limit of one request to one node.
    pub timeout: Duration,
    /// User and password, where the registry wants them.
    pub basic_auth: Option<(String, String)>,
    /// How often a call is tried in all while the registry cannot be reached.
    pub attempts: u32,
    /// Pause after the first failed attempt; doubles with each further one.
    pub backoff: Duration,
    /// Longest pause between two attempts.
    pub backoff_max: Duration,
    /// How long it is remembered that a schema id is unknown.
    pub unknown_id_memory: Duration,
    /// How many unknown ids, and how many writers' schemas, are remembered.
    pub remembered_ids_max: usize,
    /// Whether a codec that got no answer once does not ask for a schema again: for a
    /// command, which ends; not for a service, which waits.
    pub gives_up: bool,
}

impl Default for RegistryConfig {
    /// No URL; five attempts of five seconds each.
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            timeout: Duration::from_secs(5),
            basic_auth: None,
            attempts: 5,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
            unknown_id_memory: Duration::from_secs(30),
            remembered_ids_max: 1_000,
            gives_up: false,
        }
    }
}

impl RegistryConfig {
    /// The default limits for a registry at `url`.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            ..Self::default()
        }
    }

    /// The same registry as a command asks it: a call is tried once and takes no longer
    /// than `limit`, which the nodes share; a codec without an answer asks no more.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        let nodes = u32::try_from(self.urls.len()).unwrap_or(u32::MAX).max(1);
        self.timeout = self.timeout.min(limit / nodes);
        self.attempts = 1;
        self.gives_up = true;
        self
    }

    /// The same configuration with URLs that paths can be appended to.
    pub(super) fn checked(&self) -> Result<Self, RegistryError> {
        let mut config = self.clone();
        for url in &mut config.urls {
            let trimmed = url.trim().trim_end_matches('/');
            if !(trimmed.starts_with("http://") || trimmed.starts_with("https://")) {
                return Err(RegistryError::Misconfigured(format!(
                    "{url:?} is not a URL: it must begin with http:// or https://"
                )));
            }
            *url = trimmed.to_owned();
        }
        if config.urls.is_empty() {
            return Err(RegistryError::Misconfigured("no URL".to_owned()));
        }
        Ok(config)
    }

    pub(super) fn unreachable(&self, detail: String) -> RegistryError {
        RegistryError::Unreachable {
            urls: self.urls.join(", "),
            detail,
        }
    }
}

/// Does not show the password.
impl fmt::Debug for RegistryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryConfig")
            .field("urls", &self.urls)
            .field("timeout", &self.timeout)
            .field("user", &self.basic_auth.as_ref().map(|(user, _)| user))
            .field("attempts", &self.attempts)
            .field("backoff", &self.backoff)
            .field("backoff_max", &self.backoff_max)
            .field("unknown_id_memory", &self.unknown_id_memory)
            .field("remembered_ids_max", &self.remembered_ids_max)
            .field("gives_up", &self.gives_up)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_without_a_usable_url_is_refused() {
        assert!(RegistryConfig::default().checked().is_err());
        let error = RegistryConfig::at("localhost:8081").checked().unwrap_err();
        assert!(error.to_string().contains("localhost:8081"), "{error}");
        let config = RegistryConfig::at("http://localhost:8081/")
            .checked()
            .unwrap();
        assert_eq!(config.urls, ["http://localhost:8081"]);
    }

    #[test]
    fn a_command_waits_no_longer_than_its_limit_whatever_the_number_of_nodes() {
        let config = RegistryConfig {
            urls: vec!["http://a".to_owned(), "http://b".to_owned()],
            ..RegistryConfig::default()
        };
        let command = config.clone().within(Duration::from_secs(4));
        assert_eq!(command.timeout, Duration::from_secs(2));
        assert_eq!((command.attempts, command.gives_up), (1, true));
        let patient = config.clone().within(Duration::from_secs(600));
        assert_eq!(
            patient.timeout, config.timeout,
            "what was asked for is kept"
        );
        assert!(!config.gives_up, "services do not give up");
    }

    #[test]
    fn a_password_is_not_shown() {
        let config = RegistryConfig {
            basic_auth: Some(("reader".to_owned(), "s3cret".to_owned())),
            ..RegistryConfig::at("http://localhost")
        };
        let shown = format!("{config:?}");
        assert!(
            shown.contains("reader") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
