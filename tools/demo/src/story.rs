//! The story of one cart: every record of it on all topics, then every row of
//! it in the four databases.

use std::collections::BTreeMap;

use contracts::ids::GenericUuid;
use contracts::messages::SagaState;
use contracts::{Codec, Message, Topic};
use flow::Step;
use jiff::Timestamp;
use serde_json::Value;
use stack::{Installation, Service, StoredRecord, stored_records};

use crate::carts::Cart;
use crate::cli::Output;

/// What is asked of each database about one cart: a name, and a query with the
/// cart's id as parameter and one column of JSON.
const QUERIES: &[(Service, &str, &str)] = &[
    (
        Service::Orchestrator,
        "sagas",
        "SELECT row_to_json(t) FROM sagas t WHERE cart_id = $1",
    ),
    (
        Service::Inventory,
        "reservations",
        "SELECT row_to_json(t) FROM reservations t WHERE cart_id = $1 ORDER BY checkout_id",
    ),
    (
        Service::Inventory,
        "reservation_items",
        "SELECT row_to_json(t) FROM reservation_items t WHERE checkout_id IN \
         (SELECT checkout_id FROM reservations WHERE cart_id = $1) ORDER BY checkout_id, line",
    ),
    (
        Service::Payment,
        "authorizations",
        "SELECT row_to_json(t) FROM authorizations t WHERE cart_id = $1 ORDER BY checkout_id",
    ),
    (
        Service::Order,
        "orders",
        "SELECT row_to_json(t) FROM orders t WHERE cart_id = $1 ORDER BY checkout_id",
    ),
    (
        Service::Order,
        "order_items",
        "SELECT row_to_json(t) FROM order_items t WHERE order_id IN \
         (SELECT order_id FROM orders WHERE cart_id = $1) ORDER BY order_id, line",
    ),
];

/// The same, of the participant of a further step.
const HOLDINGS: &str = "SELECT row_to_json(t) FROM holdings t WHERE cart_id = $1";

/// Tells the stories of these carts.
pub(crate) async fn tell(
    carts: &[Cart],
    installation: &Installation,
    codec: &Codec,
    output: Output,
) -> anyhow::Result<()> {
    let records = records_by_cart(carts, installation, codec).await?;
    for cart in carts {
        output.line("");
        output.line(format!(
            "── one cart that was: {} ── {}",
            cart.kind,
            cart.id()
        ));
        let mut records = records
            .get(&cart.id().to_string())
            .cloned()
            .unwrap_or_default();
        records.sort_by_key(|(record, rank, _)| {
            (record.timestamp_ms, *rank, record.partition, record.offset)
        });
        for (record, _, shown) in &records {
            output.line(line(record, shown));
        }
        let further = Service::ALL
            .iter()
            .filter(|service| QUERIES.iter().all(|(known, _, _)| known != *service))
            .map(|service| (*service, "holdings", HOLDINGS));
        for (service, table, query) in QUERIES.iter().copied().chain(further) {
            let database = installation.connect(service).await?;
            for row in database
                .query(query, &[&cart.id().into_untyped_uuid()])
                .await?
            {
                let row: Value = row.try_get(0)?;
                output.line(format!(
                    "  {service:>12}.{table:<18} {}",
                    without_nulls(row)
                ));
            }
        }
    }
    Ok(())
}

/// A record, its place among those of the same millisecond, and its type and
/// content as shown.
type Shown = (StoredRecord, usize, String);

async fn records_by_cart(
    carts: &[Cart],
    installation: &Installation,
    codec: &Codec,
) -> anyhow::Result<BTreeMap<String, Vec<Shown>>> {
    let names = codec.topics();
    let topics: Vec<&str> = Topic::ALL
        .iter()
        .flat_map(|topic| {
            let dlq = topic.is_consumed().then(|| names.dlq(*topic));
            std::iter::once(names.name(*topic)).chain(dlq)
        })
        .collect();
    let keys: Vec<String> = carts.iter().map(|cart| cart.id().to_string()).collect();
    let wanted = keys.clone();
    let found = stored_records(&installation.bootstrap_servers, &topics, move |key| {
        key.is_some_and(|key| wanted.iter().any(|wanted| wanted.as_bytes() == key))
    })
    .await?;
    let mut by_cart = BTreeMap::<String, Vec<Shown>>::new();
    for record in found {
        let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
        let decoded = match names.topic(&record.topic) {
            Some(topic) => codec
                .decode(topic, record.payload.as_deref())
                .await
                .map_err(|error| error.to_string()),
            None => Err("a dead letter".to_owned()),
        };
        let (rank, shown) = match decoded {
            Ok(message) => (
                rank(&message),
                format!("{:<20} {}", message.record_type().name(), content(&message)),
            ),
            Err(why) => (usize::MAX, why),
        };
        by_cart.entry(key).or_default().push((record, rank, shown));
    }
    Ok(by_cart)
}

/// "12:34:56.789  inventory.commands[2]@15  ReserveInventory  {...}"
fn line(record: &StoredRecord, shown: &str) -> String {
    let time = Timestamp::from_millisecond(record.timestamp_ms)
        .map(|time| time.strftime("%H:%M:%S%.3f").to_string())
        .unwrap_or_default();
    let place = format!("{}[{}]@{}", record.topic, record.partition, record.offset);
    format!("  {time}  {place:<28} {shown}")
}

fn content(message: &Message) -> Value {
    without_nulls(message.to_json())
}

/// Where a record stands in the saga, to tell those of one millisecond apart:
/// forward, then backward, then the end.
fn rank(message: &Message) -> usize {
    let steps = Step::ALL.len();
    let (forward, aside, backward) = (2, 2 + 2 * steps, 3 + 2 * steps);
    let end = backward + 2 * steps;
    let record = message.record_type();
    let in_a_step = Step::ALL.iter().zip(0..).find_map(|(step, at)| {
        let definition = step.definition();
        let undone_after = steps - 1 - at;
        if record == definition.command.record {
            Some(forward + 2 * at)
        } else if record == definition.success.record
            || definition.failures.iter().any(|f| f.record == record)
        {
            Some(forward + 2 * at + 1)
        } else if record == definition.compensation.record {
            Some(backward + 2 * undone_after)
        } else if record == definition.compensation.acknowledged_by {
            Some(backward + 2 * undone_after + 1)
        } else {
            None
        }
    });
    in_a_step.unwrap_or(match message {
        Message::CartCheckedOut(_) => 0,
        Message::SagaOperation(_) => 1,
        Message::OrderCreated(_) | Message::CheckoutFailed(_) | Message::CheckoutRejected(_) => end,
        Message::SagaSnapshot(snapshot) => match snapshot.state {
            SagaState::Completed | SagaState::Failed | SagaState::Abandoned => end + 1,
            _ => aside,
        },
        // Such as ReservationExpired and SagaStuck.
        _ => aside,
    })
}

/// Columns and fields without a value say nothing.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_said_of_what_is_not_there() {
        let row = json!({"a": null, "b": [{"c": null, "d": 1}], "e": {"f": null}});
        assert_eq!(without_nulls(row), json!({"b": [{"d": 1}], "e": {}}));
    }

    #[test]
    fn a_record_is_one_line() {
        let record = StoredRecord {
            topic: "ordering.orders".into(),
            partition: 2,
            offset: 15,
            timestamp_ms: 1_700_000_000_123,
            key: None,
            payload: None,
            headers: Vec::new(),
        };
        let line = line(&record, "OrderCreated {}");
        assert!(line.contains("22:13:20.123"), "{line}");
        assert!(line.contains("ordering.orders[2]@15"), "{line}");
    }
}
