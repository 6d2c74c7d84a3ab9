//! A gateway that fails, answers late or not at all.

use super::*;

#[test]
fn trouble_is_met_with_the_same_call_at_growing_intervals_for_ever() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    let first = story.asked();
    let mut pauses = Vec::new();
    for attempt in 2..60 {
        let failed_at = story.now;
        story.answer(Outcome::Authorize(Err(trouble())));
        story.is(State::Requested);
        story.is_silent();
        pauses.push(story.row().wake_at.unwrap().duration_since(failed_at));
        story.sleep();
        let Request::Authorize(again) = story.asked() else {
            panic!("a void was called");
        };
        assert_eq!(again.attempt, attempt);
        assert_eq!(
            Request::Authorize(AuthorizeRequest {
                attempt: 1,
                ..again
            }),
            first,
            "the same but for the attempt"
        );
    }
    assert!(pauses[0] <= SignedDuration::from_millis(500), "{pauses:?}");
    assert!(pauses[4] > pauses[0] * 4, "{pauses:?}");
    assert!(
        pauses
            .iter()
            .all(|pause| *pause <= SignedDuration::from_secs(30))
    );
    story.answer(placed());
    story.said_authorized();
}

#[test]
fn a_void_in_trouble_is_repeated_with_its_key_until_it_is_done() {
    let mut story = Story::authorized();
    story.tell(void()).unwrap();
    assert!(matches!(story.asked(), Request::Void(void) if void.attempt == 1));
    story.answer(Outcome::Void(Err(trouble())));
    story.is(State::Voiding);
    story.is_silent();
    story.sleep();
    assert!(matches!(
        story.asked(),
        Request::Void(again) if again.attempt == 2 && again.key == void().command_id
    ));
    story.answer(given_up());
    story.said_voided();
}

#[test]
fn an_answer_that_is_lost_with_its_process_is_asked_for_again() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    story.forget();
    story.timer();
    story.is_silent(); // Not due yet: an answer is on its way.
    story.sleep();
    assert!(matches!(story.asked(), Request::Authorize(again) if again.attempt == 2));
    story.timer();
    story.is_silent();
}

#[test]
fn the_wait_for_a_lost_answer_grows_too() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    for _ in 0..12 {
        story.sleep();
    }
    let wait = story.row().wake_at.unwrap().duration_since(story.now);
    assert!(wait > SignedDuration::from_secs(14), "{wait:?}");
}

#[test]
fn answers_nobody_waits_for_change_nothing() {
    let late = [
        placed(),
        refused(DeclineReason::CardDeclined),
        Outcome::Authorize(Err(trouble())),
        given_up(),
        Outcome::Void(Err(trouble())),
    ];
    let settled: [fn() -> Story; 4] = [
        Story::authorized,
        || {
            let mut story = Story::new();
            story.tell(authorize()).unwrap();
            story.answer(refused(DeclineReason::CardDeclined));
            story
        },
        || {
            let mut story = Story::new();
            story.tell(void()).unwrap();
            story
        },
        || {
            let mut story = Story::authorized();
            story.tell(void()).unwrap();
            story.answer(given_up());
            story
        },
    ];
    for begin in settled {
        let mut story = begin();
        story.forget();
        let before = story.row().clone();
        for outcome in &late {
            story.answer(outcome.clone());
        }
        story.timer();
        story.is_silent();
        assert_eq!(*story.row(), before);
    }
}

#[test]
fn the_answer_of_one_call_does_not_answer_the_other() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    story.forget();
    story.answer(given_up());
    story.is(State::Requested);
    story.is_silent();

    let mut story = Story::authorized();
    story.tell(void()).unwrap();
    story.forget();
    story.answer(placed());
    story.is(State::Voiding);
    story.is_silent();
}

#[test]
fn timers_and_answers_for_unknown_checkouts_are_ignored() {
    let mut story = Story::new();
    story.answer(placed());
    story.timer();
    story.is_silent();
    assert_eq!(story.state.0.iter().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_is_given_up() {
    let slow = Simulated {
        latency: Duration::from_secs(5),
        ..Simulated::default()
    };
    let payments = Payments::new(Arc::new(slow), Duration::from_secs(1), RETRY);
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    let call = Call {
        request: story.asked(),
        trace_id: [1; 16],
    };
    assert_eq!(
        Payments::call_key(&call),
        authorize().command_id.into_untyped_uuid()
    );
    let answer = payments.call(call).await;
    assert_eq!(answer.checkout_id, checkout());
    let Outcome::Authorize(Err(error)) = answer.outcome else {
        panic!("{answer:?}");
    };
    assert_eq!(error.cause, Cause::TimedOut);
    assert!(error.detail.contains("1000 ms"), "{}", error.detail);
}
