//! Reads what there is: the orchestrator's database first, for it says where in the logs
//! to look.

use std::collections::{BTreeMap, BTreeSet};

use audit::{Error, LogReader, Result, Target, consumer};
use contracts::ids::{CartId, GenericUuid};
use contracts::{Codec, Topic};
use jiff::Timestamp;

use super::notes::Notes;
use super::outlook::{self, Known};
use super::places::{lookups, lookups_at_ends, topics_of};
use super::stored::{Positions, Stored, checkouts, checkouts_of, rows, stored};
use super::timeline::Assembly;
use super::{Explanation, Lag, Limits};
use crate::log::{Answers, Log, Questions};

pub(super) async fn explanation(
    target: &Target,
    cart: CartId,
    limits: Limits,
) -> Result<Explanation> {
    let now = Timestamp::now();
    let id = cart.into_untyped_uuid();
    let mut notes = Notes::default();
    let (stored, orchestrator_answered) = match stored(target, id, limits, &mut notes).await {
        Ok(stored) => (stored, true),
        Err(error) => {
            notes.away(format!(
                "the orchestrator's database was not read, so the saga with its history and \
                 deadline is missing, and records are looked for among the newest {} of each \
                 partition only (more with --search-records): {error}",
                limits.search_records
            ));
            (Stored::default(), false)
        }
    };

    let places = orchestrator_answered.then(|| lookups(&stored));
    let mut ends = BTreeSet::from([Topic::ShoppingCheckouts]);
    ends.extend(stored.waits_for.iter().flat_map(topics_of));
    // Whoever is behind may be what it waits for.
    if !orchestrator_answered {
        ends.extend(Topic::ALL);
    }
    let answers = {
        let (target, key) = (target.clone(), cart.to_string());
        let asking = move || {
            let names = &target.topics;
            let mut kafka = target.kafka.clone();
            kafka.timeout = limits.timeout;
            let (lookups, purposes) = match places {
                Some(places) => places,
                None => {
                    let requests = names.name(Topic::ShoppingCheckouts);
                    let requests = LogReader::new(&kafka)?.partitions(requests)?;
                    lookups_at_ends(limits.search_records, &requests)
                }
            };
            let questions = Questions {
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
            };
            Ok::<_, Error>((questions.ask()?, purposes))
        };
        tokio::task::spawn_blocking(asking)
            .await
            .map_err(|_| Error::Invalid("the thread that reads Kafka broke down".to_owned()))?
    };
    // What the databases have is worth telling without Kafka, too.
    let (answers, purposes, kafka_answered) = match answers {
        Ok((answers, purposes)) => (answers, purposes, true),
        Err(error) => {
            notes.away(format!(
                "Kafka was not asked, so all records are missing: {error}"
            ));
            (Answers::default(), Vec::new(), false)
        }
    };

    let codec = Codec::connect(&target.registry, target.topics.clone(), &[]).await?;
    let lag = lags(target, &answers, &stored.positions, cart);
    let mut assembly = Assembly {
        target,
        codec: &codec,
        cart,
        positions: &stored.positions,
        seen: BTreeSet::new(),
        undecoded: BTreeMap::new(),
        notes,
    };
    let timeline = assembly.timeline(&stored.past, &purposes, &answers).await;
    let mut notes = assembly.notes;
    let mut checkouts = checkouts(&stored, &timeline);
    if !orchestrator_answered {
        checkouts.extend(checkouts_of(target, id, limits).await);
    }
    let rows = rows(target, stored.row.as_ref(), checkouts, limits, &mut notes).await;

    let Stored { row, waits_for, .. } = stored;
    let listed = row.as_ref().map(|row| &row.listed);
    let known = Known {
        cart,
        now,
        listed,
        home_partition: row.as_ref().map(|row| row.home_partition),
        waits_for: waits_for.as_ref(),
        timeline: &timeline,
        lag: &lag,
        names: &target.topics,
        search_records: limits.search_records,
        kafka_answered,
        orchestrator_answered,
    };
    let (next, commands) = outlook::of(&known);
    Ok(Explanation {
        cart_id: cart,
        asked_at: now,
        orchestrator_answered,
        all_answered: !notes.anybody_away,
        saga: listed.and_then(|listed| listed.saga.clone()),
        state: listed.map(|listed| listed.state.clone()),
        step: listed.and_then(|listed| listed.step.clone()),
        since: listed.and_then(|listed| listed.updated_at),
        waits_for,
        timeline,
        rows,
        lag,
        next,
        commands,
        notes: notes.all,
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
