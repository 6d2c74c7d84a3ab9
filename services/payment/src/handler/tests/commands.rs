//! Commands in every order, with a gateway that answers.

use super::*;

#[test]
fn the_intent_comes_first_then_the_call_then_the_reply() {
    let mut story = Story::new();
    let asked_at = story.now;
    story.tell(authorize()).unwrap();
    story.is(State::Requested);
    assert_eq!(story.messages, []);
    assert_eq!(
        story.asked(),
        Request::Authorize(AuthorizeRequest {
            key: authorize().command_id,
            checkout_id: checkout(),
            cart_id: cart(),
            customer_id: authorize().customer_id,
            amount: 1_999,
            currency: "EUR".to_owned(),
            attempt: 1,
        })
    );
    let overdue = SignedDuration::try_from(RETRY.overdue).unwrap();
    assert_eq!(story.row().wake_at, Some(asked_at + overdue));

    let answered_at = story.now;
    story.answer(placed());
    story.is(State::Authorized);
    assert_eq!(
        story.said_authorized(),
        PaymentAuthorized {
            command_id: authorize().command_id,
            checkout_id: checkout(),
            cart_id: cart(),
            authorization_id: ids::authorization_id(checkout()),
            amount: 1_999,
            currency: "EUR".to_owned(),
            authorized_at: answered_at,
        }
    );
    assert_eq!(story.calls, []);
}

#[test]
fn a_refusal_is_told_with_its_reason_and_repeated_word_for_word() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    story.forget();
    story.answer(refused(DeclineReason::InsufficientFunds));
    story.is(State::Declined);
    let first = story.said_declined(DeclineReason::InsufficientFunds);
    story.tell(authorize()).unwrap();
    assert_eq!(story.said_declined(DeclineReason::InsufficientFunds), first);
    assert_eq!(story.calls, []);
}

#[test]
fn an_authorization_that_is_repeated_gets_the_same_reply() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    story.answer(placed());
    let first = story.said_authorized();
    story.tell(authorize()).unwrap();
    assert_eq!(story.said_authorized(), first);
}

#[test]
fn a_command_that_is_repeated_while_the_call_is_out_does_nothing() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    story.forget();
    let before = story.row().clone();
    story.tell(authorize()).unwrap();
    story.is_silent();
    assert_eq!(*story.row(), before);
}

#[test]
fn a_void_gives_the_hold_up_with_its_own_key() {
    let mut story = Story::authorized();
    story.tell(void()).unwrap();
    story.is(State::Voiding);
    assert_eq!(
        story.asked(),
        Request::Void(VoidRequest {
            key: void().command_id,
            checkout_id: checkout(),
            cart_id: cart(),
            reference: "hold_1".to_owned(),
            attempt: 1,
        })
    );
    story.tell(void()).unwrap();
    story.is_silent();

    story.answer(given_up());
    story.is(State::Voided);
    let first = story.said_voided();
    assert_eq!(
        first.authorization_id,
        Some(ids::authorization_id(checkout()))
    );
    story.tell(void()).unwrap();
    assert_eq!(story.said_voided(), first);
    assert_eq!(story.calls, []);
}

#[test]
fn a_void_that_comes_first_leaves_a_tombstone_that_refuses_the_late_authorization() {
    let mut story = Story::new();
    story.tell(void()).unwrap();
    story.is(State::Voided);
    let voided = story.said_voided();
    assert_eq!(voided.authorization_id, None);

    story.tell(authorize()).unwrap();
    let refusal = story.said_declined(DeclineReason::Voided);
    story.tell(authorize()).unwrap();
    assert_eq!(story.said_declined(DeclineReason::Voided), refusal);
    story.tell(void()).unwrap();
    assert_eq!(story.said_voided(), voided);
    assert_eq!(story.calls, [], "the gateway was never asked");
}

#[test]
fn a_void_while_the_call_is_out_waits_for_the_hold_and_gives_it_up() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    story.forget();
    story.tell(void()).unwrap();
    story.tell(void()).unwrap();
    story.is(State::Requested);
    story.is_silent();

    story.answer(placed());
    story.is(State::Voiding);
    assert_eq!(story.messages, [], "the saga must not be told of the hold");
    assert!(matches!(story.asked(), Request::Void(request) if request.key == void().command_id));

    story.answer(given_up());
    assert_eq!(
        story.said_voided().authorization_id,
        Some(ids::authorization_id(checkout()))
    );
}

#[test]
fn a_void_while_the_call_is_out_ends_with_the_refusal() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    story.forget();
    story.tell(void()).unwrap();
    story.answer(refused(DeclineReason::CardDeclined));
    story.is(State::Voided);
    assert_eq!(story.said_voided().authorization_id, None);
    assert_eq!(story.calls, []);
    story.tell(authorize()).unwrap();
    story.said_declined(DeclineReason::Voided);
}

#[test]
fn a_void_after_a_refusal_is_answered_at_once_and_the_refusal_stays_what_it_was() {
    let mut story = Story::new();
    story.tell(authorize()).unwrap();
    story.forget();
    story.answer(refused(DeclineReason::ExpiredCard));
    let refusal = story.said_declined(DeclineReason::ExpiredCard);
    story.tell(void()).unwrap();
    story.is(State::Voided);
    story.said_voided();
    story.tell(authorize()).unwrap();
    assert_eq!(story.said_declined(DeclineReason::ExpiredCard), refusal);
}

#[test]
fn an_authorization_after_its_void_is_refused_and_the_refusal_repeated() {
    let mut story = Story::authorized();
    story.tell(void()).unwrap();
    story.tell(authorize()).unwrap();
    let refusal = story.said_declined(DeclineReason::Voided);
    story.answer(given_up());
    story.said_voided();
    story.tell(authorize()).unwrap();
    assert_eq!(story.said_declined(DeclineReason::Voided), refusal);
}

#[test]
fn nothing_to_pay_is_authorized_and_voided_without_the_gateway() {
    let mut story = Story::new();
    let free = AuthorizePayment {
        amount: 0,
        ..authorize()
    };
    story.tell(free).unwrap();
    story.is(State::Authorized);
    assert_eq!(story.said_authorized().amount, 0);
    story.tell(void()).unwrap();
    story.is(State::Voided);
    story.said_voided();
    assert_eq!(story.calls, []);
}

#[test]
fn a_command_from_another_partition_takes_the_timer_along() {
    let mut story = Story::authorized();
    story.partition = 3;
    story.tell(void()).unwrap();
    assert_eq!(story.row().home.partition, 3);
    story.asked();
}
