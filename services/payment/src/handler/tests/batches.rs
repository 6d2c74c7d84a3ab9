//! What a batch reads and writes.

use super::*;

#[test]
fn each_row_is_written_once_however_often_it_changed_and_only_if_it_did() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    story.answer(placed());
    story.tell(void()).unwrap();
    let texts = |state: Rows| -> Vec<&str> {
        let payments = Story::new().payments;
        payments.writes(state).iter().map(|sql| sql.text).collect()
    };
    assert_eq!(texts(std::mem::take(&mut story.state)), [store::INSERT]);

    let mut story = Story::authorized();
    for entered in story.state.0.values_mut() {
        entered.stored = true;
        entered.changed = false;
    }
    story.tell(authorize()).unwrap();
    assert_eq!(texts(std::mem::take(&mut story.state)), [] as [&str; 0]);

    let mut story = Story::authorized();
    for entered in story.state.0.values_mut() {
        entered.stored = true;
        entered.changed = false;
    }
    story.tell(void()).unwrap();
    assert_eq!(texts(std::mem::take(&mut story.state)), [store::UPDATE]);
}

#[test]
fn statements_have_a_parameter_for_each_placeholder() {
    let mut story = Story::authorized();
    let row = story.row().clone();
    let written = store::writes(vec![row.clone()], vec![row]);
    let due = store::due(&[], story.now, 1);
    story.tell(void()).unwrap();
    for sql in written.iter().chain([&due]) {
        let highest = (1..=40)
            .filter(|n| sql.text.contains(&format!("${n}")))
            .max();
        assert_eq!(highest, Some(sql.params.len()), "{}", sql.text);
    }
}

#[test]
fn the_rows_of_a_batch_are_read_once_each_in_order() {
    let payments = Story::new().payments;
    let input = |body| Input {
        offset: None,
        home: Home {
            topic: Topic::PaymentsCommands,
            partition: 0,
        },
        now: Timestamp::UNIX_EPOCH,
        trace: TraceContext::new_root(),
        body,
    };
    let batch = [
        input(Body::Timer(Uuid::from_u128(9))),
        input(Body::Message(authorize().into())),
        input(Body::Message(void().into())),
        input(Body::Answer(Answer {
            checkout_id: uuid(3),
            outcome: given_up(),
        })),
    ];
    let reads = payments.reads(&batch);
    assert_eq!(reads.len(), 1);
    assert_eq!(reads[0].text, store::LOCK);
    let shown = format!("{:?}", reads[0].params[0]);
    let ids = format!("{:?}", [3, 9, 0xc0].map(Uuid::from_u128));
    assert_eq!(shown, ids);
}
