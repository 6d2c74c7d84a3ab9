//! Reads the tables of the four services, each database in one snapshot, row by
//! row.

use std::path::PathBuf;
use std::time::Duration;

use contracts::Topic;
use contracts::ids::{CartId, CheckoutId, GenericUuid};
use futures::TryStreamExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;
use uuid::Uuid;

use crate::books::{
    Account, Authorization, Books, Bought, Content, Holding, Order, Pieces, Prices, Reservation,
    Saga, Stock, Timer,
};
use crate::error::{Error, Result};
use crate::look::Tell;
use crate::positions::Position;

/// Opening a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Checkouts that are asked for at once when they are looked at again.
const AT_ONCE: usize = 10_000;

/// How to reach a service's database. Reading its tables is all that the user
/// needs to be allowed.
#[derive(Debug, Clone, Default)]
pub struct Database {
    /// `postgresql://user:password@host:port/name`.
    pub url: String,
    /// PEM file of the certificate authorities trusted; `None`: those of the web.
    pub tls_ca_file: Option<PathBuf>,
}

impl Database {
    /// A database at this address.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls_ca_file: None,
        }
    }

    /// Connects for reading only; a statement ends after `limit`. `service` names
    /// the database in errors.
    ///
    /// # Errors
    /// When the URL is none, or the database does not let one in.
    pub async fn connect(&self, service: &str, limit: Duration) -> Result<Client> {
        // The URL may hold a password and is not repeated.
        let mut config: Config = self.url.parse().map_err(Error::database(format!(
            "the URL of the {service} database"
        )))?;
        config.application_name("checkout-audit");
        config.connect_timeout(CONNECT_LIMIT);
        let options = format!(
            "-c default_transaction_read_only=on -c statement_timeout={}",
            limit.as_millis()
        );
        config.options(match config.get_options() {
            Some(given) => format!("{given} {options}"),
            None => options,
        });
        let doing = || format!("cannot connect to the {service} database");
        let (client, connection) = config
            .connect(self.tls(service)?)
            .await
            .map_err(Error::database(doing()))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a database connection ended");
            }
        });
        Ok(client)
    }

    fn tls(&self, service: &str) -> Result<MakeRustlsConnect> {
        let Some(path) = &self.tls_ca_file else {
            return Ok(MakeRustlsConnect::with_webpki_roots());
        };
        let cannot = |why: String| {
            Error::Invalid(format!(
                "the certificates {} for the {service} database cannot be used: {why}",
                path.display()
            ))
        };
        let mut roots = rustls::RootCertStore::empty();
        for certificate in
            CertificateDer::pem_file_iter(path).map_err(|error| cannot(error.to_string()))?
        {
            let certificate = certificate.map_err(|error| cannot(error.to_string()))?;
            roots
                .add(certificate)
                .map_err(|error| cannot(error.to_string()))?;
        }
        Ok(MakeRustlsConnect::new(
            rustls::ClientConfig::builder()
                .with_root_certificates(roots)
                .with_no_client_auth(),
        ))
    }
}

/// What of the tables to read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Only {
    /// These checkouts.
    pub(crate) checkouts: Vec<Uuid>,
    /// These carts.
    pub(crate) carts: Vec<Uuid>,
    /// Stock too, which has few rows and a costly sum.
    pub(crate) stock: bool,
}

/// Reads one database.
pub(crate) struct Reader<'a> {
    pub(crate) service: &'static str,
    pub(crate) database: &'a Database,
    /// Limit of one statement.
    pub(crate) limit: Duration,
    /// For how long a timer or a message may wait.
    pub(crate) grace: Duration,
    /// `None`: everything.
    pub(crate) only: Option<&'a Only>,
    pub(crate) tell: &'a Tell,
}

type RowResult<T> = std::result::Result<T, tokio_postgres::Error>;

impl Reader<'_> {
    /// Opens the snapshot and reads how far the service is.
    async fn begin(&self, books: &mut Books) -> Result<Client> {
        let client = self.database.connect(self.service, self.limit).await?;
        client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(Error::database(format!(
                "cannot read the {} database",
                self.service
            )))?;
        let sql = "SELECT topic, partition, next_offset, \
                          outputs <> '' AND updated_at < now() - make_interval(secs => $1) AS waits \
                   FROM progress";
        let positions = &mut books.positions;
        let service = self.service;
        self.each(
            &client,
            "progress",
            sql,
            &[&self.grace.as_secs_f64()],
            |row| {
                let topic: String = row.try_get("topic")?;
                // A topic that was consumed once, by an earlier version, is past.
                if let Some(topic) = Topic::ALL.iter().find(|known| known.name() == topic) {
                    positions.push(Position {
                        service,
                        topic: *topic,
                        partition: row.try_get("partition")?,
                        next_offset: row.try_get("next_offset")?,
                        outputs_wait: row.try_get("waits")?,
                        found: None,
                    });
                }
                Ok(())
            },
        )
        .await?;
        Ok(client)
    }

    /// Rows by checkout: all of them, or those that are asked for.
    async fn by_id(
        &self,
        client: &Client,
        table: &str,
        sql: &str,
        key: &str,
        mut read: impl FnMut(&Row) -> RowResult<()>,
    ) -> Result<()> {
        let grace = self.grace.as_secs_f64();
        let Some(only) = self.only else {
            return self.each(client, table, sql, &[&grace], read).await;
        };
        let ids = match key {
            "cart_id" => &only.carts,
            _ => &only.checkouts,
        };
        let sql = format!("{sql} WHERE {key} = ANY($2)");
        for ids in ids.chunks(AT_ONCE) {
            self.each(client, table, &sql, &[&grace, &ids], &mut read)
                .await?;
        }
        Ok(())
    }

    async fn each(
        &self,
        client: &Client,
        table: &str,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
        mut read: impl FnMut(&Row) -> RowResult<()>,
    ) -> Result<()> {
        let reading = async {
            let params = params.iter().map(|param| *param as &dyn ToSql);
            let rows = client.query_raw(sql, params).await?;
            let mut rows = std::pin::pin!(rows);
            let mut count = 0;
            while let Some(row) = rows.try_next().await? {
                read(&row)?;
                count += 1;
                self.tell.rows(table, count);
            }
            Ok(())
        };
        reading.await.map_err(Error::database(format!(
            "cannot read table {table} of the {} database",
            self.service
        )))
    }

    pub(crate) async fn orders(self, books: &mut Books) -> Result<()> {
        let client = self.begin(books).await?;
        // The parameter of all such queries; orders have no timers.
        let sql = "SELECT o.checkout_id, o.cart_id, o.state, o.order_id, o.customer_id, o.total, \
                          o.currency, i.products, i.pieces, i.prices, $1::float8 \
                   FROM orders o LEFT JOIN LATERAL ( \
                       SELECT array_agg(product_id) AS products, \
                              array_agg(quantity::int8) AS pieces, \
                              array_agg(unit_price) AS prices \
                       FROM order_items WHERE order_id = o.order_id \
                   ) i ON true";
        self.by_id(&client, "orders", sql, "checkout_id", |row| {
            let order_id: Option<Uuid> = row.try_get("order_id")?;
            let content = match order_id {
                Some(order_id) => Some(Content {
                    order_id,
                    bought: Bought {
                        customer: row.try_get("customer_id")?,
                        total: row.try_get("total")?,
                        currency: text(row, "currency")?,
                        pieces: pieces(row)?,
                        prices: prices(row)?,
                    },
                }),
                None => None,
            };
            account(books, row)?.order = Some(Order {
                state: text(row, "state")?,
                content,
            });
            Ok(())
        })
        .await
    }

    pub(crate) async fn authorizations(self, books: &mut Books) -> Result<()> {
        let client = self.begin(books).await?;
        let sql = "SELECT checkout_id, cart_id, state, amount, currency, \
                          wake_at IS NOT NULL AS timer, \
                          wake_at < now() - make_interval(secs => $1) AS overdue \
                   FROM authorizations";
        self.by_id(&client, "authorizations", sql, "checkout_id", |row| {
            let currency: Option<&str> = row.try_get("currency")?;
            account(books, row)?.authorization = Some(Authorization {
                state: text(row, "state")?,
                amount: row.try_get("amount")?,
                currency: currency.map(Into::into),
                timer: timer(row)?,
            });
            Ok(())
        })
        .await
    }

    pub(crate) async fn inventory(self, books: &mut Books) -> Result<()> {
        let client = self.begin(books).await?;
        let sql = "SELECT r.checkout_id, r.cart_id, r.state, i.products, i.pieces, \
                          r.wake_at IS NOT NULL AS timer, \
                          r.wake_at < now() - make_interval(secs => $1) AS overdue \
                   FROM reservations r LEFT JOIN LATERAL ( \
                       SELECT array_agg(product_id) AS products, \
                              array_agg(quantity::int8) AS pieces \
                       FROM reservation_items WHERE checkout_id = r.checkout_id \
                   ) i ON true";
        self.by_id(&client, "reservations", sql, "r.checkout_id", |row| {
            account(books, row)?.reservation = Some(Reservation {
                state: text(row, "state")?,
                pieces: pieces(row)?,
                timer: timer(row)?,
            });
            Ok(())
        })
        .await?;
        if self.only.is_some_and(|only| !only.stock) {
            return Ok(());
        }
        // Of the same snapshot, so that a sum under load adds up too.
        let sql = "SELECT product_id, COALESCE(s.reserved, 0) AS reserved, \
                          COALESCE(l.pieces, 0) AS live \
                   FROM stock s FULL JOIN ( \
                       SELECT product_id, sum(quantity)::int8 AS pieces \
                       FROM reservation_items JOIN reservations USING (checkout_id) \
                       WHERE state = 'RESERVED' GROUP BY product_id \
                   ) l USING (product_id)";
        self.each(&client, "stock", sql, &[], |row| {
            let stock = Stock {
                reserved: row.try_get("reserved")?,
                in_live_reservations: row.try_get("live")?,
            };
            books.stock.insert(row.try_get("product_id")?, stock);
            Ok(())
        })
        .await
    }

    /// What a further participant holds: its view `holdings`.
    pub(crate) async fn holdings(self, books: &mut Books) -> Result<()> {
        let client = self.begin(books).await?;
        let service = self.service;
        // The parameter of all such queries; the view has no timers.
        let sql = "SELECT checkout_id, cart_id, state, held, $1::float8 FROM holdings";
        self.by_id(&client, "holdings", sql, "checkout_id", |row| {
            let holding = Holding {
                service,
                state: text(row, "state")?,
                is_held: row.try_get("held")?,
            };
            account(books, row)?.others.push(holding);
            Ok(())
        })
        .await
    }

    pub(crate) async fn sagas(self, books: &mut Books) -> Result<()> {
        let client = self.begin(books).await?;
        let sql = "SELECT cart_id, (progress ->> 'checkoutId')::uuid AS checkout_id, state, \
                          wake_at IS NOT NULL AS timer, \
                          wake_at < now() - make_interval(secs => $1) AS overdue \
                   FROM sagas";
        self.by_id(&client, "sagas", sql, "cart_id", |row| {
            account(books, row)?.saga = Some(Saga {
                state: text(row, "state")?,
                timer: timer(row)?,
            });
            Ok(())
        })
        .await
    }
}

fn account<'a>(books: &'a mut Books, row: &Row) -> RowResult<&'a mut Account> {
    let checkout = CheckoutId::from_untyped_uuid(row.try_get("checkout_id")?);
    let cart = CartId::from_untyped_uuid(row.try_get("cart_id")?);
    Ok(books.account(checkout, cart))
}

fn text(row: &Row, column: &str) -> RowResult<Box<str>> {
    Ok(row.try_get::<_, &str>(column)?.into())
}

fn timer(row: &Row) -> RowResult<Timer> {
    let overdue: Option<bool> = row.try_get("overdue")?;
    Ok(match (row.try_get("timer")?, overdue) {
        (false, _) => Timer::None,
        (true, Some(true)) => Timer::Overdue,
        (true, _) => Timer::Set,
    })
}

fn pieces(row: &Row) -> RowResult<Pieces> {
    let products: Option<Vec<&str>> = row.try_get("products")?;
    let pieces: Option<Vec<i64>> = row.try_get("pieces")?;
    let products = products.unwrap_or_default().into_iter();
    Ok(products.zip(pieces.unwrap_or_default()).collect())
}

fn prices(row: &Row) -> RowResult<Prices> {
    let products: Option<Vec<&str>> = row.try_get("products")?;
    let prices: Option<Vec<i64>> = row.try_get("prices")?;
    let pieces: Option<Vec<i64>> = row.try_get("pieces")?;
    let products = products.unwrap_or_default().into_iter();
    let lines = products
        .zip(prices.unwrap_or_default())
        .zip(pieces.unwrap_or_default());
    Ok(lines
        .map(|((product, price), pieces)| (product, price, pieces))
        .collect())
}
