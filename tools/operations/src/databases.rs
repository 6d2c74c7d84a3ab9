//! The databases of the services, for reading a few rows.

use std::time::Duration;

use audit::{Database, Error, Result, Target};
use futures::{Stream, TryStreamExt, stream};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

/// The server ends a statement at the limit by itself, and says so. One that is frozen, or
/// out of reach, does not: it is given up so much later.
const GRACE: Duration = Duration::from_secs(1);

/// A connection to the database of a service.
pub(crate) struct Db {
    service: &'static str,
    client: Client,
    /// How long it may be silent.
    limit: Duration,
}

impl Db {
    /// Connects; `None` where no address was given. It may be silent for `limit`, now and
    /// whenever it is asked.
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
        Ok(Some(Self {
            service,
            client,
            limit,
        }))
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
        let (service, limit) = (self.service, self.limit);
        let none: [&(dyn ToSql + Sync); 0] = [];
        let asking = Box::pin(self.client.query_raw(sql, none));
        let rows = within(service, limit, "ask", asking).await?;
        let rows = stream::try_unfold(Box::pin(rows), move |mut rows| async move {
            let row = within(service, limit, "read from", rows.try_next()).await?;
            Ok::<_, Error>(row.map(|row| (row, rows)))
        });
        Ok(rows)
    }

    /// Rows at once.
    pub(crate) async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        let asking = Box::pin(self.client.query(sql, params));
        within(self.service, self.limit, "ask", asking).await
    }
}

/// What a database answers, which may be silent for `limit`; `doing` is what is done to it.
async fn within<T>(
    service: &str,
    limit: Duration,
    doing: &str,
    asking: impl Future<Output = std::result::Result<T, tokio_postgres::Error>>,
) -> Result<T> {
    let answer = tokio::time::timeout(limit + GRACE, asking).await;
    let answer = answer.map_err(|_| {
        Error::Invalid(format!(
            "the {service} database did not answer within {limit:?}: see whether its server \
             is frozen or out of reach, then ask again"
        ))
    })?;
    answer.map_err(Error::database(format!(
        "cannot {doing} the {service} database"
    )))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_database_that_never_answers_is_named_and_given_up() {
        let never = std::future::pending::<std::result::Result<(), tokio_postgres::Error>>();
        let limit = Duration::from_secs(10);
        let error = within("payment", limit, "ask", never).await.unwrap_err();
        let error = error.to_string();
        for part in ["the payment database", "within 10s", "ask again"] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
