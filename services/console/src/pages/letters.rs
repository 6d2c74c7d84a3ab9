//! Dead letters by topic and reason, decoded; chosen ones can be redriven or discarded.

use axum::extract::{RawQuery, State};
use contracts::{ErrorCode, Topic};
use maud::{Markup, html};
use operations::letters::{self, Filter, Group, Letter, Letters};
use operations::parse;

use super::actions::letters::Fate;
use crate::console::Shared;
use crate::fields::Fields;
use crate::layout::{self, View, json, time};
use crate::problem::Problem;

/// How often the page is made anew.
const LIVE_SECONDS: u32 = 10;

pub(super) async fn page(
    State(console): State<Shared>,
    RawQuery(text): RawQuery,
) -> Result<View, Problem> {
    let fields = Fields::parse(&text.unwrap_or_default());
    let filter = filter(&fields)?;
    let found = console
        .ask(async move |console| {
            let most = console.limits.page_letters as usize;
            letters::read(&console.target, &filter, most, &|_| {}).await
        })
        .await?;
    let body = html! {
        h1 { "Dead letters" }
        p {
            "Records that a service could not handle. They are open until they are redriven or \
             discarded, and are never changed."
        }
        (filters(&fields))
        (list(&found, &console))
    };
    Ok(View::new("Dead letters", body).live(LIVE_SECONDS))
}

/// The filter that a query asks for.
///
/// # Errors
/// Names the field that cannot be read, and what it may say.
fn filter(fields: &Fields) -> Result<Filter, Problem> {
    let wrong =
        |what: &str, why: String| Problem::bad(format!("The {what} cannot be read: {why}."));
    let topics: Vec<Topic> = fields
        .all("topic")
        .into_iter()
        .map(|text| parse::topic(text).map_err(|why| wrong("topic", why)))
        .collect::<Result<_, _>>()?;
    let code = fields.get("code").map(parse::code).transpose();
    Ok(Filter {
        topics,
        code: code.map_err(|why| wrong("code", why))?,
        handled: fields.get("handled").is_some(),
        ..Filter::default()
    })
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

fn list(found: &Letters, console: &Shared) -> Markup {
    let groups = found.groups();
    html! {
        @if groups.is_empty() {
            p { "No dead letters." }
        }
        @if found.more {
            p.notice {
                "There are more than " (found.letters.len()) " (PAGE_LETTERS): narrow the filter, \
                 or see to these first."
            }
        }
        @for group in &groups {
            (group_of(group, found, console))
        }
    }
}

fn group_of(group: &Group, found: &Letters, console: &Shared) -> Markup {
    let letters: Vec<&Letter> = found.of(group).collect();
    let id = format!("group-{}", group.example);
    html! {
        section.group aria-labelledby=(id) {
            h2 id=(id) {
                span.mark.bad { (group.code) } " " (group.topic) " "
                span.quiet { "× " (group.count) }
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
                @if console.access.can_act() {
                    fieldset.acts {
                        legend { "Do to those chosen" }
                        @for fate in Fate::ALL {
                            button name="action" value=(fate.word()) title=(fate.describe()) {
                                (fate.name())
                            }
                        }
                    }
                    fieldset.acts {
                        legend { "Do to all " (letters.len()) " of this group" }
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
                (None, why) => p.notice {
                    "It does not decode: " (why.as_deref().unwrap_or("not known why"))
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

    #[test]
    fn a_filter_is_read_or_refused_with_what_it_may_say() {
        let read = |text: &str| filter(&Fields::parse(text));
        let filter = read("topic=shopping.checkouts&code=NOT_FRAMED&handled=1").unwrap();
        assert_eq!(filter.topics, [Topic::ShoppingCheckouts]);
        assert_eq!(filter.code.as_deref(), Some("NOT_FRAMED"));
        assert!(filter.handled);
        assert_eq!(read("topic=&code="), Ok(Filter::default()));
        for (bad, says) in [
            ("topic=elsewhere", "shopping.checkouts"),
            ("code=x", "NOT_FRAMED"),
        ] {
            let refused = format!("{:?}", read(bad).unwrap_err());
            assert!(refused.contains(says), "{bad}: {refused}");
        }
    }
}
