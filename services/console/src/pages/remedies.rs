//! What can be done about a cart: what its saga would take now, and what becomes of its
//! dead letters. Where nobody may act, what can be typed instead.

use contracts::TopicNames;
use contracts::ids::CartId;
use contracts::messages::OperationAction;
use flow::Saga;
use maud::{Markup, html};
use operations::explain::{Entry, Explanation};
use operations::letters::LetterId;
use operations::operate::{Operated, Wish};
use operations::parse;
use operations::sagas::Listed;

use super::actions::letters::Fate;
use super::actions::sagas::{describe, name};
use crate::fields::query;

/// Dead letters of a cart that are told of, the newest. All are in the table below.
const LETTERS_TOLD: usize = 5;

/// A record of the cart that a service put aside.
struct Dead<'e> {
    id: LetterId,
    record_type: &'e str,
    why: &'e str,
}

/// The section; nothing where nothing can be done.
pub(super) fn remedies(explanation: &Explanation, names: &TopicNames, can_act: bool) -> Markup {
    let possible = possible(explanation.saga.as_ref());
    let letters = dead_letters(&explanation.timeline, names);
    let (cart, commands) = (explanation.cart_id, &explanation.commands);
    match can_act {
        true => acts(cart, &possible, &letters),
        false => commands_to_type(commands, &letters),
    }
}

/// What the saga would take, as the transition function sees it.
fn possible(saga: Option<&Saga>) -> Vec<OperationAction> {
    let Some(saga) = saga.filter(|saga| !saga.progress.state.is_terminal()) else {
        return Vec::new();
    };
    let listed = [Listed::new(saga.clone(), None)];
    parse::actions()
        .filter(|action| {
            let wish = Wish {
                action: *action,
                // Only to ask; what is done needs words of an operator.
                operator: "?".to_owned(),
                reason: "?".to_owned(),
                step: saga.progress.state.step(),
                evidence: Some("?".to_owned()),
            };
            wish.rehearse(&listed).iter().all(Operated::is_done)
        })
        .collect()
}

/// The newest records of the cart that are in dead-letter topics.
fn dead_letters<'e>(timeline: &'e [Entry], names: &TopicNames) -> Vec<Dead<'e>> {
    let is_dead = |name: &str| parse::topics().any(|topic| names.dlq(topic) == name);
    let records = timeline.iter().rev().filter_map(|entry| match entry {
        Entry::Record(record) if is_dead(&record.topic) => Some(record),
        Entry::Record(_) | Entry::Transition(_) => None,
    });
    let letters = records.take(LETTERS_TOLD).map(|record| Dead {
        id: LetterId {
            topic: record.topic.clone(),
            partition: record.partition,
            offset: record.offset,
        },
        record_type: &record.record_type,
        why: record.remark.as_deref().unwrap_or_default(),
    });
    letters.collect()
}

fn acts(cart: CartId, possible: &[OperationAction], letters: &[Dead<'_>]) -> Markup {
    if possible.is_empty() && letters.is_empty() {
        return html! {};
    }
    let cart = cart.to_string();
    section(&html! {
        @for letter in letters {
            (told(letter))
            ul.acts {
                @for fate in Fate::ALL {
                    @let id = letter.id.to_string();
                    @let asked = query([("action", fate.word()), ("letter", id.as_str())]);
                    li {
                        a.button href={ "/actions/letters?" (asked) }
                            aria-label={ (fate.name()) " letter " (id) } { (fate.name()) }
                        " " span.quiet { (fate.describe()) }
                    }
                }
            }
        }
        @if !possible.is_empty() {
            @if !letters.is_empty() { h3 { "To the saga" } }
            ul.acts {
                @for action in possible {
                    @let asked = query([("action", action.as_str()), ("cart", cart.as_str())]);
                    li {
                        a.button href={ "/actions/sagas?" (asked) } { (name(*action)) } " "
                        span.quiet { (describe(*action)) }
                    }
                }
            }
        }
    })
}

fn commands_to_type(commands: &[String], letters: &[Dead<'_>]) -> Markup {
    if commands.is_empty() && letters.is_empty() {
        return html! {};
    }
    // The explanation names the redrive of some letters, and not where the saga has
    // ended or waits for something else.
    let is_named = |id: &str| commands.iter().any(|command| command.contains(id));
    let redrives = letters
        .iter()
        .map(|letter| letter.id.to_string())
        .filter(|id| !is_named(id))
        .map(|id| format!("checkoutctl dlq redrive {id} --reason '…' --dry-run"));
    let all: Vec<String> = commands.iter().cloned().chain(redrives).collect();
    section(&html! {
        @for letter in letters { (told(letter)) }
        p.quiet { "This console is read-only. On the command line:" }
        ul.acts { @for command in &all { li { code { (command) } } } }
    })
}

fn section(content: &Markup) -> Markup {
    html! {
        section aria-labelledby="acts" {
            h2 #acts { "What can be done" }
            (content)
        }
    }
}

/// Which letter, and why it is one; its page tells whether it was handled since.
fn told(letter: &Dead<'_>) -> Markup {
    let id = letter.id.to_string();
    html! {
        h3 { "Dead letter " a.id href={ "/letters?" (query([("letter", id.as_str())])) } { (id) } }
        p.notice { (letter.record_type) ", " (letter.why) }
    }
}

#[cfg(test)]
mod tests {
    use contracts::ids::GenericUuid;
    use operations::explain::Record;
    use uuid::Uuid;

    use super::*;

    const LETTER: &str = "eu.shopping.checkouts.dlq:2:17";
    const ACTION: &str = "letter=eu.shopping.checkouts.dlq%3A2%3A17\"";

    fn record(topic: &str, offset: i64) -> Entry {
        Entry::Record(Box::new(Record {
            topic: topic.to_owned(),
            partition: 2,
            offset,
            at: None,
            record_type: "shopping.CartCheckedOut".to_owned(),
            source: None,
            id: None,
            trace_id: None,
            content: None,
            remark: Some("put aside by <orchestrator>".to_owned()),
        }))
    }

    /// The timeline of a cart whose request is a dead letter.
    fn timeline() -> Vec<Entry> {
        vec![
            record("eu.shopping.checkouts", 3),
            record("eu.shopping.checkouts.dlq", 17),
            // Of another installation.
            record("us.shopping.checkouts.dlq", 18),
        ]
    }

    fn cart() -> CartId {
        CartId::from_untyped_uuid(Uuid::nil())
    }

    #[test]
    fn a_dead_letter_can_be_redriven_where_there_is_no_saga() {
        let timeline = timeline();
        let letters = dead_letters(&timeline, &TopicNames::new("eu."));
        assert_eq!(letters.len(), 1);
        let shown = acts(cart(), &possible(None), &letters).into_string();
        for text in [
            "What can be done".to_owned(),
            format!("href=\"/actions/letters?action=redrive&amp;{ACTION}"),
            format!("href=\"/actions/letters?action=discard&amp;{ACTION}"),
            format!("href=\"/letters?{ACTION}"),
            "put aside by &lt;orchestrator&gt;".to_owned(),
        ] {
            assert!(shown.contains(&text), "{text}: {shown}");
        }
        assert!(!shown.contains("/actions/sagas"), "{shown}");
    }

    #[test]
    fn a_dead_letter_and_the_saga_stand_side_by_side() {
        let timeline = timeline();
        let letters = dead_letters(&timeline, &TopicNames::new("eu."));
        let shown = acts(cart(), &[OperationAction::Retry], &letters).into_string();
        assert!(shown.contains("action=redrive"), "{shown}");
        assert!(shown.contains("/actions/sagas?action=RETRY"), "{shown}");
    }

    #[test]
    fn where_nobody_may_act_the_command_is_shown_once() {
        let timeline = timeline();
        let letters = dead_letters(&timeline, &TopicNames::new("eu."));
        let command = format!("checkoutctl dlq redrive {LETTER} --reason");
        let retry = "checkoutctl sagas retry 1 --reason '…'".to_owned();
        for commands in [vec![], vec![retry.clone()], vec![format!("{command} 'x'")]] {
            let shown = commands_to_type(&commands, &letters).into_string();
            assert_eq!(shown.matches(&command).count(), 1, "{shown}");
            assert!(shown.contains("read-only"), "{shown}");
            assert!(!shown.contains("/actions/"), "{shown}");
            assert!(
                shown.contains(&format!("href=\"/letters?{ACTION}")),
                "{shown}"
            );
        }
        let shown = commands_to_type(&[retry], &[]).into_string();
        assert!(shown.contains("sagas retry 1"), "{shown}");
    }

    #[test]
    fn where_nothing_can_be_done_nothing_is_offered() {
        assert_eq!(acts(cart(), &[], &[]).into_string(), "");
        assert_eq!(commands_to_type(&[], &[]).into_string(), "");
    }

    #[test]
    fn of_many_letters_the_newest_are_told() {
        let timeline: Vec<_> = (0..9)
            .map(|offset| record("eu.shopping.checkouts.dlq", offset))
            .collect();
        let letters = dead_letters(&timeline, &TopicNames::new("eu."));
        let offsets: Vec<i64> = letters.iter().map(|letter| letter.id.offset).collect();
        assert_eq!(offsets, [8, 7, 6, 5, 4]);
    }
}
