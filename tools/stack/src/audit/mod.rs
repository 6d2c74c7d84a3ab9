//! Does everything add up? Checks, when carts have come to rest, that what the
//! four databases hold is exactly what the published outcomes say.
//!
//! **Every checkout has one outcome. An order stands together with its stock
//! and its money, and without an order nothing is held.**

mod books;
mod rules;
#[cfg(test)]
mod tests;

use std::fmt;

pub use books::{Authorization, Books, Order, Outcome, Reservation, Saga, Stock};

use crate::error::Result;
use crate::installation::Installation;

/// Something that does not add up.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// The rule that is broken.
    pub rule: &'static str,
    /// What breaks it, naming checkout, cart or product.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

/// Reads the public topics and the four databases of an installation at rest
/// and returns all that does not add up; empty when all is well.
///
/// # Errors
/// When Kafka, the registry or a database cannot be read.
pub async fn audit(installation: &Installation) -> Result<Vec<Violation>> {
    Ok(Books::read(installation).await?.violations())
}

impl Books {
    /// All that does not add up.
    pub fn violations(&self) -> Vec<Violation> {
        rules::violations(self)
    }
}
