//! The inputs of one transaction, in the order of their arrival, and what is
//! known of each.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{ErrorCode, Poison};

use crate::intake::RawRecord;
use crate::progress::ReadTo;
use crate::trace::MessageSpan;
use crate::{Body, Home, Input};

/// Where an input came from.
pub(crate) enum Origin {
    Record(RawRecord),
    Timer,
    Answer,
}

/// What belongs to an input and is not for the handler.
pub(crate) struct Item {
    pub(crate) origin: Origin,
    pub(crate) span: MessageSpan,
    /// The place in the order of arrival, by which a batch is halved.
    arrival: usize,
}

/// A record that is not handled, and why.
pub(crate) struct Condemned {
    pub(crate) record: RawRecord,
    pub(crate) span: MessageSpan,
    pub(crate) poison: Poison,
    /// Its type, as metrics call it.
    pub(crate) kind: &'static str,
    arrival: usize,
}

/// Inputs that are committed together.
pub(crate) struct Batch<A> {
    /// `inputs[i]` and `items[i]` belong together.
    pub(crate) inputs: Vec<Input<A>>,
    pub(crate) items: Vec<Item>,
    pub(crate) condemned: Vec<Condemned>,
    /// Homes whose rows move though they have no input: their acknowledged
    /// outputs are cleared.
    pub(crate) settled: BTreeSet<Home>,
    arrivals: usize,
}

impl<A> Batch<A> {
    pub(crate) fn new() -> Self {
        Self {
            inputs: Vec::new(),
            items: Vec::new(),
            condemned: Vec::new(),
            settled: BTreeSet::new(),
            arrivals: 0,
        }
    }

    pub(crate) fn push(&mut self, input: Input<A>, origin: Origin, span: MessageSpan) {
        let arrival = self.arrive();
        self.inputs.push(input);
        self.items.push(Item {
            origin,
            span,
            arrival,
        });
    }

    /// A record that could not even be decoded.
    pub(crate) fn push_poison(&mut self, record: RawRecord, span: MessageSpan, poison: Poison) {
        let arrival = self.arrive();
        self.condemned.push(Condemned {
            record,
            span,
            poison,
            kind: UNDECODABLE,
            arrival,
        });
    }

    fn arrive(&mut self) -> usize {
        self.arrivals += 1;
        self.arrivals - 1
    }

    /// Inputs and condemned records.
    pub(crate) fn handled(&self) -> usize {
        self.inputs.len() + self.condemned.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.handled() == 0 && self.settled.is_empty()
    }

    /// Every home whose row this batch moves.
    pub(crate) fn homes(&self) -> BTreeSet<Home> {
        self.inputs
            .iter()
            .map(|input| input.home)
            .chain(self.condemned.iter().map(|condemned| condemned.record.home))
            .chain(self.settled.iter().copied())
            .collect()
    }

    /// How far each home is read that has records here.
    pub(crate) fn read_to(&self) -> BTreeMap<Home, ReadTo> {
        let records = self
            .items
            .iter()
            .filter_map(|item| match &item.origin {
                Origin::Record(record) => Some(record),
                Origin::Timer | Origin::Answer => None,
            })
            .chain(self.condemned.iter().map(|condemned| &condemned.record));
        let mut last: BTreeMap<Home, &RawRecord> = BTreeMap::new();
        for record in records {
            let last = last.entry(record.home).or_insert(record);
            if record.offset > last.offset {
                *last = record;
            }
        }
        last.into_iter()
            .map(|(home, record)| {
                let read_to = ReadTo {
                    next_offset: record.offset + 1,
                    last_record: Some(record.digest()),
                };
                (home, read_to)
            })
            .collect()
    }

    /// Takes the later half of the inputs away, to find the one that fails.
    pub(crate) fn split(&mut self) -> Self {
        let half = self.inputs.len() / 2;
        let inputs = self.inputs.split_off(half);
        let items = self.items.split_off(half);
        let first = items.first().map_or(self.arrivals, |item| item.arrival);
        let at = self
            .condemned
            .partition_point(|condemned| condemned.arrival < first);
        let condemned = self.condemned.split_off(at);
        Self {
            inputs,
            items,
            condemned,
            settled: std::mem::take(&mut self.settled),
            arrivals: self.arrivals,
        }
    }

    /// Takes an input out. A record goes to its dead-letter topic; a timer or an
    /// answer has none, so it is dropped with an error in the log, and its row's
    /// timer brings it back.
    pub(crate) fn condemn(&mut self, index: usize, poison: Poison) {
        let input = self.inputs.remove(index);
        let Item {
            origin,
            mut span,
            arrival,
        } = self.items.remove(index);
        match origin {
            Origin::Record(record) => {
                let at = self
                    .condemned
                    .partition_point(|condemned| condemned.arrival < arrival);
                self.condemned.insert(
                    at,
                    Condemned {
                        record,
                        span,
                        poison,
                        kind: kind_of(&input.body),
                        arrival,
                    },
                );
            }
            Origin::Timer | Origin::Answer => {
                span.end(None, Some(&poison.detail));
                metrics::counter!("saga_inputs_dropped_total").increment(1);
                let kind = if matches!(origin, Origin::Timer) {
                    "timer"
                } else {
                    "answer"
                };
                tracing::error!(
                    code = poison.code.as_str(),
                    detail = poison.detail,
                    home = %input.home,
                    "a {kind} could not be handled and was dropped; its row's timer brings it \
                     back. If this repeats, the row named in the detail must be mended",
                );
            }
        }
    }
}

/// What metrics and spans call a record that could not be decoded.
pub(crate) const UNDECODABLE: &str = "undecodable";

/// What metrics and spans call an input.
pub(crate) fn kind_of<A>(body: &Body<A>) -> &'static str {
    match body {
        Body::Message(message) => message.record_type().name(),
        Body::Timer(_) => "timer",
        Body::Answer(_) => "answer",
    }
}

/// The verdict on an input that the database refuses.
pub(crate) fn refused_by_database(detail: String) -> Poison {
    Poison {
        code: ErrorCode::DatabaseRejected,
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::{Topic, TraceContext};
    use jiff::Timestamp;

    use crate::trace::Spans;

    const HOME: Home = Home {
        topic: Topic::InventoryCommands,
        partition: 3,
    };

    fn record(offset: i64) -> RawRecord {
        RawRecord {
            home: HOME,
            offset,
            key: None,
            payload: None,
            headers: Vec::new(),
            timestamp_ms: None,
        }
    }

    fn batch(offsets: &[i64], poison: &[i64]) -> Batch<()> {
        let spans = Spans::new(false);
        let mut batch = Batch::new();
        for &offset in offsets {
            if poison.contains(&offset) {
                batch.push_poison(
                    record(offset),
                    spans.start("test", None),
                    refused_by_database(String::new()),
                );
            } else {
                batch.push(
                    Input {
                        offset: None,
                        home: HOME,
                        now: Timestamp::UNIX_EPOCH,
                        trace: TraceContext::new_root(),
                        body: Body::Answer(()),
                    },
                    Origin::Record(record(offset)),
                    spans.start("test", None),
                );
            }
        }
        batch
    }

    #[test]
    fn halves_keep_every_record_on_its_side() {
        let mut first = batch(&[10, 11, 12, 13, 14, 15], &[11, 14]);
        let second = first.split();
        assert_eq!(first.read_to()[&HOME].next_offset, 13);
        assert_eq!(second.read_to()[&HOME].next_offset, 16);
        assert_eq!(first.handled() + second.handled(), 6);
        assert_eq!(first.condemned.len(), 1);
        assert_eq!(second.condemned.len(), 1);
    }

    #[test]
    fn halving_ends_at_single_inputs() {
        let mut left = batch(&[10, 11, 12], &[]);
        let mut right = left.split();
        assert_eq!((left.inputs.len(), right.inputs.len()), (1, 2));
        let last = right.split();
        assert_eq!((right.inputs.len(), last.inputs.len()), (1, 1));
        assert_eq!(last.read_to()[&HOME].next_offset, 13);
    }

    #[test]
    fn a_condemned_record_still_moves_the_offset() {
        let mut batch = batch(&[10, 11], &[]);
        batch.condemn(1, refused_by_database("no".into()));
        assert_eq!(batch.inputs.len(), 1);
        assert_eq!(batch.read_to()[&HOME].next_offset, 12);
        assert_eq!(batch.condemned[0].record.offset, 11);
    }
}
