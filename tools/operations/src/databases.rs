//! The databases of the services, for reading a few rows.

use std::time::Duration;

use audit::{Database, Error, Result, Target};
use futures::{Stream, TryStreamExt};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

/// A connection to the database of a service.
pub(crate) struct Db {
    service: &'static str,
    client: Client,
}

impl Db {
    /// Connects; `None` where no address was given.
    pub(crate) async fn open(
        target: &Target,
        service: &'static str,
        limit: Duration,
    ) -> Result<Option<Self>> {
        let Some(database) = database(target, service) else {
            return Ok(None);
        };
        let connecting = Box::pin(database.connect(service, limit));
        let client = tokio::time::timeout(limit, connecting)
            .await
            .map_err(|_| {
                Error::Invalid(format!(
                    "the {service} database did not let one in within {limit:?}"
                ))
            })??;
        Ok(Some(Self { service, client }))
    }

    /// The orchestrator's, which nothing can be said without.
    pub(crate) async fn orchestrator(target: &Target, limit: Duration) -> Result<Self> {
        Self::open(target, "orchestrator", limit)
            .await?
            .ok_or_else(|| {
                Error::Invalid(
                    "the orchestrator's database has the sagas: give its address with \
                     --orchestrator-database-url or ORCHESTRATOR_DATABASE_URL"
                        .to_owned(),
                )
            })
    }

    /// Rows one by one, however many.
    pub(crate) async fn stream(&self, sql: &str) -> Result<impl Stream<Item = Result<Row>>> {
        let service = self.service;
        let none: [&(dyn ToSql + Sync); 0] = [];
        let rows = self
            .client
            .query_raw(sql, none)
            .await
            .map_err(Error::database(format!(
                "cannot ask the {service} database"
            )))?;
        Ok(rows.map_err(move |error| {
            Error::database(format!("cannot read from the {service} database"))(error)
        }))
    }

    pub(crate) async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        let service = self.service;
        self.client
            .query(sql, params)
            .await
            .map_err(Error::database(format!(
                "cannot ask the {service} database"
            )))
    }
}

fn database<'t>(target: &'t Target, service: &str) -> Option<&'t Database> {
    match service {
        "orchestrator" => target.orchestrator.as_ref(),
        "inventory" => target.inventory.as_ref(),
        "payment" => target.payment.as_ref(),
        "order" => target.order.as_ref(),
        further => target.others.get(further),
    }
}
