//! Sets the stock on hand by commands to the inventory service.

use std::{str::FromStr, time::Duration};

use anyhow::{Context, anyhow, bail, ensure};
use contracts::{
    Codec, Message, RecordType, Topic, TraceContext, headers,
    ids::{CommandId, GenericUuid},
    messages::SetStock,
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
    util::Timeout,
};
use uuid::Uuid;

use crate::Cluster;

/// The records that [`set`] writes, for [`Codec::connect`].
pub const WRITES: &[RecordType] = &[RecordType::SetStock];

/// What the commands give as their source.
const SOURCE: &str = "/checkout/checkoutctl";

/// Longest product id, in characters.
const PRODUCT_ID_MAX_CHARS: usize = 64;

/// Commands that are on their way to Kafka at once.
const IN_FLIGHT: usize = 1_000;

/// Time limit for the delivery of one command.
const DELIVERY: Duration = Duration::from_secs(30);

/// How much of a product there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stock {
    /// The product.
    pub product_id: String,
    /// Number of pieces that exist, reserved ones included.
    pub on_hand: i64,
}

impl Stock {
    /// That many pieces of a product.
    ///
    /// # Errors
    /// When the product id is empty or too long, or the number negative.
    pub fn new(product_id: &str, on_hand: i64) -> anyhow::Result<Self> {
        let length = product_id.chars().count();
        ensure!(
            (1..=PRODUCT_ID_MAX_CHARS).contains(&length),
            "product id {product_id:?} has {length} characters; it needs 1 to {PRODUCT_ID_MAX_CHARS}"
        );
        ensure!(
            on_hand >= 0,
            "stock of {product_id} is {on_hand}; it cannot be negative"
        );
        Ok(Self {
            product_id: product_id.to_owned(),
            on_hand,
        })
    }
}

/// Reads `SKU=NUMBER`.
impl FromStr for Stock {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        // A product id may contain an equals sign, a number does not.
        let Some((product_id, on_hand)) = text.rsplit_once('=') else {
            bail!("{text:?} is not SKU=NUMBER");
        };
        let on_hand = on_hand
            .parse()
            .map_err(|_| anyhow!("{on_hand:?} in {text:?} is not a whole number"))?;
        Self::new(product_id, on_hand)
    }
}

/// Publishes one `SetStock` for each product, in the order given, and returns
/// when Kafka has them all. The inventory service answers with a `StockSet`.
///
/// # Errors
/// When the codec was not connected for [`WRITES`], or Kafka does not take a
/// command within half a minute; some may have been delivered then.
pub async fn set(
    cluster: impl Into<Cluster>,
    codec: &Codec,
    stock: &[Stock],
) -> anyhow::Result<()> {
    let cluster = cluster.into();
    let producer: FutureProducer = cluster
        .client_config()
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "1")
        .set("message.timeout.ms", DELIVERY.as_millis().to_string())
        .create()
        .context("Kafka client configuration")?;
    let topic = codec.topics().name(Topic::InventoryCommands);
    let trace = TraceContext::new_root();

    stream::iter(stock)
        .map(|stock| publish(&producer, codec, topic, &trace, stock))
        .buffered(IN_FLIGHT)
        .try_for_each(async |()| Ok(()))
        .await
        .with_context(|| format!("Kafka at {}", cluster.bootstrap_servers))
}

async fn publish(
    producer: &FutureProducer,
    codec: &Codec,
    topic: &str,
    trace: &TraceContext,
    stock: &Stock,
) -> anyhow::Result<()> {
    let message = Message::from(SetStock {
        command_id: CommandId::from_untyped_uuid(Uuid::new_v4()),
        product_id: stock.product_id.clone(),
        on_hand: stock.on_hand,
    });
    let value = codec.encode(&message)?;
    let key = message.key();
    let mut all = OwnedHeaders::new();
    for (key, value) in headers(&message, SOURCE, Timestamp::now(), &trace.child()) {
        all = all.insert(Header {
            key: &key,
            value: Some(&value),
        });
    }
    let record = FutureRecord::to(topic)
        .key(&key)
        .payload(&value)
        .headers(all);
    producer
        .send(record, Timeout::After(DELIVERY))
        .await
        .map(drop)
        .map_err(|(error, _)| {
            anyhow!(error).context(format!(
                "stock of {} was not delivered to {topic}",
                stock.product_id
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stock_is_read_from_sku_and_number() {
        let read = |text: &str| text.parse::<Stock>();
        assert_eq!(read("TEA-1=40").unwrap(), Stock::new("TEA-1", 40).unwrap());
        assert_eq!(read("a=b=0").unwrap(), Stock::new("a=b", 0).unwrap());
        for (text, says) in [
            ("TEA-1", "SKU=NUMBER"),
            ("TEA-1=", "whole number"),
            ("TEA-1=many", "whole number"),
            ("=3", "1 to 64"),
            ("TEA-1=-1", "negative"),
            (&format!("{}=1", "x".repeat(65)), "1 to 64"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
