//! Where in the logs to look, and why.

use std::collections::BTreeSet;

use audit::consumer;
use contracts::{RecordType, Topic};
use flow::{Saga, State, Step};
use jiff::{SignedDuration, Timestamp};

use super::stored::Stored;
use super::{Transition, WaitsFor};
use crate::log::{Log, Lookup, Start};

/// Records are looked for from a little before the transition that made them: its
/// time is one batch's, and kept in more digits than Kafka's.
const SLACK: SignedDuration = SignedDuration::from_millis(10);

/// Of the sendings of one command again, only the newest are looked for.
const RESENDINGS: usize = 5;

/// Why something is looked up.
pub(super) enum Purpose {
    /// It caused this transition.
    Cause(usize),
    /// It followed from this transition, and must be there.
    Output(usize, RecordType),
    /// It may have followed; the topic is compacted.
    Snapshot(usize),
    /// Whatever else there is.
    Other,
}

pub(super) fn waits_for(saga: &Saga) -> Option<WaitsFor> {
    let waiting = saga.progress.state.waiting()?;
    let definition = waiting.step.definition();
    let command = command(&saga.progress.state)?;
    Some(WaitsFor {
        step: waiting.step.to_string(),
        participant: definition.owner.to_owned(),
        service: consumer(command.topic())?.to_owned(),
        command: command.full_name().to_owned(),
        tries: waiting.tries,
        since: waiting.since,
        until: waiting.due_at,
        held: waiting.held,
    })
}

/// The command that is out in a state.
fn command(state: &State) -> Option<RecordType> {
    let definition = state.waiting()?.step.definition();
    Some(match state {
        State::InProgress(_) => definition.command.record,
        _ => definition.compensation.record,
    })
}

/// The topics that the awaited command and its answers go by.
pub(super) fn topics_of(waits: &WaitsFor) -> BTreeSet<Topic> {
    let Ok(step) = waits.step.parse::<Step>() else {
        return BTreeSet::new();
    };
    let definition = step.definition();
    BTreeSet::from([
        definition.command.record.topic(),
        definition.compensation.record.topic(),
        definition.success.record.topic(),
        definition.compensation.acknowledged_by.topic(),
    ])
}

/// Where to look, and why.
pub(super) fn lookups(stored: &Stored) -> (Vec<Lookup>, Vec<Purpose>) {
    let Stored {
        row,
        past,
        waits_for,
        positions,
    } = stored;
    let mut asked = (Vec::new(), Vec::new());
    let mut ask = |topic, is_dlq, partition, start, wanted: Option<RecordType>, purpose| {
        asked.0.push(Lookup {
            log: Log { topic, is_dlq },
            partition,
            start,
            wanted: wanted.map(RecordType::full_name),
        });
        asked.1.push(purpose);
    };
    let before = |at: Timestamp| Start::Time(at.checked_sub(SLACK).unwrap_or(at));

    let resendings = past
        .iter()
        .filter(|past| past.transition.outcome.ends_with("_resent"))
        .count();
    let mut resending = 0;
    // What a newer version wrote may have some.
    let has_snapshots = row
        .as_ref()
        .is_some_and(|row| row.saga().is_none_or(|saga| saga.progress.snapshots > 0));
    let mut state = "";
    let mut may_have_replied = BTreeSet::new();
    for (index, past) in past.iter().enumerate() {
        if let Some((topic, partition, Some(offset))) = past.cause {
            let start = Start::Exactly(offset);
            ask(
                topic,
                false,
                Some(partition),
                start,
                None,
                Purpose::Cause(index),
            );
        }
        let transition = &past.transition;
        let is_resent = transition.outcome.ends_with("_resent");
        resending += usize::from(is_resent);
        if !is_resent || resending + RESENDINGS > resendings {
            for record in outputs(transition) {
                let purpose = Purpose::Output(index, record);
                let start = before(transition.at);
                ask(record.topic(), false, None, start, Some(record), purpose);
            }
        }
        // An answer that came too late moved nothing, so the history lacks it.
        if is_resent || transition.outcome == "step_in_doubt" {
            let step = transition.step.as_deref().unwrap_or_default();
            if let Ok(step) = step.parse::<Step>()
                && may_have_replied.insert(step)
            {
                let topic = step.definition().success.record.topic();
                ask(
                    topic,
                    false,
                    None,
                    before(transition.at),
                    None,
                    Purpose::Other,
                );
            }
        }
        let off_the_path = transition.state != "IN_PROGRESS" && transition.state != state;
        if off_the_path && has_snapshots {
            let wanted = Some(RecordType::SagaSnapshot);
            let purpose = Purpose::Snapshot(index);
            let start = before(transition.at);
            ask(Topic::OrderingSagas, false, None, start, wanted, purpose);
        }
        state = &transition.state;
    }

    // What nobody has handled: unread, or put aside.
    let unread = |topic: Topic| -> Vec<(i32, i64)> {
        let of_topic = positions.iter().filter(|((of, _), _)| *of == topic);
        of_topic
            .map(|((_, partition), next)| (*partition, *next))
            .collect()
    };
    let begun = row.as_ref().and_then(|row| row.listed.started_at);
    match waits_for {
        Some(waits) => {
            for topic in topics_of(waits) {
                for (partition, next) in unread(topic) {
                    let start = Start::Offset(next);
                    ask(topic, false, Some(partition), start, None, Purpose::Other);
                }
            }
        }
        None if row.is_none() => {
            let topic = Topic::ShoppingCheckouts;
            for (partition, next) in unread(topic) {
                let start = Start::Offset(next);
                ask(topic, false, Some(partition), start, None, Purpose::Other);
            }
        }
        None => {}
    }
    for topic in Topic::ALL
        .iter()
        .copied()
        .filter(|topic| topic.is_consumed())
    {
        let start = begun.map_or(Start::Tail(1_000), before);
        ask(topic, true, None, start, None, Purpose::Other);
    }
    asked
}

/// Where to look while only the cart is known: at the ends of all logs, for so many
/// offsets of each partition that may have something of it. Requests may be in any of
/// theirs, for cart services choose them as they like; all other records are in the
/// partition of the cart's key, or are looked for in all.
pub(super) fn lookups_at_ends(offsets: u64, requests: &[i32]) -> (Vec<Lookup>, Vec<Purpose>) {
    let start = Start::Tail(i64::try_from(offsets).unwrap_or(i64::MAX));
    let lookup = |topic, is_dlq, partition| Lookup {
        log: Log { topic, is_dlq },
        partition,
        start,
        wanted: None,
    };
    let mut lookups = Vec::new();
    for topic in Topic::ALL.iter().copied() {
        match topic {
            Topic::ShoppingCheckouts => {
                let of_partition = |partition: &i32| lookup(topic, false, Some(*partition));
                lookups.extend(requests.iter().map(of_partition));
            }
            _ => lookups.push(lookup(topic, false, None)),
        }
        if topic.is_consumed() {
            lookups.push(lookup(topic, true, None));
        }
    }
    let purposes = lookups.iter().map(|_| Purpose::Other).collect();
    (lookups, purposes)
}

/// The records that follow from a transition.
fn outputs(transition: &Transition) -> Vec<RecordType> {
    let step = transition
        .step
        .as_deref()
        .and_then(|step| step.parse::<Step>().ok());
    let state = transition.state.as_str();
    let command = step.and_then(|step| match state {
        "IN_PROGRESS" => Some(step.definition().command.record),
        "IN_DOUBT" | "COMPENSATING" | "STUCK" => Some(step.definition().compensation.record),
        _ => None,
    });
    match transition.outcome.as_str() {
        "held" | "operator_refused" | "ignored" => Vec::new(),
        "rejected" => vec![RecordType::CheckoutRejected],
        "stuck" => command.into_iter().chain([RecordType::SagaStuck]).collect(),
        _ => match state {
            "COMPLETED" => vec![RecordType::OrderCreated],
            "FAILED" => vec![RecordType::CheckoutFailed],
            // Sent when it is released, if its participant is held.
            _ if transition.tries == Some(0) => Vec::new(),
            _ => command.into_iter().collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_only_the_cart_is_known_its_request_is_looked_for_in_every_partition() {
        let (lookups, purposes) = lookups_at_ends(10, &[0, 1, 2]);
        assert_eq!(lookups.len(), purposes.len());
        let of = |topic, is_dlq| {
            let log = Log { topic, is_dlq };
            let of_log = lookups.iter().filter(move |lookup| lookup.log == log);
            of_log.map(|lookup| lookup.partition).collect::<Vec<_>>()
        };
        for topic in Topic::ALL.iter().copied() {
            let records = match topic {
                Topic::ShoppingCheckouts => vec![Some(0), Some(1), Some(2)],
                _ => vec![None],
            };
            assert_eq!(of(topic, false), records, "{topic}");
            let letters = usize::from(topic.is_consumed());
            assert_eq!(of(topic, true), vec![None; letters], "{topic}");
        }
    }
}
