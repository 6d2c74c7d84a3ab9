//! One database connection with prepared, pipelined statements.
//!
//! All statements of a trip are sent before the first answer is awaited. That
//! needs every statement to be prepared beforehand: preparing one in between
//! would let a `COMMIT` overtake it.
//!
//! What a batch writes is one statement ([`combined`]), and which of its parts there are
//! differs from batch to batch: each set of parts is prepared when it first comes. There
//! are few, for a service has few statements.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, try_join_all};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row, Statement};

use crate::fault::{Fault, RunError};
use crate::{Sql, combined, measure};

/// Opens connections; it holds the address, the credentials and the TLS set-up,
/// and drives each connection on a task of its own.
pub type Connector = Arc<
    dyn Fn() -> Pin<Box<dyn Future<Output = Result<Client, tokio_postgres::Error>> + Send>>
        + Send
        + Sync,
>;

/// A connector without TLS.
pub fn connector_without_tls(config: tokio_postgres::Config) -> Connector {
    Arc::new(move || {
        let config = config.clone();
        Box::pin(async move {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a database connection ended");
                }
            });
            Ok(client)
        })
    })
}

/// Each statement is planned once. All of them find some rows of a large table by an
/// index, whatever their parameters, so planning each anew costs more than it gains;
/// and one that was planned while its table was empty must not read all of it later.
const PLANS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; \
                     SET enable_hashjoin = off; SET enable_mergejoin = off";

/// A step of a trip.
pub(crate) enum Step<'a> {
    /// `BEGIN`, `COMMIT` and the like.
    Plain(&'static str),
    /// A prepared statement.
    Sql(&'a Sql),
    /// Several writes as one statement.
    Combined(&'a Statement, &'a [&'a Sql]),
}

/// How what a batch writes becomes a transaction.
pub(crate) enum WriteEnd {
    /// It is one by itself.
    Itself,
    /// It ends the one that is open.
    Commit,
}

/// A connection whose statements are all prepared.
pub(crate) struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    /// By their parts.
    combined: HashMap<Vec<&'static str>, Statement>,
    limit: Duration,
}

impl Session {
    /// Connects and prepares `texts`. `limit` bounds this and every later trip.
    pub(crate) async fn open(
        connector: &Connector,
        texts: impl Iterator<Item = &'static str>,
        limit: Duration,
    ) -> Result<Self, Fault> {
        let open = async {
            let client = connector().await?;
            // A stopped process must not hold its row locks for long.
            client
                .batch_execute(&format!(
                    "SET idle_in_transaction_session_timeout = {0}; SET statement_timeout = {0}; SET lock_timeout = {0}; {PLANS}",
                    limit.as_millis()
                ))
                .await?;
            let texts: Vec<_> = texts.collect();
            let prepared = try_join_all(texts.iter().map(|text| client.prepare(text))).await?;
            Ok::<_, tokio_postgres::Error>(Self {
                statements: texts.into_iter().zip(prepared).collect(),
                combined: HashMap::new(),
                client,
                limit,
            })
        };
        match tokio::time::timeout(limit, open).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(Fault::Transient(format!(
                "the database did not accept a connection within {limit:?}"
            ))),
        }
    }

    /// Sends all steps at once and returns the rows of the prepared ones.
    pub(crate) async fn trip(&self, steps: Vec<Step<'_>>) -> Result<Vec<Vec<Row>>, Fault> {
        // `try_join_all` polls its futures in order, and each is sent by its
        // first poll; above 30 futures it would make no such promise.
        debug_assert!(steps.len() <= 30, "a trip of {} steps", steps.len());
        let mut sent = Vec::with_capacity(steps.len());
        for step in &steps {
            sent.push(match step {
                Step::Plain(text) => {
                    Either::Left(async { self.client.batch_execute(text).await.map(|()| None) })
                }
                Step::Sql(sql) => {
                    Either::Right(self.query(self.listed(sql)?, std::slice::from_ref(sql)))
                }
                Step::Combined(statement, parts) => Either::Right(self.query(statement, parts)),
            });
        }
        measure::database_trip();
        match tokio::time::timeout(self.limit, try_join_all(sent)).await {
            Ok(Ok(rows)) => Ok(rows.into_iter().flatten().collect()),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(self.silent()),
        }
    }

    /// The statement of a text, as it was prepared at first.
    fn listed(&self, sql: &Sql) -> Result<&Statement, Fault> {
        self.statements.get(sql.text).ok_or_else(|| {
            Fault::Fatal(RunError::Defect(format!(
                "a statement is not listed in STATEMENTS: {}",
                sql.text
            )))
        })
    }

    async fn query(
        &self,
        statement: &Statement,
        parts: &[&Sql],
    ) -> Result<Option<Vec<Row>>, tokio_postgres::Error> {
        let params = parts.iter().flat_map(|part| &part.params);
        let params: Vec<&(dyn ToSql + Sync)> = params
            .map(|param| param.as_ref() as &(dyn ToSql + Sync))
            .collect();
        self.client.query(statement, &params).await.map(Some)
    }

    /// Carries out all that a batch writes, as one statement: in a transaction of its own,
    /// or as the end of the one that is open. Tells the transaction's id.
    pub(crate) async fn write(&mut self, parts: &[&Sql], end: WriteEnd) -> Result<i64, Fault> {
        let texts: Vec<_> = parts.iter().map(|part| part.text).collect();
        if !self.combined.contains_key(&texts) {
            for part in parts {
                self.listed(part)?;
            }
            let text = combined::text(parts);
            let prepared = tokio::time::timeout(self.limit, self.client.prepare(&text)).await;
            let prepared = prepared.map_err(|_| self.silent())??;
            self.combined.insert(texts.clone(), prepared);
        }
        let mut steps = vec![Step::Combined(&self.combined[&texts], parts)];
        if let WriteEnd::Commit = end {
            steps.push(Step::Plain("COMMIT"));
        }
        let rows = self.trip(steps).await?;
        let row = rows.first().and_then(|rows| rows.first()).ok_or_else(|| {
            let nothing = "a batch was written without an answer";
            Fault::Fatal(RunError::Defect(nothing.to_owned()))
        })?;
        Ok(row.try_get("transaction")?)
    }

    fn silent(&self) -> Fault {
        Fault::Transient(format!(
            "the database did not answer within {:?}",
            self.limit
        ))
    }

    /// Ends a transaction that failed. The connection is unusable where this
    /// fails too.
    pub(crate) async fn rollback(&self) -> Result<(), Fault> {
        self.trip(vec![Step::Plain("ROLLBACK")]).await.map(|_| ())
    }

    /// Whether the connection is known to be gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }
}
