//! How the checkouts go: rates, outcomes, times, where sagas stand, who is behind or away.
//!
//! - `glance`: the numbers that say whether somebody should act.
//! - `rates`: checkouts a second, what came of them and how long they took.
//! - `brakes`: participants, and who is held back.
//! - `lists`: sagas by step, backlog, what ended last, services.

mod brakes;
mod glance;
mod lists;
mod rates;

use axum::extract::State;
use jiff::Timestamp;
use maud::{Markup, html};

use crate::console::Shared;
use crate::layout::{View, time};
use crate::sampling::{Sight, Told};

/// How often the page is made anew.
const LIVE_SECONDS: u32 = 2;

pub(super) async fn page(State(console): State<Shared>) -> View {
    View::new("Overview", content(&console.seen.now())).live(LIVE_SECONDS)
}

fn content(sight: &Sight) -> Markup {
    html! {
        h1 { "Overview" }
        (glance::glance(sight))
        (rates::rates(sight))
        (lists::standing(sight))
        (brakes::brakes(sight))
        (lists::backlog(sight))
        (lists::ended(sight))
        (lists::instances(sight))
    }
}

/// What was found, or why nothing was, and as of when.
fn told<T>(told: &Told<T>, show: impl FnOnce(&T) -> Markup) -> Markup {
    let Some(look) = told else {
        return html! { p.quiet { "Not looked at yet." } };
    };
    html! {
        @match &look.found {
            Ok(found) => (show(found)),
            Err(why) => p.notice { "Unreachable: " (why) },
        }
        p { (as_of(told)) }
    }
}

/// What was found, if anything was.
fn known<T>(told: &Told<T>) -> Option<&T> {
    told.as_ref()?.found.as_ref().ok()
}

/// When something was looked at last, and a word where that is too long ago.
fn as_of<T>(told: &Told<T>) -> Markup {
    html! {
        @if let Some(look) = told {
            @if look.is_old(Timestamp::now()) { span.mark.warn { "old" } " " }
            span.as-of { "as of " (time(look.at)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::sampling::{Look, Open};

    fn letters(ago: i64, found: Result<Open, String>) -> Sight {
        Sight {
            letters: Some(Look {
                found,
                at: Timestamp::now() - SignedDuration::from_secs(ago),
                lasts: SignedDuration::from_secs(60),
            }),
            ..Sight::default()
        }
    }

    #[test]
    fn a_number_says_as_of_when_and_an_old_one_that_it_is_old() {
        let open = Open {
            letters: 7,
            more: false,
        };
        let page = content(&letters(5, Ok(open.clone()))).into_string();
        assert!(page.contains("<strong>7</strong>"), "{page}");
        assert!(page.contains("as of <time datetime=\""), "{page}");
        assert!(!page.contains(">old<"), "{page}");
        let page = content(&letters(3_600, Ok(open))).into_string();
        assert!(page.contains("<strong>7</strong>"), "{page}");
        assert!(page.contains(">old<"), "{page}");
        assert!(page.contains(">60 min ago</time>"), "{page}");
    }

    #[test]
    fn what_is_away_is_told_with_the_reason_and_the_time() {
        let away = Some(Look {
            found: Err("cannot connect".to_owned()),
            at: Timestamp::now(),
            lasts: SignedDuration::from_secs(60),
        });
        let shown = told(&away, |_: &()| html! { "never" }).into_string();
        assert!(shown.contains("Unreachable: cannot connect"), "{shown}");
        assert!(shown.contains("as of <time"), "{shown}");
        let shown = told(&None, |_: &()| html! { "never" }).into_string();
        assert!(shown.contains("Not looked at yet"), "{shown}");
    }
}
