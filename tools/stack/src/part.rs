//! One of the parts: a Kafka broker, the schema registry, PostgreSQL.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::guard::Process;
use crate::{database, http, kafka_admin, wait};

/// Which kind of part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PartKind {
    /// A Kafka broker.
    Kafka,
    /// The schema registry.
    Registry,
    /// PostgreSQL.
    Postgres,
}

/// A second address of a broker, whose clients are told another port than it listens on.
/// What is put between the two is a network of their own, which can be disturbed.
#[derive(Debug, Clone)]
pub struct Detour {
    /// "host:port" for clients, where nothing listens yet.
    pub told: String,
    /// "host:port" of the broker.
    pub listens: String,
}

/// A part that runs.
#[derive(Debug)]
pub struct Part {
    /// Which kind it is.
    pub kind: PartKind,
    /// What a person calls it.
    pub name: String,
    /// "host:port", the same after it was started again.
    pub address: String,
    /// What a client of its kind is given: of Kafka the address, of the others
    /// a URL.
    pub url: String,
    /// Its process, when the stack started one: tests kill, pause and restart
    /// it.
    pub process: Option<Process>,
    /// A broker's second address, where it was asked for.
    pub detour: Option<Detour>,
}

impl Part {
    /// Waits until it serves clients, for example after it was started again.
    ///
    /// # Errors
    /// When it does not within `limit`, or its process has ended.
    pub async fn wait_ready(&self, limit: Duration) -> Result<()> {
        wait::until(&self.name, limit, self.process.as_ref(), async || {
            // librdkafka would log every attempt to connect that fails.
            wait::accepts(&self.address).await?;
            match self.kind {
                PartKind::Kafka => kafka_admin::ready_brokers(&self.url).await.map(drop),
                PartKind::Registry => http::is_ok(&format!("{}/subjects", self.url)).await,
                PartKind::Postgres => match database::connect(&self.url).await {
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.to_string()),
                },
            }
        })
        .await
    }

    /// The part's process.
    ///
    /// # Errors
    /// When it was not started by the stack: the compose and the external
    /// provider have none.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().ok_or_else(|| {
            Error::Invalid(format!(
                "{} was not started as a process of this machine",
                self.name
            ))
        })
    }
}
