//! What the definitions of the steps must keep among themselves.

use std::collections::BTreeSet;

use contracts::{RecordType, messages::FailureReason};
use flow::{Step, status::failure_text};

#[test]
fn a_step_talks_with_its_owner_alone_and_shares_no_record_with_another_step() {
    let mut records = std::collections::BTreeMap::new();
    for step in Step::ALL {
        let definition = step.definition();
        let mut own = vec![
            definition.command.record,
            definition.success.record,
            definition.compensation.record,
            definition.compensation.acknowledged_by,
        ];
        own.extend(definition.failures.iter().map(|failure| failure.record));
        for record in own {
            let name = RecordType::full_name(record);
            assert_eq!(
                name.split('.').next(),
                Some(definition.owner),
                "{name} belongs to {step}"
            );
            assert_eq!(records.insert(name, step), None, "{name} is used twice");
        }
        assert_eq!(definition.step, *step);
        assert!(definition.retry.tries > 0);
        assert!(definition.deadline.first <= definition.deadline.max);
        assert_eq!(step.name().parse(), Ok(*step));
    }
}

#[test]
fn customers_can_tell_every_status_by_its_code() {
    let codes: BTreeSet<_> = Step::ALL
        .iter()
        .flat_map(|step| {
            let status = step.definition().status;
            [status.doing.code, status.undoing.code]
        })
        .chain([
            flow::status::ORDERED.code,
            flow::status::DELAYED.code,
            flow::status::IN_CLARIFICATION.code,
            flow::status::FAILED,
        ])
        .collect();
    assert_eq!(codes.len(), 2 * Step::ALL.len() + 4);
}

#[test]
fn customers_are_told_why_a_checkout_failed_whatever_the_reason() {
    let known = FailureReason::ALL
        .iter()
        .filter(|reason| **reason != FailureReason::Unknown);
    let mut told: BTreeSet<_> = known.clone().map(|reason| failure_text(*reason)).collect();
    assert_eq!(told.len(), known.count(), "two reasons have the same text");
    assert!(
        told.insert(failure_text(FailureReason::Unknown)),
        "a reason has no text of its own"
    );
}

#[test]
fn the_order_of_the_steps_is_the_order_of_their_actions_and_back_again() {
    let there: Vec<_> = std::iter::successors(Some(Step::FIRST), |step| step.following()).collect();
    assert_eq!(there, Step::ALL);
    let last = there.last().copied();
    let mut back: Vec<_> = std::iter::successors(last, |step| step.preceding()).collect();
    back.reverse();
    assert_eq!(back, Step::ALL);
}
