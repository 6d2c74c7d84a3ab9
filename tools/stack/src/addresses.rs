//! Where the parts are.

use serde::{Deserialize, Serialize};

/// Addresses of the parts, for clients on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Kafka's, "host:port", separated by commas.
    pub bootstrap_servers: String,
    /// The schema registry's base address, where Confluent's API begins.
    pub registry_url: String,
    /// PostgreSQL as a user who may create databases and users; `None` when
    /// the databases were given ready-made.
    pub postgres_admin_url: Option<String>,
}
