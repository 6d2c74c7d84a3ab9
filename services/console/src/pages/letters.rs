//! Dead letters by topic, reason and time, decoded, in pages; chosen ones can be redriven
//! or discarded.

use std::ops::Range;

use axum::extract::{RawQuery, State};
use contracts::{ErrorCode, Topic};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use operations::letters::{self, Filter, Group, Letter, LetterId, Letters, Most};
use operations::parse;

use super::actions::letters::Fate;
use crate::console::Shared;
use crate::fields::{Fields, query};
use crate::layout::{self, View, json, time};
use crate::problem::Problem;

/// How often the page is made anew.
const LIVE_SECONDS: u32 = 10;

pub(super) async fn page(
    State(console): State<Shared>,
    RawQuery(text): RawQuery,
) -> Result<View, Problem> {
    let fields = Fields::parse(&text.unwrap_or_default());
    let filter = filter(&fields, Timestamp::now())?;
    let after = match fields.get("after") {
        Some(text) => Some(letter_id(text)?),
        None => None,
    };
    let found = console
        .ask(async move |console| {
            let most = Most {
                letters: console.limits.letters_read as usize,
                bytes: console.limits.letters_read_bytes as usize,
            };
            letters::read(&console.target, &filter, most, &|_| {}).await
        })
        .await?;
    let page = Page::of(found, after.as_ref(), console.limits.page_letters as usize);
    let body = html! {
        h1 { "Dead letters" }
        p {
            "Records that a service could not handle. They are open until they are redriven or \
             discarded, and are never changed."
        }
        (filters(&fields))
        (list(&page, &fields, console.access.can_act()))
    };
    Ok(View::new("Dead letters", body).live(LIVE_SECONDS))
}

/// A part of the letters that were found.
struct Page {
    letters: Letters,
    /// Which of all that were found these are, in the order of their places.
    range: Range<usize>,
    /// The letter after which the next page begins; absent on the last one.
    next: Option<LetterId>,
    /// All that were found, by reason.
    groups: Vec<Group>,
    /// How many were found.
    found: usize,
}

impl Page {
    /// At most `most` of these, which come after `after`, in the order of their places.
    fn of(mut found: Letters, after: Option<&LetterId>, most: usize) -> Self {
        let groups = found.groups();
        let letters = &mut found.letters;
        letters.sort_by_cached_key(|letter| letter.letter.clone());
        let ids: Vec<&LetterId> = letters.iter().map(|letter| &letter.letter).collect();
        let (all, range) = (ids.len(), on_page(&ids, after, most));
        letters.truncate(range.end);
        letters.drain(..range.start);
        let last = letters.last().filter(|_| range.end < all);
        let next = last.map(|letter| letter.letter.clone());
        // As they were found: in the order of time.
        letters.sort_by_key(|letter| (letter.topic, letter.at, letter.letter.offset));
        Self {
            letters: found,
            range,
            next,
            groups,
            found: all,
        }
    }

    /// How many of all letters are of the same reason as a group of this page.
    fn of_reason(&self, group: &Group) -> u64 {
        let is_same = |of: &&Group| {
            of.topic == group.topic
                && of.service == group.service
                && of.code == group.code
                && of.detail == group.detail
        };
        let same = self.groups.iter().find(is_same);
        same.map_or(group.count, |of| of.count)
    }
}

/// Which of these letters, in the order of their places, are on the page after `after`.
/// The letter itself need not be there any more.
fn on_page(ids: &[&LetterId], after: Option<&LetterId>, most: usize) -> Range<usize> {
    let begin = after.map_or(0, |after| ids.partition_point(|id| *id <= after));
    begin..ids.len().min(begin.saturating_add(most))
}

fn letter_id(text: &str) -> Result<LetterId, Problem> {
    text.parse::<LetterId>()
        .map_err(|why| Problem::bad(format!("The letter cannot be read: {why}.")))
}

/// The filter that a query asks for.
///
/// # Errors
/// Names the field that cannot be read, and what it may say.
fn filter(fields: &Fields, now: Timestamp) -> Result<Filter, Problem> {
    let wrong =
        |what: &str, why: String| Problem::bad(format!("The {what} cannot be read: {why}."));
    let topics: Vec<Topic> = fields
        .all("topic")
        .into_iter()
        .map(|text| parse::topic(text).map_err(|why| wrong("topic", why)))
        .collect::<Result<_, _>>()?;
    let code = fields.get("code").map(parse::code).transpose();
    let since = fields.get("since").map(|text| since(text, now)).transpose();
    let letter = fields.get("letter").map(letter_id).transpose()?;
    Ok(Filter {
        topics,
        code: code.map_err(|why| wrong("code", why))?,
        since: since.map_err(|why| wrong("time", why))?,
        // A letter that is named is meant, whether it was handled or not.
        handled: fields.get("handled").is_some() || letter.is_some(),
        letters: letter.into_iter().collect(),
    })
}

/// A time, or how long ago it was.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let at = text.parse::<Timestamp>().ok().or_else(|| {
        let age = SignedDuration::try_from(parse::age(text).ok()?).ok()?;
        now.checked_sub(age).ok()
    });
    match at {
        Some(at) if at <= now => Ok(at),
        Some(at) => Err(format!("{at} is still to come")),
        None => Err("a time is 90m, 2h or 14d for so long ago, or 2026-01-31T12:00:00Z".to_owned()),
    }
}

fn filters(fields: &Fields) -> Markup {
    html! {
        form.filters action="/letters" method="get" aria-label="Filters" {
            div.row {
                div {
                    label for="topic" { "Put aside from" }
                    select #topic name="topic" {
                        option value="" { "any topic" }
                        @for topic in parse::topics() {
                            option value=(topic) selected[fields.get("topic") == Some(topic.name())] {
                                (topic)
                            }
                        }
                    }
                }
                div {
                    label for="code" { "Code" }
                    select #code name="code" {
                        option value="" { "any" }
                        @for code in ErrorCode::ALL {
                            option value=(code) selected[fields.get("code") == Some(code.as_str())] {
                                (code)
                            }
                        }
                    }
                }
                div {
                    label for="since" { "Put aside since" }
                    input #since name="since" size="20" placeholder="2h" autocomplete="off"
                        aria-describedby="since-help" value=[fields.get("since")];
                    span.quiet #since-help { "such as 90m, 14d, or 2026-01-31T12:00:00Z" }
                }
                div {
                    label for="handled" {
                        input #handled type="checkbox" name="handled" value="1"
                            checked[fields.get("handled").is_some()];
                        " Handled ones, too"
                    }
                }
                div { button { "Show" } " " a href="/letters" { "Reset" } }
            }
        }
    }
}

fn list(page: &Page, fields: &Fields, can_act: bool) -> Markup {
    let shown = page.letters.letters.len();
    let is_first = fields.get("after").is_none();
    html! {
        @if let Some(letter) = fields.get("letter") {
            p { "Only letter " span.id { (letter) } ". " a href="/letters" { "All dead letters" } }
        }
        @if page.letters.more {
            p.notice {
                "There are more than " (page.found) " like that, and no more are looked at \
                 (LETTERS_READ): narrow the filter, or see to these first."
            }
        }
        (undecoded(&page.letters))
        @if shown == 0 {
            p { @if is_first { "No dead letters." } @else { "No further dead letters." } }
        } @else if shown < page.found {
            p.quiet {
                "Letters " (page.range.start + 1) " to " (page.range.end) " of " (page.found)
                @if page.letters.more { " or more" }
            }
        }
        @for group in page.letters.groups() {
            (group_of(&group, page, can_act))
        }
        @if let Some(next) = &page.next {
            @let rest = fields.query_without(&["after"]);
            @let next = query([("after", next.to_string().as_str())]);
            p { a href={ "/letters?" (rest) @if !rest.is_empty() { "&" } (next) } rel="next" {
                "Next page"
            } }
        }
        @if !is_first {
            p { a href={ "/letters?" (fields.query_without(&["after"])) } { "First page" } }
        }
    }
}

/// That letters are undecoded for want of the registry, where that is so.
pub(super) fn undecoded(letters: &Letters) -> Markup {
    html! {
        @if let Some(why) = &letters.registry_fault {
            p.notice { "Not all could be decoded: " (why) }
        }
    }
}

fn group_of(group: &Group, page: &Page, can_act: bool) -> Markup {
    let letters: Vec<&Letter> = page.letters.of(group).collect();
    let id = format!("group-{}", group.example);
    let all = page.of_reason(group);
    let is_whole = all == group.count;
    html! {
        section.group aria-labelledby=(id) {
            h2 id=(id) {
                span.mark.bad { (group.code) } " " (group.topic) " "
                span.quiet {
                    "× " (all) @if !is_whole { ", " (group.count) " of them on this page" }
                }
            }
            p { (group.detail) }
            p.quiet {
                "Put aside by " (group.service)
                @if let Some(last) = group.last { ", the last one " (time(last)) }
               "."
            }
            form action="/actions/letters" method="get" {
                ul.letters {
                    @for letter in &letters { li id={ "item-" (letter.letter) } { (entry(letter)) } }
                }
                @for letter in &letters {
                    input type="hidden" name="shown" value=(letter.letter);
                }
                @if can_act {
                    fieldset.acts {
                        legend { "Do to those chosen" }
                        @for fate in Fate::ALL {
                            button name="action" value=(fate.word()) title=(fate.describe()) {
                                (fate.name())
                            }
                        }
                    }
                    fieldset.acts {
                        legend {
                            "Do to all " (letters.len()) " of this group"
                            @if !is_whole { " on this page" }
                        }
                        @for fate in Fate::ALL {
                            button name="all" value=(fate.word()) title=(fate.describe()) {
                                (fate.name())
                            }
                        }
                    }
                }
            }
        }
    }
}

fn entry(letter: &Letter) -> Markup {
    html! {
        input type="checkbox" name="letter" value=(letter.letter) id={ "choose-" (letter.letter) }
            aria-label={ "Choose letter " (letter.letter) };
        details id={ "letter-" (letter.letter) } {
            summary {
                span.id { (letter.letter) } " "
                @if let Some(at) = letter.at { (time(at)) } " "
                @if letter.handled { span.mark.plain { "handled" } }
            }
            p { (letter.detail) }
            dl.pairs {
                @if let Some(cart) = letter.cart_id { div { dt { "Cart" } dd { (layout::cart(cart)) } } }
                @if let Some(kind) = &letter.record_type { div { dt { "Type" } dd { (kind) } } }
                @if let Some(key) = &letter.key { div { dt { "Key" } dd.id { (key) } } }
                @if let Some((partition, offset)) = letter.was_at {
                    div { dt { "Was at" } dd { (letter.topic) "/" (partition) "/" (offset) } }
                }
                @if let Some(trace) = &letter.trace_id { div { dt { "Trace" } dd.id { (trace) } } }
                div { dt { "Bytes" } dd { (letter.bytes) } }
            }
            @match (&letter.content, &letter.decodes_not) {
                (Some(content), _) => (json(content)),
                (None, Some(why)) => p.notice { "It does not decode: " (why) },
                (None, None) => p.notice {
                    "It is not decoded: the schema registry did not give its schema."
                },
            }
            h3 { "Headers" }
            dl.pairs {
                @for (name, value) in letter.headers() {
                    div { dt { (name) } dd { (value) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-31T12:00:00Z";

    fn read(text: &str) -> Result<Filter, Problem> {
        filter(&Fields::parse(text), NOW.parse().unwrap())
    }

    #[test]
    fn a_filter_is_read_or_refused_with_what_it_may_say() {
        let filter = read("topic=shopping.checkouts&code=NOT_FRAMED&handled=1").unwrap();
        assert_eq!(filter.topics, [Topic::ShoppingCheckouts]);
        assert_eq!(filter.code.as_deref(), Some("NOT_FRAMED"));
        assert!(filter.handled);
        assert_eq!(read("topic=&code=&since="), Ok(Filter::default()));
        for (bad, says) in [
            ("topic=elsewhere", "shopping.checkouts"),
            ("code=x", "NOT_FRAMED"),
            ("since=soon", "90m"),
            ("since=2026-01-31T12:00:01Z", "still to come"),
            ("letter=x", "TOPIC:PARTITION:OFFSET"),
        ] {
            let refused = format!("{:?}", read(bad).unwrap_err());
            assert!(refused.contains(says), "{bad}: {refused}");
        }
    }

    #[test]
    fn a_time_is_one_by_the_clock_or_so_long_ago() {
        let since = |text: &str| read(text).unwrap().since.unwrap().to_string();
        assert_eq!(since("since=90m"), "2026-01-31T10:30:00Z");
        assert_eq!(since("since=14d"), "2026-01-17T12:00:00Z");
        let by_clock = "since=2026-01-30T00%3A00%3A00Z";
        assert_eq!(since(by_clock), "2026-01-30T00:00:00Z");
    }

    #[test]
    fn a_letter_that_is_named_is_shown_whether_it_was_handled_or_not() {
        let filter = read("letter=shopping.checkouts.dlq:2:17").unwrap();
        assert_eq!(filter.letters, [id(17)]);
        assert!(filter.handled);
    }

    fn id(offset: i64) -> LetterId {
        LetterId {
            topic: "shopping.checkouts.dlq".to_owned(),
            partition: 2,
            offset,
        }
    }

    #[test]
    fn pages_follow_each_other_also_when_letters_are_handled_in_between() {
        let all: Vec<LetterId> = (0..5).map(id).collect();
        let ids: Vec<&LetterId> = all.iter().collect();
        assert_eq!(on_page(&ids, None, 2), 0..2);
        assert_eq!(on_page(&ids, Some(&id(1)), 2), 2..4);
        assert_eq!(on_page(&ids, Some(&id(3)), 2), 4..5);
        assert_eq!(on_page(&ids, Some(&id(4)), 2), 5..5);
        // Those of the first page were handled.
        assert_eq!(on_page(&ids[2..], Some(&id(1)), 2), 0..2);
        assert_eq!(on_page(&[], Some(&id(1)), 2), 0..0);
    }
}
