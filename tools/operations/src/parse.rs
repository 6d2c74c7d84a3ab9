//! What people write, read: states, reasons, ages, topics, codes and words.

use std::time::Duration;

use contracts::messages::{FailureReason, OperationAction, SagaState};
use contracts::{ErrorCode, Topic};
use jiff::SignedDuration;

/// The longest reason, operator or evidence, in characters: as much as the history
/// keeps of them together.
pub const TEXT_MAX_CHARS: usize = 300;

/// The states that a saga can be in.
pub fn states() -> impl Iterator<Item = SagaState> + Clone {
    let all = SagaState::ALL.iter().copied();
    all.filter(|state| *state != SagaState::Unknown)
}

/// What an operator can ask for.
pub fn actions() -> impl Iterator<Item = OperationAction> + Clone {
    let all = OperationAction::ALL.iter().copied();
    all.filter(|action| *action != OperationAction::Unknown)
}

/// The topics that have dead letters.
pub fn topics() -> impl Iterator<Item = Topic> + Clone {
    let all = Topic::ALL.iter().copied();
    all.filter(|topic| topic.is_consumed())
}

/// A state such as `stuck` or `in-doubt`.
///
/// # Errors
/// Names those there are.
pub fn state(text: &str) -> Result<SagaState, String> {
    let wanted = capitals(text);
    states()
        .find(|state| state.as_str() == wanted)
        .ok_or_else(|| format!("the states are {}", listed(states().map(SagaState::as_str))))
}

/// The reason of a failure, such as `out_of_stock`.
///
/// # Errors
/// Names those there are.
pub fn failure(text: &str) -> Result<FailureReason, String> {
    let wanted = capitals(text);
    let all = FailureReason::ALL.iter().copied();
    all.clone()
        .find(|reason| reason.as_str() == wanted)
        .ok_or_else(|| format!("the reasons are {}", listed(all.map(FailureReason::as_str))))
}

/// An action such as `retry`.
///
/// # Errors
/// Names those there are.
pub fn action(text: &str) -> Result<OperationAction, String> {
    let wanted = capitals(text);
    actions()
        .find(|action| action.as_str() == wanted)
        .ok_or_else(|| {
            let names = listed(actions().map(OperationAction::as_str));
            format!("the actions are {names}")
        })
}

/// A topic that has dead letters, by its name without prefix.
///
/// # Errors
/// Names those there are.
pub fn topic(text: &str) -> Result<Topic, String> {
    let wanted = text.strip_suffix(".dlq").unwrap_or(text);
    topics()
        .find(|topic| topic.name() == wanted)
        .ok_or_else(|| {
            format!(
                "the topics with dead letters are {}",
                listed(topics().map(Topic::name))
            )
        })
}

/// A code of a dead letter, such as `not-framed`.
///
/// # Errors
/// Names those there are.
pub fn code(text: &str) -> Result<String, String> {
    let wanted = capitals(text);
    let all = ErrorCode::ALL.iter().map(|code| code.as_str());
    match all.clone().any(|code| code == wanted) {
        true => Ok(wanted),
        false => Err(format!("the codes are {}", listed(all))),
    }
}

/// An age such as 10m.
///
/// # Errors
/// Says what an age looks like.
pub fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "an age is 90s, 10m, 2h or 14d".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let span: SignedDuration = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|_| wrong())?;
    Duration::try_from(span).map_err(|_| wrong())
}

/// Something that was said.
///
/// # Errors
/// When it is nothing, or too long.
pub fn words(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say something".to_owned()),
        said if said.chars().count() > TEXT_MAX_CHARS => {
            Err(format!("at most {TEXT_MAX_CHARS} characters"))
        }
        said => Ok(said.to_owned()),
    }
}

fn capitals(text: &str) -> String {
    text.trim().to_uppercase().replace('-', "_")
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_reasons_actions_and_ages_are_read_as_people_write_them() {
        assert_eq!(state("stuck"), Ok(SagaState::Stuck));
        assert_eq!(state("in-doubt"), Ok(SagaState::InDoubt));
        assert!(state("unknown").unwrap_err().contains("COMPENSATING"));
        assert_eq!(failure("out_of_stock"), Ok(FailureReason::OutOfStock));
        assert!(failure("bad").is_err());
        assert_eq!(action("retry"), Ok(OperationAction::Retry));
        assert!(action("unknown").unwrap_err().contains("ABANDON"));
        assert_eq!(age("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(age("2d"), Ok(Duration::from_secs(172_800)));
        assert!(age("soon").is_err());
        assert!(words("  ").is_err() && words(&"x".repeat(301)).is_err());
    }

    #[test]
    fn topics_and_codes_are_those_there_are() {
        assert_eq!(topic("shopping.checkouts"), Ok(Topic::ShoppingCheckouts));
        assert_eq!(
            topic("shopping.checkouts.dlq"),
            Ok(Topic::ShoppingCheckouts)
        );
        assert!(
            topic("ordering.orders")
                .unwrap_err()
                .contains("inventory.events")
        );
        assert_eq!(code("not-framed"), Ok("NOT_FRAMED".to_owned()));
        assert!(code("x").is_err());
    }
}
