//! Participants and their brakes: who is held back, since when, and what that means.

use audit::consumer;
use flow::Step;
use maud::{Markup, html};

use super::told;
use crate::layout::{clock, time, wide};
use crate::sampling::{Participant, Sight};

pub(super) fn brakes(sight: &Sight) -> Markup {
    html! {
        section aria-labelledby="brakes" {
            h2 #brakes { "Participants and their brakes" }
            (told(&sight.participants, |participants| html! {
                @for one in participants { (notice(one)) }
                (wide("Participants", &table(participants)))
            }))
        }
    }
}

fn table(participants: &[Participant]) -> Markup {
    html! {
        table.cards {
            caption { "A brake that is closed holds checkouts back until its participant answers" }
            thead { tr {
                th scope="col" { "Participant" } th scope="col" { "Brake" }
                th scope="col" { "Since" }
                th.number scope="col" { "May pass a second" }
                th.number scope="col" { "Unanswered" } th.number scope="col" { "Held" }
            } }
            tbody { @for one in participants { tr {
                th scope="row" { (one.participant) }
                td data-name="Brake" { (brake(&one.state)) }
                td data-name="Since" { @if let Some(since) = one.since { (time(since)) } }
                td.number data-name="May pass a second" {
                    @match one.permitted_per_second {
                        Some(number) => (number),
                        None => "any",
                    }
                }
                td.number data-name="Unanswered" { (one.commands_out) }
                td.number data-name="Held" { (one.sagas_held) }
            } } }
        }
    }
}

/// A state in words, marked by how urgent it is.
fn brake(state: &str) -> Markup {
    let (class, words) = match state {
        "OPEN" => ("good", "open"),
        "OFF" => ("plain", "off"),
        "STARTING" => ("warn", "starting"),
        "RAMPING" => ("warn", "opening"),
        "CLOSED_SILENT" => ("bad", "closed: no answers"),
        "CLOSED_BEHIND" => ("bad", "closed: far behind"),
        closed if closed.starts_with("CLOSED") => ("bad", closed),
        other => ("warn", other),
    };
    html! { span class={ "mark " (class) } { (words) } }
}

/// What it means that somebody is held back; nothing of those who are not.
fn notice(one: &Participant) -> Markup {
    let service = service(&one.participant);
    let held = match one.sagas_held {
        0 => "No checkout waits for it now".to_owned(),
        1 => "1 checkout waits for it".to_owned(),
        held => format!("{held} checkouts wait for it"),
    };
    let rate = match one.permitted_per_second {
        Some(1) => "1 command".to_owned(),
        Some(rate) => format!("{rate} commands"),
        None => "any number of commands".to_owned(),
    };
    let commands = match one.commands_out {
        1 => "1 command is".to_owned(),
        out => format!("{out} commands are"),
    };
    let closed = |why: &str| {
        format!(
            "{why} {held}. Whoever waits uses up no tries, and fails only when older than \
             CHECKOUT_LIMIT_SECONDS. {rate} a second pass from each orchestrator, to find out when \
             it answers. Look at the {service} service: does it run, what does its log say, does \
             its backlog grow? Nothing need be done here: when it answers, checkouts go on by \
             themselves."
        )
    };
    let (title, text) = match one.state.as_str() {
        "CLOSED_SILENT" => (
            "is held back: it does not answer",
            closed("It was sent commands, and no answer came."),
        ),
        "CLOSED_BEHIND" => (
            "is held back: it is far behind",
            closed(&format!(
                "It answers too slowly: {commands} unanswered. Its brake closes at more than \
                 BRAKE_MAX_WAITING of them, and opens at half of that."
            )),
        ),
        "RAMPING" => (
            "is let go again, step by step",
            format!(
                "It answers again. {held}; {rate} a second pass from each orchestrator now, twice \
                 as many at each look, until all do. Nothing need be done."
            ),
        ),
        "STARTING" => (
            "is not known yet",
            format!(
                "The orchestrator has just started. Until it has seen an answer, {rate} a second \
                 pass. Nothing need be done, unless it stays so."
            ),
        ),
        _ => return html! {},
    };
    html! {
        p.notice {
            strong { (one.participant) " " (title) }
            @if let Some(since) = one.since { ", since " (clock(since)) " (" (time(since)) ")" }
            ". " (text)
        }
    }
}

/// The service of a participant, which is named by the namespace of its contracts.
fn service(participant: &str) -> &str {
    let mut steps = Step::ALL.iter().map(|step| step.definition());
    let step = steps.find(|step| step.owner == participant);
    step.and_then(|step| consumer(step.command.record.topic()))
        .unwrap_or(participant)
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::pages::overview::content;
    use crate::sampling::Look;

    fn page(state: &str) -> String {
        let payments = Participant {
            participant: "payments".to_owned(),
            state: state.to_owned(),
            since: Some("2026-01-31T12:00:00Z".parse().unwrap()),
            permitted_per_second: (state != "OPEN").then_some(5),
            commands_out: 40,
            sagas_held: 7,
        };
        let sight = Sight {
            participants: Some(Look {
                found: Ok(vec![payments]),
                at: Timestamp::now(),
                lasts: SignedDuration::from_secs(60),
            }),
            ..Sight::default()
        };
        content(&sight).into_string()
    }

    #[test]
    fn a_closed_brake_says_since_when_what_it_means_and_where_to_look() {
        let shown = page("CLOSED_SILENT");
        for text in [
            "<strong>payments is held back: it does not answer</strong>",
            "since <time datetime=\"2026-01-31T12:00:00Z\">2026-01-31 12:00:00.000</time>",
            "no answer came",
            "7 checkouts wait for it. Whoever waits uses up no tries",
            "5 commands a second pass",
            "Look at the payment service",
            "<span class=\"mark bad\">closed: no answers</span>",
            "Brakes closed</span> <strong>1</strong>",
        ] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
        let behind = page("CLOSED_BEHIND");
        assert!(behind.contains("40 commands are unanswered"), "{behind}");
        assert!(behind.contains("closed: far behind"), "{behind}");
    }

    #[test]
    fn a_brake_that_opens_says_how_far_and_that_all_is_well() {
        let shown = page("RAMPING");
        for text in [
            "payments is let go again, step by step",
            "since <time",
            "It answers again. 7 checkouts wait for it; 5 commands a second pass",
            "<span class=\"mark warn\">opening</span>",
            "Brakes closed</span> <strong>0</strong>",
        ] {
            assert!(shown.contains(text), "{text}: {shown}");
        }
        assert!(page("STARTING").contains("payments is not known yet"));
    }

    #[test]
    fn an_open_brake_is_not_worth_a_notice() {
        for (state, word) in [("OPEN", "good\">open<"), ("OFF", "plain\">off<")] {
            let shown = page(state);
            assert!(shown.contains(word), "{shown}");
            assert!(!shown.contains("class=\"notice\""), "{shown}");
        }
        // A state of a newer orchestrator.
        assert!(page("CLOSED_FOR_LUNCH").contains("bad\">CLOSED_FOR_LUNCH<"));
    }

    #[test]
    fn a_participant_is_told_by_its_service() {
        assert_eq!(service("ordering"), "order");
        assert_eq!(service("somebody"), "somebody");
    }
}
