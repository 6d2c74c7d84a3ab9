//! What a batch reads and writes.

use super::*;

#[test]
fn each_row_is_written_once_however_often_it_changed_and_only_if_it_did() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    story.answer(placed());
    story.tell(void()).unwrap();
    let texts = |state: Authorizations| -> Vec<&str> {
        let payments = Story::new().payments;
        payments.writes(state).iter().map(|sql| sql.text).collect()
    };
    assert_eq!(texts(std::mem::take(&mut story.state)), [store::INSERT]);

    let mut story = stored(Story::authorized());
    story.tell(authorize()).unwrap();
    assert_eq!(texts(std::mem::take(&mut story.state)), [] as [&str; 0]);

    let mut story = stored(Story::authorized());
    story.tell(void()).unwrap();
    assert_eq!(texts(std::mem::take(&mut story.state)), [store::UPDATE]);
}

fn input(body: Body<Answer>) -> Input<Answer> {
    Input {
        offset: None,
        home: Home {
            topic: Topic::PaymentsCommands,
            partition: 0,
        },
        now: Timestamp::UNIX_EPOCH,
        trace: TraceContext::new_root(),
        body,
    }
}

/// A story whose row was read from the table.
fn stored(mut story: Story) -> Story {
    let row = story.row().clone();
    story.state = Authorizations::default();
    story.state.0.add(row.checkout_id, RowVersion::from(3), row);
    story
}

#[test]
fn a_row_is_kept_while_a_call_is_out_and_compared_also_where_it_does_not_change() {
    let payments = Story::new().payments;
    let answer = |outcome| {
        input(Body::Answer(Answer {
            checkout_id: checkout(),
            outcome,
        }))
    };
    let command = || input(Body::Message(authorize().into()));
    let mut kept = <Kept as runtime::Cache>::new(10);
    assert!(payments.recall(&[answer(placed())], &mut kept).is_none());

    // What is not known is new, if it is inserted.
    let mut state = payments.recall(&[command()], &mut kept).unwrap();
    assert!(!payments.is_certain(&state));
    payments
        .handle(&mut state, &command(), &mut Outbox::default())
        .unwrap();
    assert!(payments.is_certain(&state));
    payments.keep(&state, &mut kept, &RowVersion::from(7));
    assert_eq!(payments.writes(state)[0].text, store::INSERT);

    // A repeated command changes nothing, but what it is answered by must hold.
    let mut state = payments.recall(&[command()], &mut kept).unwrap();
    payments
        .handle(&mut state, &command(), &mut Outbox::default())
        .unwrap();
    let writes = payments.writes(state);
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].text, store::COMPARE);
    assert_eq!(format!("{:?}", writes[0].params[1]), "[7]");

    let mut state = payments.recall(&[answer(placed())], &mut kept).unwrap();
    payments
        .handle(&mut state, &answer(placed()), &mut Outbox::default())
        .unwrap();
    payments.keep(&state, &mut kept, &RowVersion::from(8));
    let writes = payments.writes(state);
    assert_eq!(writes[0].text, store::UPDATE);
    let versions = writes[0].params.last().unwrap();
    assert_eq!(format!("{versions:?}"), "[7]");
    assert!(payments.recall(&[answer(placed())], &mut kept).is_none());
}

#[test]
fn statements_have_a_parameter_for_each_placeholder() {
    let mut story = Story::authorized();
    let row = story.row().clone();
    let mut rows = Rows::default();
    rows.put(row.checkout_id, row.clone());
    rows.add(uuid(9), RowVersion::from(1), row.clone());
    rows.put(uuid(9), row);
    let written = store::writes(rows);
    assert_eq!(written.len(), 2);
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
