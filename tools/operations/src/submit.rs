//! Publishes carts as a cart service would, and waits for their outcomes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use audit::{Error, LogReader, Result, Target};
use contracts::ids::{CartId, CheckoutId, CustomerId, EventId, GenericUuid, checkout_id};
use contracts::messages::{CartCheckedOut, CartItem};
use contracts::{Codec, Message, RecordType, Topic};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use rdkafka::Offset;
use rdkafka::message::Message as _;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::publish::Publisher;
use crate::show::{BAD, GOOD, WARN, clean, paint, table};

/// The records that are published, for [`Codec::connect`].
const WRITES: &[RecordType] = &[RecordType::CartCheckedOut];
/// Carts that are on their way to Kafka at once.
const IN_FLIGHT: usize = 500;
/// Where outcomes are published.
const OUTCOMES: [Topic; 2] = [Topic::OrderingOrders, Topic::OrderingCheckouts];
/// Pause between two looks at them.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A cart as people write it: what is not given is made up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Draft {
    event_id: Option<EventId>,
    occurred_at: Option<Timestamp>,
    cart_id: Option<CartId>,
    customer_id: Option<CustomerId>,
    items: Vec<CartItem>,
    subtotal: Option<i64>,
    discount: Option<i64>,
    /// The sum of the items less the discount, where it is not given.
    total: Option<i64>,
    currency: Option<String>,
}

impl Draft {
    fn cart(self) -> CartCheckedOut {
        let sum = self.items.iter().fold(0_i64, |sum, item| {
            sum.saturating_add(item.unit_price.saturating_mul(i64::from(item.quantity)))
        });
        let total = sum.saturating_sub(self.discount.unwrap_or(0));
        CartCheckedOut {
            event_id: self
                .event_id
                .unwrap_or_else(|| EventId::from_untyped_uuid(Uuid::new_v4())),
            occurred_at: self.occurred_at.unwrap_or_else(Timestamp::now),
            cart_id: self
                .cart_id
                .unwrap_or_else(|| CartId::from_untyped_uuid(Uuid::new_v4())),
            customer_id: self
                .customer_id
                .unwrap_or_else(|| CustomerId::from_untyped_uuid(Uuid::new_v4())),
            items: self.items,
            subtotal: self.subtotal,
            discount: self.discount,
            total: self.total.unwrap_or(total),
            currency: self.currency.unwrap_or_else(|| "EUR".to_owned()),
        }
    }
}

/// Reads carts: JSON objects one behind the other, or lists of them. Ids, time,
/// total (the sum) and currency (EUR) may be left out.
///
/// # Errors
/// Says what is not a cart, and where.
pub fn carts(text: &str) -> Result<Vec<CartCheckedOut>> {
    let mut carts = Vec::new();
    let values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    for value in values {
        let not_json = |error: serde_json::Error| Error::Invalid(format!("not JSON: {error}"));
        let drafts = match value.map_err(not_json)? {
            serde_json::Value::Array(list) => list,
            one => vec![one],
        };
        for draft in drafts {
            let number = carts.len() + 1;
            let draft: Draft = serde_json::from_value(draft)
                .map_err(|error| Error::Invalid(format!("cart {number}: {error}")))?;
            carts.push(draft.cart());
        }
    }
    match carts.is_empty() {
        true => Err(Error::Invalid("there is no cart in it".to_owned())),
        false => Ok(carts),
    }
}

/// Makes up carts of one product each, in turns.
pub fn generate(number: usize, products: &[(String, i32)], unit_price: i64) -> Vec<CartCheckedOut> {
    products
        .iter()
        .cycle()
        .take(number)
        .map(|(product, quantity)| {
            Draft {
                event_id: None,
                occurred_at: None,
                cart_id: None,
                customer_id: None,
                items: vec![CartItem {
                    product_id: product.clone(),
                    quantity: *quantity,
                    unit_price,
                }],
                subtotal: None,
                discount: None,
                total: None,
                currency: None,
            }
            .cart()
        })
        .collect()
}

/// What came of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Submitted {
    /// The cart.
    pub cart_id: CartId,
    /// The checkout that its event began.
    pub checkout_id: CheckoutId,
    /// `OrderCreated`, `CheckoutFailed` or `CheckoutRejected`; absent while it has
    /// none.
    pub outcome: Option<String>,
    /// The reason of a failure or rejection, the id of an order; or why the cart was
    /// not published.
    pub detail: Option<String>,
    /// From its publication to its outcome as it is read, in milliseconds.
    pub milliseconds: Option<u64>,
}

/// Publishes carts and waits for their outcomes, at most for `wait`. `tell` hears how
/// many have one.
///
/// # Errors
/// When Kafka or the registry cannot be reached. What was published until then stands.
pub async fn submit(
    target: &Target,
    carts: &[CartCheckedOut],
    wait: Duration,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<Vec<Submitted>> {
    let codec = Codec::connect(&target.registry, target.topics.clone(), WRITES).await?;
    let publisher = Publisher::new(&target.kafka)?;
    // Outcomes are read from where their topics end now.
    let asked = target.clone();
    let mut reading = tokio::task::spawn_blocking(move || Reading::begin(&asked))
        .await
        .map_err(|_| broke_down())??;

    let mut all: Vec<Submitted> = Vec::with_capacity(carts.len());
    let mut open: BTreeMap<CheckoutId, (usize, Instant)> = BTreeMap::new();
    let mut sending = stream::iter(carts)
        .map(async |cart| {
            let begin = Instant::now();
            let sent = publisher.message(&codec, &cart.clone().into()).await;
            (cart, begin, sent)
        })
        .buffered(IN_FLIGHT);
    while let Some((cart, begin, sent)) = sending.next().await {
        let checkout = checkout_id(cart.event_id);
        if sent.is_ok() {
            open.insert(checkout, (all.len(), begin));
        }
        all.push(Submitted {
            cart_id: cart.cart_id,
            checkout_id: checkout,
            outcome: None,
            detail: sent.err().map(|error| format!("not published: {error}")),
            milliseconds: None,
        });
    }
    drop(sending);

    let deadline = Instant::now() + wait;
    loop {
        let (codec, handle) = (codec.clone(), Handle::current());
        let (back, outcomes) = tokio::task::spawn_blocking(move || {
            let outcomes = reading.next(&codec, &handle);
            (reading, outcomes)
        })
        .await
        .map_err(|_| broke_down())?;
        reading = back;
        for outcome in outcomes? {
            let Some((index, begin)) = outcome.checkout_id().and_then(|id| open.remove(&id)) else {
                continue;
            };
            let one = &mut all[index];
            one.outcome = Some(outcome.record_type().name().to_owned());
            one.detail = detail(&outcome);
            one.milliseconds = u64::try_from(begin.elapsed().as_millis()).ok();
        }
        tell(&format!(
            "{} of {} carts have an outcome",
            carts.len() - open.len(),
            carts.len()
        ));
        if open.is_empty() || Instant::now() >= deadline {
            return Ok(all);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn broke_down() -> Error {
    Error::Invalid("the thread that reads Kafka broke down".to_owned())
}

fn detail(outcome: &Message) -> Option<String> {
    match outcome {
        Message::OrderCreated(created) => Some(format!("order {}", created.order_id)),
        Message::CheckoutFailed(failed) => Some(failed.reason.to_string()),
        Message::CheckoutRejected(rejected) => Some(rejected.reason.to_string()),
        _ => None,
    }
}

/// Reads outcomes as they come.
struct Reading {
    log: LogReader,
    names: contracts::TopicNames,
    next: BTreeMap<(Topic, i32), i64>,
}

impl Reading {
    fn begin(target: &Target) -> Result<Self> {
        let log = LogReader::new(&target.kafka)?;
        let mut next = BTreeMap::new();
        for topic in OUTCOMES {
            let name = target.topics.name(topic);
            for partition in log.partitions(name)? {
                next.insert((topic, partition), log.watermarks(name, partition)?.1);
            }
        }
        Ok(Self {
            log,
            names: target.topics.clone(),
            next,
        })
    }

    /// What has come since.
    fn next(&mut self, codec: &Codec, handle: &Handle) -> Result<Vec<Message>> {
        let mut outcomes = Vec::new();
        for topic in OUTCOMES {
            let of_topic = self.next.iter().filter(|((of, _), _)| *of == topic);
            let starts: Vec<(i32, Offset)> = of_topic
                .map(|((_, partition), next)| (*partition, Offset::Offset(*next)))
                .collect();
            let next = &mut self.next;
            self.log
                .read(self.names.name(topic), &starts, &mut |record| {
                    next.insert((topic, record.partition()), record.offset() + 1);
                    // What others wrote there is not for us to judge.
                    if let Ok(message) = handle.block_on(codec.decode(topic, record.payload())) {
                        outcomes.push(message);
                    }
                    Ok(ControlFlow::Continue(()))
                })?;
        }
        Ok(outcomes)
    }
}

/// A table for people, with colours.
pub fn text(all: &[Submitted]) -> String {
    let rows = all.iter().map(|one| {
        let outcome = match one.outcome.as_deref() {
            Some("OrderCreated") => paint(GOOD, "OrderCreated"),
            Some(other) => paint(BAD, other),
            None => paint(WARN, "none yet"),
        };
        let took = one.milliseconds.map(|ms| format!("{ms} ms"));
        vec![
            one.cart_id.to_string(),
            outcome,
            took.unwrap_or_default(),
            clean(one.detail.as_deref().unwrap_or_default()),
        ]
    });
    table(&["CART", "OUTCOME", "TOOK", ""], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carts_are_read_and_filled_in() {
        let text = r#"{"items": [{"productId": "mug", "quantity": 2, "unitPrice": 500}], "discount": 100}
            [{"cartId": "6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e", "items": [], "total": 7, "currency": "SEK"}]"#;
        let carts = carts(text).unwrap();
        assert_eq!(carts.len(), 2);
        assert_eq!((carts[0].total, carts[0].currency.as_str()), (900, "EUR"));
        assert_eq!((carts[1].total, carts[1].currency.as_str()), (7, "SEK"));
        assert_ne!(carts[0].event_id, carts[1].event_id);
        for (bad, says) in [
            ("", "no cart"),
            ("{", "not JSON"),
            ("{}", "items"),
            (r#"{"items": [], "totl": 1}"#, "totl"),
            ("7", "cart 1"),
        ] {
            let error = super::carts(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn carts_are_made_up_in_turns() {
        let products = [("a".to_owned(), 1), ("b".to_owned(), 3)];
        let carts = generate(3, &products, 250);
        let of = |cart: &CartCheckedOut| (cart.items[0].product_id.clone(), cart.total);
        let all: Vec<_> = carts.iter().map(of).collect();
        assert_eq!(
            all,
            [("a".into(), 250), ("b".into(), 750), ("a".into(), 250)]
        );
        assert!(generate(3, &[], 250).is_empty());
    }
}
