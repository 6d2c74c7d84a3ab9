//! What the definitions of the steps must keep among themselves.

use contracts::RecordType;
use flow::Step;

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
    let codes: std::collections::BTreeSet<_> = Step::ALL
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
