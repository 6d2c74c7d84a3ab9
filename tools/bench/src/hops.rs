//! Where one saga's time goes, hop by hop: the records of some carts' traces on the
//! topics, and the times at which the services took them in hand.
//!
//! The time between two neighbouring points is a hop, and the hops of a saga make up
//! all of its time, from its cart's publication until its outcome is read.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::LazyLock;

use anyhow::Context;
use audit::{Kafka, LogReader, consumer};
use contracts::{CE_TYPE, RecordType, TRACEPARENT, TraceContext};
use flow::Step;
use rdkafka::message::{Headers, Message as _};
use serde::{Deserialize, Serialize};
use stack::{Installation, Service};
use uuid::Uuid;

/// Carts that are looked into, spread over those of the sampled time.
const MOST_CARTS: usize = 1_000;
/// A point that fewer of the carts have is left out, and its two hops become one.
const KNOWN_SHARE: f64 = 0.9;
/// Places where time goes.
const KAFKA: &str = "kafka";
const ORCHESTRATOR: &str = "orchestrator";
const PAYMENT: &str = "payment";
/// Half of what is cut off where a time is kept in whole milliseconds.
const HALF_MS_IN_US: f64 = 500.0;

/// A cart whose order was created, as its publisher and its reader saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traced {
    pub(crate) trace_id: [u8; 16],
    pub(crate) cart_id: Uuid,
    pub(crate) checkout_id: Uuid,
    /// In microseconds since 1970.
    pub(crate) published_us: i64,
    pub(crate) read_us: i64,
}

/// A part of a saga's time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hop {
    /// From what to what.
    pub(crate) what: String,
    /// Where the time goes: kafka (a record is sent, waits for its reader's batch and
    /// is read), or the service that works.
    pub(crate) place: String,
    pub(crate) mean_ms: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// What a point's time is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Mark {
    /// The cart was handed to its publisher's client.
    Published,
    /// A record was handed to its publisher's client: its timestamp.
    Sent(RecordType),
    /// A service began the batch with this record: the time its rows have of it.
    Taken(RecordType),
    /// Payment began the batch with the gateway's answer.
    Answered,
    /// The outcome was read.
    Read,
}

/// A point, with the hop that ends there and the place of that.
struct Point {
    mark: Mark,
    what: String,
    place: &'static str,
}

/// All points in the order of a saga's time, as its steps make them.
static POINTS: LazyLock<Vec<Point>> = LazyLock::new(|| {
    let mut points = vec![
        Point::new(Mark::Published, String::new(), ""),
        taken(RecordType::CartCheckedOut),
    ];
    for step in Step::ALL {
        let definition = step.definition();
        let (command, reply) = (definition.command.record, definition.success.record);
        points.push(sent(command, ORCHESTRATOR));
        points.push(taken(command));
        if command == RecordType::AuthorizePayment {
            let what = "payment: intent, gateway".to_owned();
            points.push(Point::new(Mark::Answered, what, PAYMENT));
        }
        points.push(sent(reply, consumer(command.topic()).unwrap_or("?")));
        points.push(taken(reply));
    }
    points.push(sent(RecordType::OrderCreated, ORCHESTRATOR));
    let what = format!("{} to subscriber", RecordType::OrderCreated.name());
    points.push(Point::new(Mark::Read, what, KAFKA));
    points
});

impl Point {
    fn new(mark: Mark, what: String, place: &'static str) -> Self {
        Self { mark, what, place }
    }
}

fn sent(record: RecordType, by: &'static str) -> Point {
    Point::new(Mark::Sent(record), format!("{by}: {}", record.name()), by)
}

fn taken(record: RecordType) -> Point {
    let by = consumer(record.topic()).unwrap_or("?");
    Point::new(
        Mark::Taken(record),
        format!("{} to {by}", record.name()),
        KAFKA,
    )
}

/// When a saga passed its points, in microseconds since 1970.
type Times = HashMap<Mark, f64>;

/// The hops of these carts, from topics and databases; with how many were looked into.
///
/// # Errors
/// When Kafka or a database cannot be read.
pub(crate) async fn read(
    installation: &Installation,
    traced: &[Traced],
) -> anyhow::Result<(Vec<Hop>, usize)> {
    let carts = spread(traced, MOST_CARTS);
    if carts.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let mut times: HashMap<[u8; 16], Times> = carts
        .iter()
        .map(|cart| {
            #[allow(clippy::cast_precision_loss, reason = "2^53 µs are 285 years")]
            let us = |at: i64| at as f64;
            let ends = [
                (Mark::Published, us(cart.published_us)),
                (Mark::Read, us(cart.read_us)),
            ];
            (cart.trace_id, ends.into())
        })
        .collect();
    let own = installation.clone();
    let of_carts = carts.clone();
    let sent = tokio::task::spawn_blocking(move || times_sent(&own, &of_carts))
        .await
        .context("the reading thread")??;
    for (trace, mark, at) in sent {
        if let Some(times) = times.get_mut(&trace) {
            times.entry(mark).or_insert(at);
        }
    }
    for (trace, mark, at) in times_taken(installation, &carts).await? {
        if let Some(times) = times.get_mut(&trace) {
            times.entry(mark).or_insert(at);
        }
    }
    Ok((hops(times.into_values().collect()), carts.len()))
}

/// At most so many, evenly.
fn spread(traced: &[Traced], most: usize) -> Vec<Traced> {
    let step = traced.len().div_ceil(most).max(1);
    traced.iter().step_by(step).copied().collect()
}

type Found = Vec<([u8; 16], Mark, f64)>;

/// When the records of these traces were sent.
fn times_sent(installation: &Installation, carts: &[Traced]) -> anyhow::Result<Found> {
    let mut found = Found::new();
    let wanted: HashMap<[u8; 16], ()> = carts.iter().map(|cart| (cart.trace_id, ())).collect();
    let first_ms = carts.iter().map(|cart| cart.published_us).min();
    let last_ms = carts.iter().map(|cart| cart.read_us).max();
    let (Some(first_ms), Some(last_ms)) = (first_ms, last_ms) else {
        return Ok(found);
    };
    let (first_ms, last_ms) = (first_ms / 1_000, last_ms / 1_000 + 1);
    let marks: HashMap<&str, RecordType> = POINTS
        .iter()
        .filter_map(|point| match point.mark {
            Mark::Sent(record) => Some((record.full_name(), record)),
            _ => None,
        })
        .collect();
    let names = installation.topics();
    let mut topics: Vec<&str> = marks
        .values()
        .map(|record| names.name(record.topic()))
        .collect();
    topics.sort_unstable();
    topics.dedup();
    let log = LogReader::new(&Kafka::at(&installation.bootstrap_servers))?;
    for topic in topics {
        let starts = log.offsets_at(topic, &log.partitions(topic)?, first_ms)?;
        log.read(topic, &starts, &mut |record| {
            let Some(at_ms) = record.timestamp().to_millis() else {
                return Ok(ControlFlow::Continue(()));
            };
            if at_ms > last_ms {
                return Ok(ControlFlow::Break(()));
            }
            let header = |name| {
                let headers = record.headers()?;
                let header = headers.iter().find(|header| header.key == name)?;
                std::str::from_utf8(header.value?).ok()
            };
            let mark = header(CE_TYPE).and_then(|name| marks.get(name));
            let trace = header(TRACEPARENT).and_then(TraceContext::parse);
            if let (Some(mark), Some(trace)) = (mark, trace)
                && wanted.contains_key(&trace.trace_id)
            {
                #[allow(clippy::cast_precision_loss, reason = "2^53 µs are 285 years")]
                let at = (at_ms * 1_000) as f64;
                found.push((trace.trace_id, Mark::Sent(*mark), at));
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(found)
}

/// What the services' rows say of the times at which they took records in hand: the
/// checkout, the record's full name, and microseconds since 1970.
const ROWS: &[(Service, &str)] = &[
    (
        Service::Orchestrator,
        "SELECT checkout_id, record_type AS mark, (extract(epoch FROM at) * 1000000)::int8 AS us
         FROM saga_transitions WHERE cart_id = ANY($1) AND record_type IS NOT NULL ORDER BY at",
    ),
    (
        Service::Inventory,
        "SELECT checkout_id, 'ReserveInventory' AS mark,
                (extract(epoch FROM answered_at) * 1000000)::int8 AS us
         FROM reservations WHERE checkout_id = ANY($1) AND answered_at IS NOT NULL",
    ),
    (
        Service::Payment,
        "SELECT checkout_id, 'AuthorizePayment' AS mark,
                (extract(epoch FROM requested_at) * 1000000)::int8 AS us
         FROM authorizations WHERE checkout_id = ANY($1)
         UNION ALL
         SELECT checkout_id, 'answer', (extract(epoch FROM authorized_at) * 1000000)::int8
         FROM authorizations WHERE checkout_id = ANY($1) AND authorized_at IS NOT NULL",
    ),
    (
        Service::Order,
        "SELECT checkout_id, 'CreateOrder' AS mark,
                (extract(epoch FROM answered_at) * 1000000)::int8 AS us
         FROM orders WHERE checkout_id = ANY($1) AND answered_at IS NOT NULL",
    ),
];

/// When the services took the records of these carts in hand.
async fn times_taken(installation: &Installation, carts: &[Traced]) -> anyhow::Result<Found> {
    let mut found = Found::new();
    let traces: HashMap<Uuid, [u8; 16]> = carts
        .iter()
        .map(|cart| (cart.checkout_id, cart.trace_id))
        .collect();
    for (service, sql) in ROWS {
        let ids: Vec<Uuid> = carts
            .iter()
            .map(|cart| match service {
                Service::Orchestrator => cart.cart_id,
                _ => cart.checkout_id,
            })
            .collect();
        let client = installation.connect(*service).await?;
        let rows = client
            .query(*sql, &[&ids])
            .await
            .with_context(|| format!("{service}: {sql}"))?;
        for row in rows {
            let mark = mark_of(row.try_get("mark")?);
            let trace = traces.get(&row.try_get::<_, Uuid>("checkout_id")?);
            if let (Some(mark), Some(trace)) = (mark, trace) {
                #[allow(clippy::cast_precision_loss, reason = "2^53 µs are 285 years")]
                let at = row.try_get::<_, i64>("us")? as f64;
                found.push((*trace, mark, at));
            }
        }
    }
    Ok(found)
}

/// The point that a row tells of, by the record's name with or without its namespace.
fn mark_of(name: &str) -> Option<Mark> {
    let name = name.rsplit('.').next()?;
    POINTS
        .iter()
        .map(|point| point.mark)
        .find(|mark| match mark {
            Mark::Taken(record) => record.name() == name,
            Mark::Answered => name == "answer",
            Mark::Published | Mark::Sent(_) | Mark::Read => false,
        })
}

/// The hops between the points that nearly all sagas have, of the sagas that have all
/// of these.
fn hops(mut sagas: Vec<Times>) -> Vec<Hop> {
    #[allow(clippy::cast_precision_loss, reason = "at most a thousand")]
    let enough = sagas.len() as f64 * KNOWN_SHARE;
    let mut known: BTreeMap<Mark, bool> = BTreeMap::new();
    for Point { mark, .. } in POINTS.iter() {
        let have = || sagas.iter().filter_map(|times| times.get(mark));
        #[allow(clippy::cast_precision_loss, reason = "at most a thousand")]
        let is_known = have().count() as f64 >= enough;
        // A time in whole milliseconds is half of one early, on average.
        let whole = is_known && have().all(|at| at.rem_euclid(1_000.0).abs() < f64::EPSILON);
        known.insert(*mark, is_known);
        if whole {
            for times in &mut sagas {
                if let Some(at) = times.get_mut(mark) {
                    *at += HALF_MS_IN_US;
                }
            }
        }
    }
    let is_known = |mark: &Mark| known.get(mark).copied().unwrap_or(false);
    sagas.retain(|times| {
        POINTS
            .iter()
            .all(|point| !is_known(&point.mark) || times.contains_key(&point.mark))
    });
    let mut hops = Vec::new();
    let mut from = None;
    let mut passed: Vec<&str> = Vec::new();
    for Point { mark, what, place } in POINTS.iter() {
        if !what.is_empty() {
            passed.push(what);
        }
        if !is_known(mark) {
            continue;
        }
        if let Some(from) = from {
            let took = sagas
                .iter()
                .filter_map(|times| Some((times.get(mark)? - times.get(&from)?) / 1_000.0));
            hops.push(hop(&passed.join(" + "), place, took.collect()));
        }
        from = Some(*mark);
        passed.clear();
    }
    hops
}

fn hop(what: &str, place: &str, mut took_ms: Vec<f64>) -> Hop {
    took_ms.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, reason = "at most a thousand")]
    let count = took_ms.len().max(1) as f64;
    let at = |of_hundred: usize| {
        let index = took_ms.len().saturating_sub(1) * of_hundred / 100;
        took_ms.get(index).copied().unwrap_or(0.0)
    };
    Hop {
        what: what.to_owned(),
        place: place.to_owned(),
        mean_ms: took_ms.iter().sum::<f64>() / count,
        p50_ms: at(50),
        p99_ms: at(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A saga that takes one millisecond from point to point.
    fn saga(begin_us: f64) -> Times {
        let mut at = begin_us - 1_000.0;
        let each = POINTS.iter().map(|point| {
            at += 1_000.0;
            (point.mark, at)
        });
        each.collect()
    }

    /// Whether the hops last as long as all of such a saga.
    fn are_all(hops: &[Hop]) -> bool {
        #[allow(clippy::cast_precision_loss, reason = "a few points")]
        let all = (POINTS.len() - 1) as f64;
        let total: f64 = hops.iter().map(|hop| hop.mean_ms).sum();
        (total - all).abs() < 1e-6
    }

    #[test]
    fn hops_make_up_all_of_the_time() {
        let hops = hops(vec![saga(100.0), saga(5_000_300.0)]);
        assert_eq!(hops.len(), POINTS.len() - 1);
        assert!(hops.iter().all(|hop| (hop.mean_ms - 1.0).abs() < 1e-6));
        assert!(are_all(&hops), "{hops:?}");
        assert_eq!(hops[0].what, "CartCheckedOut to orchestrator");
        let gateway = hops
            .iter()
            .find(|hop| hop.what.contains("gateway"))
            .unwrap();
        assert_eq!((gateway.place.as_str(), gateway.p99_ms), ("payment", 1.0));
    }

    #[test]
    fn a_point_that_is_not_known_joins_its_hops_and_no_time_is_lost() {
        let mut without = [saga(100.0), saga(200.0)];
        for saga in &mut without {
            saga.remove(&Mark::Taken(RecordType::ReserveInventory));
        }
        let hops = hops(without.into());
        assert_eq!(hops.len(), POINTS.len() - 2);
        let joined = &hops[2];
        assert_eq!(
            joined.what,
            "ReserveInventory to inventory + inventory: InventoryReserved"
        );
        assert_eq!(joined.place, "inventory");
        assert!((joined.mean_ms - 2.0).abs() < 1e-6);
        assert!(are_all(&hops), "{hops:?}");
    }

    #[test]
    fn a_saga_that_lacks_a_point_of_nearly_all_is_left_out() {
        let mut sagas: Vec<Times> = (0..20).map(|n| saga(f64::from(n) + 0.5)).collect();
        sagas[3].remove(&Mark::Answered);
        if let Some(at) = sagas[3].get_mut(&Mark::Read) {
            *at += 1e9;
        }
        assert!(are_all(&hops(sagas)));
    }

    #[test]
    fn times_in_whole_milliseconds_are_taken_for_their_middle() {
        let mut sagas = vec![saga(700.0), saga(2_300.0)];
        for saga in &mut sagas {
            for (mark, at) in saga {
                if matches!(mark, Mark::Sent(_)) {
                    *at = (*at / 1_000.0).floor() * 1_000.0;
                }
            }
        }
        let hops = hops(sagas);
        // 700 and 300 µs become 500 on average.
        assert!((hops[1].mean_ms - 1.0).abs() < 1e-6, "{:?}", hops[1]);
        assert!(are_all(&hops), "{hops:?}");
    }

    #[test]
    fn rows_name_points_with_or_without_namespace() {
        let name = RecordType::OrderRecorded.full_name();
        assert_eq!(mark_of(name), Some(Mark::Taken(RecordType::OrderRecorded)));
        assert_eq!(mark_of("answer"), Some(Mark::Answered));
        assert_eq!(mark_of("InventoryReleased"), None);
    }

    #[test]
    fn carts_are_taken_from_the_whole_time() {
        let traced: Vec<Traced> = (0..2_500)
            .map(|n| Traced {
                trace_id: [1; 16],
                cart_id: Uuid::nil(),
                checkout_id: Uuid::nil(),
                published_us: n,
                read_us: n,
            })
            .collect();
        let some = spread(&traced, 1_000);
        assert_eq!(some.len(), 834);
        assert_eq!(some.last().map(|cart| cart.published_us), Some(2_499));
    }
}
