//! The numbers that say whether somebody should act.

use maud::{Markup, html};
use operations::sagas::Standing;

use super::{as_of, known};
use crate::sampling::{Open, Sight};

pub(super) fn glance(sight: &Sight) -> Markup {
    let sum = |of: &dyn Fn(&Standing) -> i64| {
        let standing = known(&sight.standing)?;
        Some(standing.iter().map(of).sum::<i64>())
    };
    let is_stuck = |one: &Standing| one.state == contracts::messages::SagaState::Stuck.as_str();
    let stuck = sum(&|one| if is_stuck(one) { one.sagas } else { 0 });
    let late = sum(&|one| one.late);
    let flying = sum(&|one| one.sagas);
    let letters = known(&sight.letters);
    let closed = known(&sight.participants).map(|all| {
        all.iter()
            .filter(|one| one.state.starts_with("CLOSED"))
            .count()
    });
    let letter_count = |open: &Open| match open.more {
        true => format!("{}+", open.letters),
        false => open.letters.to_string(),
    };
    let text = |number: Option<i64>| number.map(|number| number.to_string());
    let sagas = as_of(&sight.standing);
    html! {
        ul.glance aria-label="At a glance" {
            (tile("Stuck", text(stuck), stuck > Some(0), Some("/sagas?state=STUCK"), "sagas", &sagas))
            (tile("In flight", text(flying), false, Some("/sagas"), "sagas", &sagas))
            (tile("Timers late", text(late), late > Some(0), None, "by 10 s or more", &sagas))
            (tile(
                "Dead letters",
                letters.map(letter_count),
                letters.is_some_and(|open| open.letters > 0),
                Some("/letters"),
                "open",
                &as_of(&sight.letters),
            ))
            (tile(
                "Brakes closed",
                closed.map(|number| number.to_string()),
                closed > Some(0),
                Some("#brakes"),
                "participants",
                &as_of(&sight.participants),
            ))
        }
    }
}

fn tile(
    name: &str,
    value: Option<String>,
    is_bad: bool,
    href: Option<&str>,
    unit: &str,
    as_of: &Markup,
) -> Markup {
    let content = html! {
        span.label { (name) } " "
        strong { (value.as_deref().unwrap_or("?")) } " "
        span.unit { @if value.is_some() { (unit) } @else { "not known" } } " "
        span.when { (as_of) }
    };
    html! {
        li.alarm[is_bad] {
            @match href {
                Some(href) => a href=(href) { (content) },
                None => div { (content) },
            }
        }
    }
}
