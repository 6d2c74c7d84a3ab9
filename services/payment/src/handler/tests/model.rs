//! The rules that the model of the saga counts on: it is explored in full with
//! participants of its own, and here is what makes them this one.

use super::*;

/// Those of the page about the model: what is known, what comes, what is known
/// then, and what is said.
fn rules() -> Vec<[&'static str; 4]> {
    let page = include_str!("../../../../../docs/model.md");
    let cells = page.lines().filter_map(|line| {
        let row = line.strip_prefix("| payment | ")?.strip_suffix(" |")?;
        row.split(" | ").collect::<Vec<_>>().try_into().ok()
    });
    cells.collect()
}

#[test]
fn every_sequence_of_inputs_is_answered_as_the_model_of_the_saga_has_it() {
    let rules = rules();
    let mut paths = vec![(Vec::new(), "nothing")];
    for length in 1..=5 {
        let mut longer = Vec::new();
        for (path, known) in paths {
            for [_, comes, then, says] in rules.iter().filter(|rule| rule[0] == known) {
                let mut path = path.clone();
                path.push(*comes);
                assert_eq!(
                    go(&path),
                    ((*says).to_owned(), (*then).to_owned()),
                    "{path:?}"
                );
                longer.push((path, *then));
            }
        }
        assert!(longer.len() > length, "the page has rules");
        paths = longer;
    }
}

/// What is said last, and the row's state then.
fn go(path: &[&str]) -> (String, String) {
    let mut story = Story::new();
    for comes in path {
        story.forget();
        match *comes {
            "AuthorizePayment" => story.tell(authorize()).unwrap(),
            "VoidAuthorization" => story.tell(void()).unwrap(),
            "a hold is placed" => story.answer(placed()),
            "a hold is refused" => story.answer(refused(DeclineReason::CardDeclined)),
            "the hold is given up" => story.answer(given_up()),
            other => panic!("{other} does not come to this service"),
        }
    }
    let says = match story.messages.as_slice() {
        [] => "-",
        [message] => message.record_type().name(),
        more => panic!("{more:?}"),
    };
    let waits = if story.row().void_requested {
        ", to be voided"
    } else {
        ""
    };
    let state = format!("{}{waits}", story.row().state.as_str());
    (says.to_owned(), state)
}
