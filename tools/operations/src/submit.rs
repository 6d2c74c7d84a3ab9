//! Publishes carts as a cart service would, and waits for their outcomes.

mod carts;
mod submission;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use audit::{Error, LogReader, Result, Target};
use contracts::ids::{CheckoutId, checkout_id};
use contracts::messages::CartCheckedOut;
use contracts::{Codec, DecodeError, Message, RecordType, Topic};
use futures::{StreamExt, stream};
use rdkafka::Offset;
use rdkafka::message::Message as _;
use tokio::runtime::Handle;

pub use carts::{carts, generate};
pub use submission::{Submission, Submitted};

use crate::publish::{Publisher, Unsent};

/// The records that are published, for [`Codec::connect`].
const WRITES: &[RecordType] = &[RecordType::CartCheckedOut];
/// Carts that are on their way to Kafka at once.
const IN_FLIGHT: usize = 500;
/// Where outcomes are published.
const OUTCOMES: [Topic; 2] = [Topic::OrderingOrders, Topic::OrderingCheckouts];
/// Pause between two looks at them.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Carts that have no outcome yet, with their place in the list and when they were
/// published, or may have been.
type Open = BTreeMap<CheckoutId, (usize, Instant)>;

/// Publishes carts and waits for their outcomes, at most for `wait`. `tell` hears how far
/// it is. Where Kafka is lost meanwhile no more are tried, and each cart says what is known
/// of it.
///
/// # Errors
/// When Kafka or the registry cannot be reached; nothing was published then.
pub async fn submit(
    target: &Target,
    carts: &[CartCheckedOut],
    wait: Duration,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<Submission> {
    tell("asking the schema registry");
    let codec = Codec::connect(&target.registry, target.topics.clone(), WRITES).await?;
    let publisher = Publisher::new(&target.kafka)?;
    // Outcomes are read from where their topics end now.
    tell("asking Kafka for the ends of the topics");
    let asked = target.clone();
    let reading = tokio::task::spawn_blocking(move || Reading::begin(&asked))
        .await
        .map_err(|_| broke_down())??;
    // From here on carts are published, and their ids must not be lost.
    let (mut all, open) = publish(&publisher, &codec, carts, tell).await;
    let read = take_outcomes(reading, &codec, &mut all, open, wait, tell).await;
    Ok(Submission {
        carts: all,
        unread: read.err().map(|error| error.to_string()),
    })
}

async fn publish(
    publisher: &Publisher,
    codec: &Codec,
    carts: &[CartCheckedOut],
    tell: &(dyn Fn(&str) + Send + Sync),
) -> (Vec<Submitted>, Open) {
    let mut all: Vec<Submitted> = Vec::with_capacity(carts.len());
    let mut open = Open::new();
    let mut sending = stream::iter(carts)
        .map(async |cart| {
            let begin = Instant::now();
            let sent = publisher.message(codec, &cart.clone().into()).await;
            (cart, begin, sent)
        })
        .buffered(IN_FLIGHT);
    let mut confirmed = 0;
    tell(&format!("0 of {} carts published", carts.len()));
    while let Some((cart, begin, sent)) = sending.next().await {
        let checkout = checkout_id(cart.event_id);
        let published = match &sent {
            Ok(_) => Some(true),
            Err(Unsent::Unknown(_)) => None,
            Err(Unsent::Refused(_) | Unsent::NotTried(_)) => Some(false),
        };
        confirmed += usize::from(sent.is_ok());
        if published != Some(false) {
            open.insert(checkout, (all.len(), begin));
        }
        all.push(Submitted {
            cart_id: cart.cart_id,
            checkout_id: checkout,
            published,
            outcome: None,
            detail: sent.err().map(|unsent| unsent.to_string()),
            milliseconds: None,
        });
        tell(&format!("{confirmed} of {} carts published", carts.len()));
    }
    (all, open)
}

/// Reads outcomes until all carts have one, or the wait is over.
async fn take_outcomes(
    mut reading: Reading,
    codec: &Codec,
    all: &mut [Submitted],
    mut open: Open,
    wait: Duration,
    tell: &(dyn Fn(&str) + Send + Sync),
) -> Result<()> {
    let (published, deadline) = (open.len(), Instant::now() + wait);
    while !open.is_empty() && Instant::now() < deadline {
        tell(&format!(
            "{} of {published} carts have an outcome",
            published - open.len()
        ));
        let (codec, handle) = (codec.clone(), Handle::current());
        let (back, outcomes, looked) = tokio::task::spawn_blocking(move || {
            let mut outcomes = Vec::new();
            let looked = reading.next(&codec, &handle, &mut outcomes);
            (reading, outcomes, looked)
        })
        .await
        .map_err(|_| broke_down())?;
        reading = back;
        for outcome in outcomes {
            let Some((index, begin)) = outcome.checkout_id().and_then(|id| open.remove(&id)) else {
                continue;
            };
            let one = &mut all[index];
            one.published = Some(true);
            one.outcome = Some(outcome.record_type().name().to_owned());
            one.detail = detail(&outcome);
            one.milliseconds = u64::try_from(begin.elapsed().as_millis()).ok();
        }
        looked?;
        if !open.is_empty() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
    Ok(())
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

    /// Adds what has come since, as far as it could be read.
    fn next(&mut self, codec: &Codec, handle: &Handle, outcomes: &mut Vec<Message>) -> Result<()> {
        for topic in OUTCOMES {
            let of_topic = self.next.iter().filter(|((of, _), _)| *of == topic);
            let starts: Vec<(i32, Offset)> = of_topic
                .map(|((_, partition), next)| (*partition, Offset::Offset(*next)))
                .collect();
            let next = &mut self.next;
            self.log
                .read(self.names.name(topic), &starts, &mut |record| {
                    match handle.block_on(codec.decode(topic, record.payload())) {
                        Ok(message) => outcomes.push(message),
                        // What others wrote there is not for us to judge.
                        Err(DecodeError::Poison(_)) => {}
                        Err(DecodeError::Unavailable(error)) => {
                            return Err(Error::Registry(error));
                        }
                    }
                    next.insert((topic, record.partition()), record.offset() + 1);
                    Ok(ControlFlow::Continue(()))
                })?;
        }
        Ok(())
    }
}
