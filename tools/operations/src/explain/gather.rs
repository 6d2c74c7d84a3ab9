//! Reads what there is: database first, for it says where in the logs to look.

use std::collections::{BTreeMap, BTreeSet};

use audit::{Error, Result, Target, consumer};
use contracts::ids::{CartId, GenericUuid};
use contracts::{Codec, Topic};
use jiff::Timestamp;

use super::outlook::{self, Known};
use super::places::{lookups, topics_of, waits_for};
use super::stored::{Positions, history, positions, rows, saga};
use super::timeline::Assembly;
use super::{Explanation, Lag, Limits};
use crate::databases::Db;
use crate::log::{Answers, Log, Questions};

pub(super) async fn explanation(
    target: &Target,
    cart: CartId,
    limits: Limits,
) -> Result<Explanation> {
    let now = Timestamp::now();
    let db = Db::orchestrator(target, limits.timeout).await?;
    let id = cart.into_untyped_uuid();
    let row = saga(&db, id).await?;
    let past = history(&db, id, limits.transitions).await?;
    let mut notes = Vec::new();
    if past.len() == limits.transitions as usize {
        notes.push(format!(
            "only the newest {} transitions are shown",
            limits.transitions
        ));
    }
    let waits_for = row.as_ref().and_then(|row| waits_for(&row.saga));
    let positions = positions(target, &db, waits_for.as_ref(), limits, &mut notes).await?;

    let (lookups, purposes) = lookups(row.as_ref(), &past, waits_for.as_ref(), &positions);
    let mut ends = BTreeSet::from([Topic::ShoppingCheckouts]);
    if let Some(waits) = &waits_for {
        ends.extend(topics_of(waits));
    }
    let answers = {
        let (target, key) = (target.clone(), cart.to_string());
        let asking = move || {
            let names = &target.topics;
            let mut kafka = target.kafka.clone();
            kafka.timeout = limits.timeout;
            Questions {
                kafka: &kafka,
                name: &|log| name(names, log).to_owned(),
                key: key.as_bytes(),
                lookups,
                ends: ends
                    .into_iter()
                    .filter_map(|topic| {
                        let log = Log {
                            topic,
                            is_dlq: false,
                        };
                        let group = format!("{}checkout-{}", names.prefix(), consumer(topic)?);
                        Some((log, group))
                    })
                    .collect(),
                at_most: limits.search_records,
            }
            .ask()
        };
        tokio::task::spawn_blocking(asking)
            .await
            .map_err(|_| Error::Invalid("the thread that reads Kafka broke down".to_owned()))?
    };
    // What the databases have is worth telling without Kafka, too.
    let (answers, kafka_answered) = match answers {
        Ok(answers) => (answers, true),
        Err(error) => {
            notes.push(format!(
                "Kafka was not asked, so all records are missing: {error}"
            ));
            (Answers::default(), false)
        }
    };

    let codec = Codec::connect(&target.registry, target.topics.clone(), &[]).await?;
    let lag = lags(target, &answers, &positions, cart);
    let mut assembly = Assembly {
        target,
        codec: &codec,
        cart,
        positions: &positions,
        seen: BTreeSet::new(),
        notes,
    };
    let timeline = assembly.timeline(&past, &purposes, &answers).await;
    let mut notes = assembly.notes;
    let rows = rows(target, row.as_ref(), &timeline, &past, limits, &mut notes).await;

    let saga = row.as_ref().map(|row| row.saga.clone());
    let known = Known {
        cart,
        now,
        saga: saga.as_ref(),
        home_partition: row.as_ref().map(|row| row.home_partition),
        wake_at: row.as_ref().and_then(|row| row.wake_at),
        waits_for: waits_for.as_ref(),
        timeline: &timeline,
        lag: &lag,
        names: &target.topics,
        search_records: limits.search_records,
        kafka_answered,
    };
    let (next, commands) = outlook::of(&known);
    Ok(Explanation {
        cart_id: cart,
        asked_at: now,
        state: saga
            .as_ref()
            .map(|saga| saga.progress.state.kind().to_string()),
        since: saga.as_ref().map(|saga| saga.progress.updated_at),
        saga,
        waits_for,
        timeline,
        rows,
        lag,
        next,
        commands,
        notes,
        records_read: answers.read,
    })
}

pub(super) fn name(names: &contracts::TopicNames, log: Log) -> &str {
    match log.is_dlq {
        true => names.dlq(log.topic),
        false => names.name(log.topic),
    }
}

fn lags(target: &Target, answers: &Answers, positions: &Positions, cart: CartId) -> Vec<Lag> {
    let key = cart.to_string();
    let mut partitions: BTreeMap<Log, i32> = BTreeMap::new();
    for (log, _) in answers.ends.keys() {
        *partitions.entry(*log).or_default() += 1;
    }
    answers
        .ends
        .iter()
        .filter_map(|((log, partition), ends)| {
            let of_key = crate::partition::of_key(key.as_bytes(), partitions[log]);
            let exact = positions.get(&(log.topic, *partition)).copied();
            let position = exact.or(ends.committed);
            let unread = (ends.high - position.unwrap_or(ends.low)).max(0);
            // Other partitions matter only where somebody is behind.
            (*partition == of_key || unread > 0).then(|| Lag {
                service: consumer(log.topic).unwrap_or_default().to_owned(),
                topic: name(&target.topics, *log).to_owned(),
                partition: *partition,
                position,
                end: ends.high,
                unread,
                exact: exact.is_some(),
            })
        })
        .collect()
}
