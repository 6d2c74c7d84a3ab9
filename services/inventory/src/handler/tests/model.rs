//! The rules that the model of the saga counts on: it is explored in full with
//! participants of its own, and here is what makes them this one.

use super::story::{Story, release, reserve};

/// Those of the page about the model: what is known, what comes, what is known
/// then, and what is said.
fn rules() -> Vec<[&'static str; 4]> {
    let page = include_str!("../../../../../docs/model.md");
    let cells = page.lines().filter_map(|line| {
        let row = line.strip_prefix("| inventory | ")?.strip_suffix(" |")?;
        row.split(" | ").collect::<Vec<_>>().try_into().ok()
    });
    cells.collect()
}

#[test]
fn every_sequence_of_commands_is_answered_as_the_model_of_the_saga_has_it() {
    let rules = rules();
    let mut paths = vec![(Vec::new(), "nothing")];
    for length in 1..=5 {
        let mut longer = Vec::new();
        for (path, known) in paths {
            for [_, comes, then, says] in rules.iter().filter(|rule| rule[0] == known) {
                let mut path = path.clone();
                path.push(*comes);
                assert_eq!(go(&path), (*says, *then == "RESERVED"), "{path:?}");
                longer.push((path, *then));
            }
        }
        assert!(longer.len() > length, "the page has rules");
        paths = longer;
    }
}

/// What is said last, and whether stock is held then.
fn go(path: &[&str]) -> (&'static str, bool) {
    let mut story = Story::with_stock(&[("tea", 5)]);
    // A command says the same whenever it comes.
    let pieces = if path.contains(&"ReserveInventory, refused") {
        6
    } else {
        3
    };
    let mut says = "-";
    for comes in path {
        let answers = match comes.split(", ").next() {
            Some("ReserveInventory") => story.all(reserve(1, &[("tea", pieces)])),
            Some("ReleaseInventory") => story.all(release(1)),
            other => panic!("{other:?} does not come to this service"),
        };
        assert_eq!(answers.len(), 1);
        says = answers[0].record_type().name();
    }
    let held = match story.stock("tea") {
        (5, 3) => true,
        (5, 0) => false,
        other => panic!("{other:?} of tea"),
    };
    (says, held)
}
