//! What was published and what is stored, side by side.

use std::collections::{BTreeMap, BTreeSet};

use contracts::ids::{CartId, CheckoutId, GenericUuid, checkout_id};
use contracts::messages::{FailureReason, OrderCreated, RejectionReason};
use contracts::{Codec, DecodeError, Message, Topic};
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::installation::Installation;
use crate::records::{StoredRecord, stored_records};
use crate::services::Service;

/// Pieces by product.
pub(super) type Pieces = BTreeMap<String, i64>;

/// Everything that the rules look at.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// Checkouts that were asked for, and their carts; a record that was
    /// published twice is one of them.
    pub checkouts: BTreeMap<CheckoutId, CartId>,
    /// Records on the public topics, in the order read.
    pub outcomes: Vec<(CheckoutId, CartId, Outcome)>,
    /// Rows of the order service.
    pub orders: BTreeMap<CheckoutId, Order>,
    /// Rows of the payment service.
    pub authorizations: BTreeMap<CheckoutId, Authorization>,
    /// Rows of the inventory service.
    pub reservations: BTreeMap<CheckoutId, Reservation>,
    /// Rows of the inventory service, by product.
    pub stock: BTreeMap<String, Stock>,
    /// Rows of the orchestrator.
    pub sagas: BTreeMap<CartId, Saga>,
}

/// How a checkout ended, as published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// By an order.
    Created(Box<OrderCreated>),
    /// Without an order.
    Failed(FailureReason),
    /// Turned away.
    Rejected(RejectionReason),
}

/// A row of `orders`, with its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The cart.
    pub cart_id: CartId,
    /// RECORDED, REJECTED or CANCELLED.
    pub state: String,
    /// The order's id.
    pub order_id: Option<Uuid>,
    /// Minor units.
    pub total: Option<i64>,
    /// ISO 4217 code.
    pub currency: Option<String>,
    /// Pieces by product.
    pub pieces: Pieces,
}

/// A row of `authorizations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// REQUESTED, AUTHORIZED, DECLINED, VOIDING or VOIDED.
    pub state: String,
    /// Minor units.
    pub amount: Option<i64>,
    /// ISO 4217 code.
    pub currency: Option<String>,
}

/// A row of `reservations`, with its items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// RESERVED, UNAVAILABLE or RELEASED.
    pub state: String,
    /// Pieces by product; kept after a release.
    pub pieces: Pieces,
}

/// A row of `stock`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stock {
    /// Pieces that exist.
    pub on_hand: i64,
    /// Pieces that are held.
    pub reserved: i64,
    /// Sum of the items of live reservations.
    pub in_live_reservations: i64,
}

/// A row of `sagas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saga {
    /// The current, or last, checkout.
    pub checkout_id: CheckoutId,
    /// IN_PROGRESS, ..., COMPLETED, FAILED or ABANDONED.
    pub state: String,
}

impl Books {
    /// Reads them all.
    ///
    /// # Errors
    /// When Kafka, the registry or a database cannot be read.
    pub async fn read(installation: &Installation) -> Result<Self> {
        let mut books = Self::default();
        books.read_topics(installation).await?;
        let connect = |service| installation.connect(service);
        books.read_orders(&connect(Service::Order).await?).await?;
        books
            .read_authorizations(&connect(Service::Payment).await?)
            .await?;
        books
            .read_inventory(&connect(Service::Inventory).await?)
            .await?;
        books
            .read_sagas(&connect(Service::Orchestrator).await?)
            .await?;
        Ok(books)
    }

    /// Carts that asked for a checkout.
    pub fn carts(&self) -> BTreeSet<CartId> {
        self.checkouts.values().copied().collect()
    }

    async fn read_topics(&mut self, installation: &Installation) -> Result<()> {
        let names = installation.topics();
        let read = [
            Topic::ShoppingCheckouts,
            Topic::OrderingOrders,
            Topic::OrderingCheckouts,
        ];
        let topics = read.map(|topic| names.name(topic));
        let mut requests: BTreeMap<CheckoutId, Vec<CartId>> = BTreeMap::new();
        let records = stored_records(&installation.bootstrap_servers, &topics, |_| true).await?;
        let codec = Codec::connect(&installation.registry(), names.clone(), &[])
            .await
            .map_err(|error| Error::Invalid(error.to_string()))?;
        for record in &records {
            match decode(&codec, record).await? {
                Some(Message::CartCheckedOut(cart)) => {
                    let carts = requests.entry(checkout_id(cart.event_id)).or_default();
                    carts.push(cart.cart_id);
                }
                Some(Message::OrderCreated(order)) => self.outcomes.push((
                    order.checkout_id,
                    order.cart_id,
                    Outcome::Created(Box::new(order)),
                )),
                Some(Message::CheckoutFailed(failed)) => self.outcomes.push((
                    failed.checkout_id,
                    failed.cart_id,
                    Outcome::Failed(failed.reason),
                )),
                Some(Message::CheckoutRejected(rejected)) => self.outcomes.push((
                    rejected.checkout_id,
                    rejected.cart_id,
                    Outcome::Rejected(rejected.reason),
                )),
                // What cannot be handled is on a dead letter queue.
                Some(_) | None => {}
            }
        }
        self.assign(requests);
        Ok(())
    }

    /// An event id that a producer used for several carts is the checkout of the
    /// one that was handled first; the others are dead letters. The outcome tells
    /// which, as the order of records in different partitions does not.
    pub(super) fn assign(&mut self, requests: BTreeMap<CheckoutId, Vec<CartId>>) {
        let ended: BTreeMap<CheckoutId, CartId> = self
            .outcomes
            .iter()
            .map(|(checkout, cart, _)| (*checkout, *cart))
            .collect();
        for (checkout, carts) in requests {
            let ended = ended.get(&checkout).filter(|cart| carts.contains(cart));
            if let Some(cart) = ended.or(carts.first()) {
                self.checkouts.insert(checkout, *cart);
            }
        }
    }

    async fn read_orders(&mut self, database: &Client) -> Result<()> {
        let sql = "SELECT o.checkout_id, o.cart_id, o.state, o.order_id, o.total, o.currency, \
                          i.products, i.pieces \
                   FROM orders o LEFT JOIN LATERAL ( \
                       SELECT array_agg(product_id) AS products, array_agg(pieces) AS pieces \
                       FROM (SELECT product_id, sum(quantity)::int8 AS pieces FROM order_items \
                             WHERE order_id = o.order_id GROUP BY product_id) p \
                   ) i ON true";
        self.orders = rows(database, "orders", sql, |row| {
            let order = Order {
                cart_id: CartId::from_untyped_uuid(row.try_get("cart_id")?),
                state: row.try_get("state")?,
                order_id: row.try_get("order_id")?,
                total: row.try_get("total")?,
                currency: row.try_get("currency")?,
                pieces: pieces(row)?,
            };
            Ok((checkout(row)?, order))
        })
        .await?;
        Ok(())
    }

    async fn read_authorizations(&mut self, database: &Client) -> Result<()> {
        let sql = "SELECT checkout_id, state, amount, currency FROM authorizations";
        self.authorizations = rows(database, "authorizations", sql, |row| {
            let authorization = Authorization {
                state: row.try_get("state")?,
                amount: row.try_get("amount")?,
                currency: row.try_get("currency")?,
            };
            Ok((checkout(row)?, authorization))
        })
        .await?;
        Ok(())
    }

    async fn read_inventory(&mut self, database: &Client) -> Result<()> {
        let sql = "SELECT r.checkout_id, r.state, i.products, i.pieces \
                   FROM reservations r LEFT JOIN LATERAL ( \
                       SELECT array_agg(product_id) AS products, array_agg(pieces) AS pieces \
                       FROM (SELECT product_id, sum(quantity)::int8 AS pieces \
                             FROM reservation_items \
                             WHERE checkout_id = r.checkout_id GROUP BY product_id) p \
                   ) i ON true";
        self.reservations = rows(database, "reservations", sql, |row| {
            let reservation = Reservation {
                state: row.try_get("state")?,
                pieces: pieces(row)?,
            };
            Ok((checkout(row)?, reservation))
        })
        .await?;
        let sql = "SELECT product_id, s.on_hand, s.reserved, COALESCE(l.pieces, 0) AS live \
                   FROM stock s FULL JOIN ( \
                       SELECT product_id, sum(quantity)::int8 AS pieces \
                       FROM reservation_items JOIN reservations USING (checkout_id) \
                       WHERE state = 'RESERVED' GROUP BY product_id \
                   ) l USING (product_id)";
        self.stock = rows(database, "stock", sql, |row| {
            let stock = Stock {
                on_hand: row.try_get::<_, Option<i64>>("on_hand")?.unwrap_or(0),
                reserved: row.try_get::<_, Option<i64>>("reserved")?.unwrap_or(0),
                in_live_reservations: row.try_get("live")?,
            };
            Ok((row.try_get("product_id")?, stock))
        })
        .await?;
        Ok(())
    }

    async fn read_sagas(&mut self, database: &Client) -> Result<()> {
        let sql = "SELECT cart_id, (progress ->> 'checkoutId')::uuid AS checkout_id, state \
                   FROM sagas";
        self.sagas = rows(database, "sagas", sql, |row| {
            let saga = Saga {
                checkout_id: checkout(row)?,
                state: row.try_get("state")?,
            };
            Ok((CartId::from_untyped_uuid(row.try_get("cart_id")?), saga))
        })
        .await?;
        Ok(())
    }
}

async fn decode(codec: &Codec, record: &StoredRecord) -> Result<Option<Message>> {
    let Some(topic) = codec.topics().topic(&record.topic) else {
        return Ok(None);
    };
    match codec.decode(topic, record.payload.as_deref()).await {
        Ok(message) => Ok(Some(message)),
        Err(DecodeError::Poison(_)) => Ok(None),
        Err(DecodeError::Unavailable(error)) => Err(Error::Invalid(error.to_string())),
    }
}

async fn rows<K: Ord, V>(
    database: &Client,
    table: &str,
    sql: &str,
    read: impl Fn(&Row) -> std::result::Result<(K, V), tokio_postgres::Error>,
) -> Result<BTreeMap<K, V>> {
    let found = database.query(sql, &[]).await;
    found
        .and_then(|rows| rows.iter().map(read).collect())
        .map_err(Error::database(format!("cannot read table {table}")))
}

fn checkout(row: &Row) -> std::result::Result<CheckoutId, tokio_postgres::Error> {
    Ok(CheckoutId::from_untyped_uuid(row.try_get("checkout_id")?))
}

fn pieces(row: &Row) -> std::result::Result<Pieces, tokio_postgres::Error> {
    let products: Option<Vec<String>> = row.try_get("products")?;
    let pieces: Option<Vec<i64>> = row.try_get("pieces")?;
    Ok(products
        .unwrap_or_default()
        .into_iter()
        .zip(pieces.unwrap_or_default())
        .collect())
}
