//! Puts what was found in causal order.

use std::collections::{BTreeMap, BTreeSet};

use audit::{Target, consumer};
use contracts::ids::CartId;
use contracts::{
    CE_ID, CE_SOURCE, CE_TYPE, Codec, DLQ_CODE, DLQ_DETAIL, DLQ_SERVICE, DecodeError, TRACEPARENT,
    TraceContext,
};
use uuid::Uuid;

use super::gather::name;
use super::notes::Notes;
use super::places::Purpose;
use super::stored::{Past, Positions};
use super::{Entry, Record};
use crate::log::{Answers, Log, Raw};
use crate::show::clean;

/// Puts what was found in order.
pub(super) struct Assembly<'a> {
    pub(super) target: &'a Target,
    pub(super) codec: &'a Codec,
    pub(super) cart: CartId,
    pub(super) positions: &'a Positions,
    /// Records that are in the timeline already.
    pub(super) seen: BTreeSet<(Log, i32, i64)>,
    /// How many records are not decoded, by what the registry's client says.
    pub(super) undecoded: BTreeMap<String, usize>,
    pub(super) notes: Notes,
}

impl Assembly<'_> {
    pub(super) async fn timeline(
        &mut self,
        past: &[Past],
        purposes: &[Purpose],
        answers: &Answers,
    ) -> Vec<Entry> {
        let mut causes: BTreeMap<usize, Entry> = BTreeMap::new();
        let mut followed: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
        // Causes first: a record that caused something stands where it did.
        for (purpose, (log, found)) in purposes.iter().zip(self.pairs(answers)) {
            if let Purpose::Cause(index) = purpose {
                match found.records.first() {
                    Some(raw) => {
                        if let Some(entry) = self.entry(log, raw).await {
                            causes.insert(*index, entry);
                        }
                    }
                    None => self.notes.tell(format!(
                        "the record that caused {} at {} is not on {} any more: its retention \
                         is over",
                        past[*index].transition.outcome, past[*index].transition.at, log.topic
                    )),
                }
            }
        }
        let mut others = Vec::new();
        for (purpose, (log, found)) in purposes.iter().zip(self.pairs(answers)) {
            let (index, wanted) = match purpose {
                Purpose::Cause(_) => continue,
                Purpose::Output(index, record) => (Some(*index), Some(record)),
                Purpose::Snapshot(index) => (Some(*index), None),
                Purpose::Other => (None, None),
            };
            for (number, raw) in found.records.iter().enumerate() {
                let Some(entry) = self.entry(log, raw).await else {
                    continue;
                };
                match index {
                    Some(index) if found.wanted == Some(number) => {
                        followed.entry(index).or_default().push(entry);
                    }
                    _ => others.push(entry),
                }
            }
            if let (Some(index), Some(record)) = (index, wanted)
                && found.wanted.is_none()
            {
                let at = past[index].transition.at;
                self.notes.tell(match found.cut {
                    true => format!(
                        "no {record} was found among the records that followed {at} on {}; \
                         more may be read with --search-records",
                        log.topic
                    ),
                    false => format!("no {record} from {at} on is on {}", log.topic),
                });
            }
        }
        let mut timeline = Vec::new();
        others.sort_by_key(Entry::at);
        let mut others = others.into_iter().peekable();
        for (index, past) in past.iter().enumerate() {
            let block = causes
                .get(&index)
                .and_then(Entry::at)
                .unwrap_or(past.transition.at);
            while let Some(other) = others.next_if(|other| other.at() < Some(block)) {
                timeline.push(other);
            }
            timeline.extend(causes.remove(&index));
            timeline.push(Entry::Transition(past.transition.clone()));
            timeline.extend(followed.remove(&index).into_iter().flatten());
        }
        timeline.extend(others);
        for (error, count) in std::mem::take(&mut self.undecoded) {
            let records = match count {
                1 => "1 record is".to_owned(),
                count => format!("{count} records are"),
            };
            self.notes
                .away(format!("{records} shown without content: {error}"));
        }
        timeline
    }

    fn pairs<'f>(&self, answers: &'f Answers) -> Vec<(Log, &'f crate::log::Found)> {
        let logs = answers.logs.iter().copied();
        logs.zip(&answers.found).collect()
    }

    /// The entry of a record, unless it has one.
    async fn entry(&mut self, log: Log, raw: &Raw) -> Option<Entry> {
        if !self.seen.insert((log, raw.partition, raw.offset)) {
            return None;
        }
        let decoded = self.codec.decode(log.topic, raw.payload.as_deref()).await;
        let mut remark = None;
        if log.is_dlq {
            remark = Some(clean(&format!(
                "put aside by {}: {}: {}",
                raw.header(DLQ_SERVICE)
                    .unwrap_or_else(|| "a service".to_owned()),
                raw.header(DLQ_CODE).unwrap_or_else(|| "UNKNOWN".to_owned()),
                raw.header(DLQ_DETAIL).unwrap_or_default(),
            )));
        } else if let Some(next) = self.positions.get(&(log.topic, raw.partition))
            && raw.offset >= *next
        {
            let service = consumer(log.topic).unwrap_or_default();
            remark = Some(format!("not read by {service} yet"));
        }
        let mut known_type = None;
        let content = match decoded {
            Ok(message) => {
                known_type = Some(message.record_type().full_name().to_owned());
                if message.cart_id() != Some(self.cart) {
                    remark = Some("is of another cart: was the topic made anew?".to_owned());
                }
                Some(message.to_json())
            }
            Err(DecodeError::Poison(poison)) => {
                remark.get_or_insert_with(|| clean(&format!("does not decode: {poison}")));
                None
            }
            Err(DecodeError::Unavailable(error)) => {
                *self.undecoded.entry(clean(&error.to_string())).or_default() += 1;
                remark.get_or_insert_with(|| "not decoded: see the note".to_owned());
                None
            }
        };
        let trace = raw.header(TRACEPARENT);
        let trace = trace.and_then(|parent| TraceContext::parse(&parent));
        Some(Entry::Record(Box::new(Record {
            topic: name(&self.target.topics, log).to_owned(),
            partition: raw.partition,
            offset: raw.offset,
            at: raw.at,
            record_type: known_type
                .or_else(|| raw.header(CE_TYPE))
                .unwrap_or_else(|| "a record".to_owned()),
            source: raw.header(CE_SOURCE),
            id: raw.header(CE_ID),
            trace_id: trace.map(|trace| Uuid::from_bytes(trace.trace_id).simple().to_string()),
            content,
            remark,
        })))
    }
}
