//! `docs/flow.md` says what the code does.

use std::{env, fs, path::Path};

use contracts::RecordType;
use flow::{Step, docs::flow_page};

#[test]
fn the_page_about_the_flow_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/flow.md");
    let page = flow_page().unwrap();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/flow.md is out of date; run: UPDATE_DOCS=1 cargo test -p flow page"
    );
}

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
