//! The rules that the model of the saga counts on: it is explored in full with
//! participants of its own, and here is what makes them this one.

use contracts::messages::CreateOrder;

use super::story::{Story, cancel, create};

/// Those of the page about the model: what is known, what comes, what is known
/// then, and what is said.
fn rules() -> Vec<[&'static str; 4]> {
    let page = include_str!("../../../../../docs/model.md");
    let cells = page.lines().filter_map(|line| {
        let row = line.strip_prefix("| order | ")?.strip_suffix(" |")?;
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
                assert_eq!(go(&path), (*says, *then), "{path:?}");
                longer.push((path, *then));
            }
        }
        assert!(longer.len() > length, "the page has rules");
        paths = longer;
    }
}

/// What is said last, and the row's state then.
fn go(path: &[&str]) -> (&'static str, &'static str) {
    let mut story = Story::new();
    // A command says the same whenever it comes.
    let creation = if path.contains(&"CreateOrder, refused") {
        CreateOrder {
            items: Vec::new(),
            ..create(1)
        }
    } else {
        create(1)
    };
    let mut says = "-";
    for comes in path {
        let command = match comes.split(", ").next() {
            Some("CreateOrder") => creation.clone().into(),
            Some("CancelOrder") => cancel(1).into(),
            other => panic!("{other:?} does not come to this service"),
        };
        let replies = story.input(command).unwrap();
        assert_eq!(replies.len(), 1);
        says = replies[0].record_type().name();
    }
    (says, story.state_of(1))
}
