//! Why letters could not be published or marked.

use audit::Error;

use crate::publish::is_gone;

/// Why letters could not be published or marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) why: String,
    /// Whether Kafka does not answer: nothing else would be done either, and waiting helps.
    pub(super) is_gone: bool,
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        Self {
            why: error.to_string(),
            is_gone: is_gone(error),
        }
    }
}
