//! Redrive and discard: for one dead letter or for many.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use audit::Target;
use axum::extract::{RawQuery, State};
use contracts::Topic;
use maud::{Markup, html};
use operations::letters::{self, Filter, Letter, LetterId, Letters, Most, Redriven, Verdict};

use super::{reason, why};
use crate::console::Shared;
use crate::fields::Fields;
use crate::layout::{View, wide};
use crate::pages::letters::undecoded;
use crate::problem::Problem;
use crate::security::{Operator, Posted};

/// What becomes of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pages) enum Fate {
    Redrive,
    Discard,
}

impl Fate {
    pub(in crate::pages) const ALL: [Self; 2] = [Self::Redrive, Self::Discard];

    fn read(text: &str) -> Result<Self, Problem> {
        Self::ALL
            .into_iter()
            .find(|fate| fate.word() == text)
            .ok_or_else(|| {
                Problem::bad("Letters are redriven or discarded; go back and press a button.")
            })
    }

    /// For forms.
    pub(in crate::pages) fn word(self) -> &'static str {
        match self {
            Self::Redrive => "redrive",
            Self::Discard => "discard",
        }
    }

    /// What the button says.
    pub(in crate::pages) fn name(self) -> &'static str {
        match self {
            Self::Redrive => "Redrive",
            Self::Discard => "Discard",
        }
    }

    /// What it does.
    pub(in crate::pages) fn describe(self) -> &'static str {
        match self {
            Self::Redrive => {
                "publishes letters again on the topic they were put aside from, as they were"
            }
            Self::Discard => {
                "counts letters as handled, without publishing them; they stay in their topic until \
                 its retention is over"
            }
        }
    }

    fn past(self) -> &'static str {
        match self {
            Self::Redrive => "redriven",
            Self::Discard => "discarded",
        }
    }
}

/// Shows what would come of it.
pub(in crate::pages) async fn confirm(
    State(console): State<Shared>,
    Operator(operator): Operator,
    RawQuery(text): RawQuery,
) -> Result<View, Problem> {
    let fields = Fields::parse(&text.unwrap_or_default());
    let (fate, ids) = match (fields.get("all"), fields.get("action")) {
        (Some(fate), _) => (fate, fields.all("shown")),
        (None, fate) => (fate.unwrap_or_default(), fields.all("letter")),
    };
    let fate = Fate::read(fate)?;
    let letters = chosen(&console, &ids).await?;
    let name = operator.name.clone();
    let (letters, planned) = console
        .ask(async move |console| {
            let target = &console.target;
            let planned = match fate {
                Fate::Redrive => letters::rehearse(target, &letters).await?,
                // The reason, which needs room as well, is not known yet.
                Fate::Discard => {
                    let failed = letters::discard(target, &letters, &name, "", true).await?;
                    discarded(target, &letters, &failed)
                }
            };
            Ok((letters, planned))
        })
        .await?;
    let title = format!("{} {} dead letters", fate.name(), letters.letters.len());
    let body = html! {
        h1 { (title) "?" }
        p { (fate.name()) " " (fate.describe()) ". Nothing is done yet." }
        (undecoded(&letters))
        (table(&letters, &planned, fate, false))
        form.confirm action="/actions/letters" method="post" {
            input type="hidden" name="action" value=(fate.word());
            @for letter in &letters.letters {
                input type="hidden" name="letter" value=(letter.letter);
            }
            (why(&operator))
            button.danger { (title) }
        }
        p { a href="/letters" { "To the dead letters, without doing it" } }
    };
    Ok(View::new(title, body))
}

/// What becomes of letters that are discarded, but for the topics that failed.
fn discarded(
    target: &Target,
    letters: &Letters,
    failed: &BTreeMap<Topic, String>,
) -> Vec<Redriven> {
    let one = |letter: &Letter| {
        let mut one = Redriven::planned(&target.topics, letter);
        if let Some(why) = failed.get(&letter.topic) {
            one.result = Verdict::NotMarked;
            one.error = Some(why.clone());
        }
        one
    };
    letters.letters.iter().map(one).collect()
}

/// Does it.
pub(in crate::pages) async fn act(
    State(console): State<Shared>,
    posted: Posted,
) -> Result<View, Problem> {
    let Posted { operator, fields } = posted;
    let fate = Fate::read(fields.get("action").unwrap_or_default())?;
    let reason = reason(&fields)?;
    let letters = chosen(&console, &fields.all("letter")).await?;
    tracing::info!(
        action = fate.word(),
        letters = letters.letters.len(),
        operator = operator.name,
        reason,
        "an operator acts"
    );
    let (letters, results) = console
        .ask(async move |console| {
            let target = &console.target;
            let name = &operator.name;
            let done = match fate {
                Fate::Redrive => {
                    let rate = NonZeroU32::new(console.limits.redrive_per_second);
                    let rate = rate.unwrap_or(NonZeroU32::MIN);
                    letters::redrive(target, &letters, rate, name, &reason, &|_| {}).await?
                }
                Fate::Discard => {
                    let failed = letters::discard(target, &letters, name, &reason, false).await?;
                    discarded(target, &letters, &failed)
                }
            };
            Ok((letters, done))
        })
        .await?;
    let failed = results.iter().filter(|one| one.error.is_some()).count();
    let title = format!(
        "{} of {} letters {}",
        results.len() - failed,
        results.len(),
        fate.past()
    );
    let body = html! {
        h1 { (title) }
        (undecoded(&letters))
        (table(&letters, &results, fate, true))
        p { a href="/letters" { "To the dead letters" } }
    };
    Ok(View::new(title, body))
}

/// The letters that are meant, all of them.
async fn chosen(console: &Shared, ids: &[&str]) -> Result<Letters, Problem> {
    let most = console.limits.page_letters as usize;
    if ids.is_empty() {
        return Err(Problem::bad(
            "Nothing was done: no letter was chosen. Go back and choose some.",
        ));
    }
    if ids.len() > most {
        return Err(Problem::bad(format!(
            "These are {} letters, and {most} can be acted on at once (PAGE_LETTERS); \
             `checkoutctl dlq` takes more.",
            ids.len()
        )));
    }
    let wanted: Vec<LetterId> = ids
        .iter()
        .map(|id| id.parse().map_err(Problem::bad))
        .collect::<Result<_, _>>()?;
    let filter = Filter {
        letters: wanted.clone(),
        // A letter that is named is meant, whether it was handled or not.
        handled: true,
        ..Filter::default()
    };
    let letters = console
        .ask(async move |console| {
            let most = Most {
                letters: most,
                // All that are named, however large.
                bytes: usize::MAX,
            };
            letters::read(&console.target, &filter, most, &|_| {}).await
        })
        .await?;
    letters
        .all_there(&wanted)
        .map_err(|error| Problem::not_found(error.to_string()))?;
    Ok(letters)
}

fn table(letters: &Letters, results: &[Redriven], fate: Fate, is_done: bool) -> Markup {
    let table = html! {
        table.cards {
            caption { "Each letter" }
            thead { tr {
                th scope="col" { "Letter" } th scope="col" { "Why it is one" }
                th scope="col" { "Result" } th scope="col" { "Goes to" }
            } }
            tbody { @for (letter, result) in letters.letters.iter().zip(results) { tr {
                th.id scope="row" { (letter.letter) }
                td data-name="Why" { (letter.code) @if letter.handled { " (was handled before)" } }
                td data-name="Result" { (outcome(result, fate, is_done)) }
                td.id data-name="Goes to" {
                    @match (fate, result.place) {
                        (Fate::Discard, _) => "nowhere",
                        (Fate::Redrive, Some((partition, offset))) => {
                            (result.to) "/" (partition) "/" (offset)
                        },
                        (Fate::Redrive, None) => (result.to),
                    }
                }
            } } }
        }
    };
    wide("Letters", &table)
}

fn outcome(result: &Redriven, fate: Fate, is_done: bool) -> Markup {
    html! {
        @match result.result {
            Verdict::NotMarked => span.mark.bad {
                @if fate == Fate::Redrive { "published, but " } "still open"
            },
            Verdict::NotPublished => span.mark.bad { "failed" },
            Verdict::NotTried => span.mark.bad { "not tried" },
            Verdict::WouldBeRedriven | Verdict::Redriven => {
                @if is_done { span.mark.good { (fate.past()) } }
                @else { span.mark.plain { "would be " (fate.past()) } }
            },
        }
        @if let Some(error) = &result.error { " " (error) }
        @if let (Some(warning), Fate::Redrive) = (&result.warning, fate) {
            p.notice { (warning) "; it will probably come back" }
        }
    }
}
