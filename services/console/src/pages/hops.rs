//! The hops of a cart's records as a picture: a lane for each service, time going down.
//!
//! Who publishes a topic and who reads it is what `topics.yaml` says, so a further step
//! has its lane without an edit here.

use std::collections::BTreeMap;

use audit::consumer;
use contracts::topology::{CONSUMER_LABEL, PRODUCER_LABEL, topology};
use contracts::{Topic, TopicNames};
use flow::Step;
use jiff::Timestamp;
use maud::{Markup, html};
use operations::explain::Entry;

use crate::layout::span;

/// Who reads dead letters, and whatever nobody else does.
const OPERATORS: &str = "operators";
/// Room for the times.
const LEFT: i32 = 78;
const LANE: i32 = 132;
/// From a lane's line to the edge: half of a name.
const HALF_NAME: i32 = 46;
const TOP: i32 = 44;
const ROW: i32 = 34;
/// From a lane's line to a mark beside it.
const ASIDE: i32 = 12;
/// About how wide a character of a label is, in tenths.
const CHARACTER_TENTHS: usize = 66;

/// So many entries at the begin and at the end are always shown.
const ENDS: usize = 24;

/// What a picture or a table has in a row.
pub(super) enum Shown<'e> {
    Entry(&'e Entry),
    /// So many entries are left out here.
    Left(usize),
}

/// The entries that tell what happened. A saga that waits for long sends its command
/// again and again: of what is in the middle only what operators did is shown, unless
/// all is asked for.
pub(super) fn shown(timeline: &[Entry], all: bool) -> Vec<Shown<'_>> {
    let last = timeline.len().saturating_sub(ENDS);
    let mut shown = Vec::new();
    for (number, entry) in timeline.iter().enumerate() {
        let is_told = match entry {
            Entry::Transition(transition) => transition.operator.is_some(),
            Entry::Record(_) => false,
        };
        match shown.last_mut() {
            _ if all || is_told || number < ENDS || number >= last => {
                shown.push(Shown::Entry(entry));
            }
            Some(Shown::Left(left)) => *left += 1,
            _ => shown.push(Shown::Left(1)),
        }
    }
    shown
}

/// Who published a record for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
}

/// Who publishes the topic of this full name, and for whom.
pub(super) fn route(names: &TopicNames, name: &str) -> Option<Route> {
    let label = |topic: &str, label: &str| -> Option<&'static str> {
        let declared = topology().iter().find(|spec| spec.name == topic)?;
        declared.labels.get(label).map(String::as_str)
    };
    let dead = Topic::ALL
        .iter()
        .find(|topic| topic.is_consumed() && names.dlq(**topic) == name);
    let own = match dead {
        Some(topic) => TopicNames::default().dlq(*topic).to_owned(),
        None => names.topic(name)?.name().to_owned(),
    };
    Some(Route {
        from: label(&own, PRODUCER_LABEL)?,
        to: label(&own, CONSUMER_LABEL).unwrap_or(OPERATORS),
    })
}

/// The service that drives the saga: it reads what begins one.
fn driver() -> &'static str {
    consumer(Topic::ShoppingCheckouts).unwrap_or(OPERATORS)
}

/// The lanes in the order of the flow; then whoever else there is.
fn lanes(names: &TopicNames, timeline: &[Entry]) -> Vec<&'static str> {
    let begin = route(names, names.name(Topic::ShoppingCheckouts));
    let mut lanes: Vec<&'static str> = begin.map(|route| route.from).into_iter().collect();
    lanes.push(driver());
    let commands = Step::ALL
        .iter()
        .map(|step| step.definition().command.record);
    lanes.extend(commands.filter_map(|record| consumer(record.topic())));
    for entry in timeline {
        if let Entry::Record(record) = entry
            && let Some(route) = route(names, &record.topic)
        {
            lanes.extend([route.from, route.to]);
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    lanes.retain(|lane| seen.insert(*lane));
    lanes
}

/// The picture; `None` where there is nothing to draw.
pub(super) fn picture(names: &TopicNames, timeline: &[Entry], all: bool) -> Option<Markup> {
    let shown = shown(timeline, all);
    let begin = timeline.iter().find_map(Entry::at)?;
    let lanes = lanes(names, timeline);
    let places: BTreeMap<&str, i32> = lanes.iter().copied().zip(lane_places()).collect();
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX / ROW);
    let width = LEFT + LANE * (count(lanes.len()) - 1) + 2 * HALF_NAME;
    let height = TOP + ROW * count(shown.len()) + ROW / 2;
    let records = timeline
        .iter()
        .filter(|entry| matches!(entry, Entry::Record(_)))
        .count();
    let last = timeline.iter().filter_map(Entry::at).max().unwrap_or(begin);
    let told = format!(
        "{records} records and {} transitions within {}, from top to bottom, between {}. The table \
         below has the same.",
        timeline.len() - records,
        span(begin, last).trim_start_matches('+'),
        lanes.join(", "),
    );
    Some(html! {
        svg.hops viewBox=(format!("0 0 {width} {height}")) width=(width) height=(height) role="img"
            aria-labelledby="hops-title hops-desc" {
            title #hops-title { "The hops of this cart" }
            desc #hops-desc { (told) }
            @for lane in &lanes {
                @let x = places[lane];
                text.lane x=(x) y="20" text-anchor="middle" { (lane) }
                line.lane x1=(x) x2=(x) y1="30" y2=(height) {}
            }
            @for (row, number) in shown.iter().zip(0..) {
                @let y = TOP + ROW * number + ROW / 2;
                @match row {
                    Shown::Left(left) => {
                        @let driver = places.get(driver()).copied().unwrap_or(LEFT);
                        (text("state", &format!("… {left} more …"), driver + ASIDE, y + 4, "start"))
                    }
                    Shown::Entry(entry) => {
                        @if let Some(at) = entry.at() {
                            text.time x=(LEFT - ASIDE) y=(y + 4) text-anchor="end" { (span(begin, at)) }
                        }
                        (hop(names, entry, &places, y))
                    }
                }
            }
        }
    })
}

fn lane_places() -> impl Iterator<Item = i32> {
    (0..).map(|lane| LEFT + HALF_NAME + LANE * lane)
}

fn hop(names: &TopicNames, entry: &Entry, places: &BTreeMap<&str, i32>, y: i32) -> Markup {
    let driver = places.get(driver()).copied().unwrap_or(LEFT);
    match entry {
        Entry::Transition(transition) => {
            let label = match &transition.step {
                Some(step) => format!("{} {step}", transition.state),
                None => transition.state.clone(),
            };
            let class = match transition.by_record {
                true => "moved",
                false => "moved timer",
            };
            html! {
                circle class=(class) cx=(driver) cy=(y) r="5" {}
                (text("state", &label, driver + ASIDE, y + 4, "start"))
            }
        }
        Entry::Record(record) => {
            let label = record.record_type.rsplit('.').next().unwrap_or_default();
            let class = match record.remark {
                Some(_) => "record remark",
                None => "record",
            };
            let Some(route) = route(names, &record.topic) else {
                return text(class, label, driver + ASIDE, y + 4, "start");
            };
            let place = |lane: &str| places.get(lane).copied().unwrap_or(driver);
            let (from, to) = (place(route.from), place(route.to));
            let back = if to > from { -8 } else { 8 };
            html! {
                line class=(class) x1=(from) x2=(to + back / 2) y1=(y + 5) y2=(y + 5) {}
                polygon class=(class)
                    points=(format!("{to},{} {},{} {},{}", y + 5, to + back, y + 1, to + back, y + 9)) {}
                (text(class, label, i32::midpoint(from, to), y - 1, "middle"))
            }
        }
    }
}

/// A label, on a ground of its own so that lines behind it do not cross it.
fn text(class: &str, label: &str, x: i32, y: i32, anchor: &str) -> Markup {
    let width = i32::try_from(label.chars().count() * CHARACTER_TENTHS / 10).unwrap_or(LANE) + 6;
    let left = match anchor {
        "middle" => x - width / 2,
        _ => x - 3,
    };
    html! {
        rect.ground x=(left) y=(y - 11) width=(width) height="14" {}
        text class=(class) x=(x) y=(y) text-anchor=(anchor) { (label) }
    }
}

/// When something happened, after the first thing did.
pub(super) fn after(begin: Option<Timestamp>, at: Option<Timestamp>) -> String {
    match (begin, at) {
        (Some(begin), Some(at)) => span(begin, at),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use operations::explain::{Record, Transition};
    use uuid::Uuid;

    use super::*;

    fn record(topic: &str, name: &str) -> Entry {
        Entry::Record(Box::new(Record {
            topic: topic.to_owned(),
            partition: 0,
            offset: 7,
            at: Some(Timestamp::UNIX_EPOCH),
            record_type: name.to_owned(),
            source: None,
            id: None,
            trace_id: None,
            content: None,
            remark: None,
        }))
    }

    #[test]
    fn every_topic_leads_from_somebody_to_somebody() {
        let names = TopicNames::new("eu.");
        for topic in Topic::ALL.iter().copied() {
            assert!(route(&names, names.name(topic)).is_some(), "{topic}");
            if topic.is_consumed() {
                let dead = route(&names, names.dlq(topic)).unwrap();
                assert_eq!((Some(dead.from), dead.to), (consumer(topic), OPERATORS));
            }
        }
        assert_eq!(route(&names, "shopping.checkouts"), None, "of others");
    }

    #[test]
    fn participants_have_their_lanes_in_the_order_of_the_steps() {
        let lanes = lanes(&TopicNames::default(), &[]);
        assert_eq!(lanes.len(), Step::ALL.len() + 2, "{lanes:?}");
        let operator = lanes_of_an_operation();
        assert_eq!(operator.last(), Some(&"operators"), "{operator:?}");
    }

    fn lanes_of_an_operation() -> Vec<&'static str> {
        let operation = record("ordering.operations", "ordering.SagaOperation");
        lanes(&TopicNames::default(), &[operation])
    }

    #[test]
    fn a_long_wait_is_told_by_its_ends() {
        let timeline: Vec<Entry> = (0..1_000).map(|_| record("elsewhere", "x.Again")).collect();
        let short = shown(&timeline, false);
        assert_eq!(short.len(), 2 * ENDS + 1);
        assert!(matches!(short[ENDS], Shown::Left(left) if left == 1_000 - 2 * ENDS));
        assert_eq!(shown(&timeline, true).len(), 1_000);
        assert_eq!(shown(&timeline[..2 * ENDS], false).len(), 2 * ENDS);
    }

    #[test]
    fn a_picture_says_in_words_what_it_shows() {
        let names = TopicNames::default();
        assert!(picture(&names, &[], false).is_none());
        let timeline = [
            record("shopping.checkouts", "shopping.CartCheckedOut"),
            Entry::Transition(Transition {
                at: Timestamp::from_millisecond(12).unwrap(),
                checkout_id: Uuid::nil(),
                outcome: "started".to_owned(),
                reason: String::new(),
                state: "IN_PROGRESS".to_owned(),
                step: Some("<b>".to_owned()),
                tries: Some(1),
                by_record: true,
                operator: None,
                trace_id: String::new(),
            }),
            record("elsewhere", "x.Unknown"),
        ];
        let picture = picture(&names, &timeline, false).unwrap().into_string();
        for text in [
            "2 records and 1 transitions within 12 ms",
            ">CartCheckedOut<",
            "IN_PROGRESS &lt;b&gt;",
            "+12 ms",
            "role=\"img\"",
        ] {
            assert!(picture.contains(text), "{text}: {picture}");
        }
        assert!(!picture.contains("style="), "the page's policy refuses it");
    }
}
