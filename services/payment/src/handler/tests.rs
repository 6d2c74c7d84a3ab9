//! Stories: inputs in, messages and calls out, without a database.

use contracts::TraceContext;
use contracts::ids::EventId;
use contracts::ids::{self, CartId, CustomerId};
use contracts::messages::{
    AuthorizationVoided, AuthorizePayment, CheckoutFailed, DeclineReason, FailureReason,
    PaymentAuthorized, PaymentDeclined, VoidAuthorization, VoidReason,
};
use jiff::SignedDuration;

use super::*;
use crate::authorization::State;
use crate::gateway::simulated::Simulated;

const RETRY: Retry = Retry {
    first: Duration::from_millis(500),
    max: Duration::from_secs(30),
    overdue: Duration::from_secs(2),
};

fn uuid<T: GenericUuid>(n: u128) -> T {
    T::from_untyped_uuid(Uuid::from_u128(n))
}

fn checkout() -> CheckoutId {
    uuid(0xc0)
}

fn cart() -> CartId {
    uuid(0xca)
}

fn authorize() -> AuthorizePayment {
    AuthorizePayment {
        command_id: ids::command_id(checkout(), RecordType::AuthorizePayment),
        checkout_id: checkout(),
        cart_id: cart(),
        customer_id: Some(uuid::<CustomerId>(0xc5)),
        amount: 1_999,
        currency: "EUR".to_owned(),
    }
}

fn void() -> VoidAuthorization {
    VoidAuthorization {
        command_id: ids::command_id(checkout(), RecordType::VoidAuthorization),
        checkout_id: checkout(),
        cart_id: cart(),
        authorization_id: None,
        reason: VoidReason::CheckoutFailed,
    }
}

fn placed() -> Outcome {
    Outcome::Authorize(Ok(Hold::Placed {
        reference: "hold_1".to_owned(),
    }))
}

fn refused(reason: DeclineReason) -> Outcome {
    Outcome::Authorize(Ok(Hold::Refused { reason }))
}

fn given_up() -> Outcome {
    Outcome::Void(Ok(()))
}

fn trouble() -> Unsettled {
    Unsettled::new(Cause::Failed, "out of order")
}

/// One partition of the service: a table in memory, a clock, and what came out.
struct Story {
    payments: Payments,
    state: Rows,
    now: Timestamp,
    partition: i32,
    messages: Vec<Message>,
    calls: Vec<Request>,
}

impl Story {
    fn new() -> Self {
        Self {
            payments: Payments::new(
                Arc::new(Simulated::default()),
                Duration::from_secs(1),
                RETRY,
            ),
            state: Rows::default(),
            now: "2026-03-01T12:00:00Z".parse().unwrap(),
            partition: 2,
            messages: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// A story in which the money is held.
    fn authorized() -> Self {
        let mut story = Self::new();
        story.tell(authorize()).unwrap();
        story.answer(placed());
        story.forget();
        story
    }

    fn input(&mut self, body: Body<Answer>) -> Result<(), Poison> {
        let input = Input {
            home: Home {
                topic: Topic::PaymentsCommands,
                partition: self.partition,
            },
            now: self.now,
            trace: TraceContext::new_root(),
            body,
        };
        let mut out = Outbox::default();
        let before = self.try_row().cloned();
        let result = self.payments.handle(&mut self.state, &input, &mut out);
        if result.is_err() {
            assert_eq!(self.try_row().cloned(), before, "a refusal changed the row");
            assert!(out.messages().is_empty() && out.calls().is_empty());
        }
        if let Some(row) = self.try_row() {
            let waits = matches!(row.state, State::Requested | State::Voiding);
            assert_eq!(row.wake_at.is_some(), waits, "{row:?}");
        }
        for (home, call) in out.calls() {
            assert_eq!(*home, input.home, "an answer goes where the call was made");
            assert_eq!(self.row().home, input.home, "the timer goes there too");
            self.calls.push(call.request.clone());
        }
        self.messages.extend(out.messages().iter().cloned());
        self.now += SignedDuration::from_millis(7);
        result
    }

    fn tell(&mut self, message: impl Into<Message>) -> Result<(), Poison> {
        self.input(Body::Message(message.into()))
    }

    fn answer(&mut self, outcome: Outcome) {
        self.input(Body::Answer(Answer {
            checkout_id: checkout(),
            outcome,
        }))
        .unwrap();
    }

    fn timer(&mut self) {
        self.input(Body::Timer(checkout().into_untyped_uuid()))
            .unwrap();
    }

    /// Lets the time pass until the row's timer is due, and fires it.
    fn sleep(&mut self) {
        self.now = self.row().wake_at.unwrap();
        self.timer();
    }

    fn forget(&mut self) {
        self.messages.clear();
        self.calls.clear();
    }

    fn try_row(&self) -> Option<&Authorization> {
        self.state.0.get(&checkout()).map(|entered| &entered.row)
    }

    fn row(&self) -> &Authorization {
        self.try_row().unwrap()
    }

    fn is(&self, state: State) {
        assert_eq!(self.row().state, state);
    }

    /// Nothing came out since the last look.
    fn is_silent(&self) {
        assert_eq!((&*self.messages, &*self.calls), (&[][..], &[][..]));
    }

    fn said(&mut self) -> Message {
        assert_eq!(self.messages.len(), 1, "{:?}", self.messages);
        self.messages.remove(0)
    }

    fn said_declined(&mut self, reason: DeclineReason) -> PaymentDeclined {
        match self.said() {
            Message::PaymentDeclined(declined) => {
                assert_eq!(declined.reason, reason);
                assert_eq!(declined.command_id, authorize().command_id);
                declined
            }
            other => panic!("{other:?}"),
        }
    }

    fn said_authorized(&mut self) -> PaymentAuthorized {
        match self.said() {
            Message::PaymentAuthorized(authorized) => authorized,
            other => panic!("{other:?}"),
        }
    }

    fn said_voided(&mut self) -> AuthorizationVoided {
        match self.said() {
            Message::AuthorizationVoided(voided) => {
                assert_eq!(voided.command_id, void().command_id);
                voided
            }
            other => panic!("{other:?}"),
        }
    }

    fn asked(&mut self) -> Request {
        assert_eq!(self.calls.len(), 1, "{:?}", self.calls);
        self.calls.remove(0)
    }
}

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
    assert!(story.state.0.is_empty());
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
fn absurd_payments_are_declined_without_the_gateway() {
    let absurd = [
        (-1, "EUR"),
        (i64::MIN, "EUR"),
        (100, "eur"),
        (100, "EURO"),
        (100, ""),
        (100, "E\0R"),
        (100, "€"),
    ];
    for (amount, currency) in absurd {
        let mut story = Story::new();
        let command = AuthorizePayment {
            amount,
            currency: currency.to_owned(),
            ..authorize()
        };
        story.tell(command.clone()).unwrap();
        story.is(State::Declined);
        let first = story.said_declined(DeclineReason::ProcessingError);
        story.tell(command).unwrap();
        assert_eq!(story.said_declined(DeclineReason::ProcessingError), first);
        assert_eq!(story.calls, []);
        // The table takes three letters.
        assert_eq!(story.row().currency.as_ref().unwrap().len(), 3);
    }
}

#[test]
fn commands_that_contradict_the_checkout_are_refused() {
    let contradictions: [(&str, Message); 6] = [
        (
            "another command id",
            AuthorizePayment {
                command_id: uuid(1),
                ..authorize()
            }
            .into(),
        ),
        (
            "another cart",
            AuthorizePayment {
                cart_id: uuid(1),
                ..authorize()
            }
            .into(),
        ),
        (
            "another amount",
            AuthorizePayment {
                amount: 2_000,
                ..authorize()
            }
            .into(),
        ),
        (
            "another currency",
            AuthorizePayment {
                currency: "USD".to_owned(),
                ..authorize()
            }
            .into(),
        ),
        (
            "a void with the authorization's id",
            VoidAuthorization {
                command_id: authorize().command_id,
                ..void()
            }
            .into(),
        ),
        (
            "a void for another cart",
            VoidAuthorization {
                cart_id: uuid(1),
                ..void()
            }
            .into(),
        ),
    ];
    for (what, command) in contradictions {
        let mut story = Story::authorized();
        let refused = story.tell(command).unwrap_err();
        assert_eq!(refused.code, ErrorCode::ContractViolated, "{what}");
        story.is_silent();
    }

    let mut story = Story::new();
    story.tell(void()).unwrap();
    let other = VoidAuthorization {
        command_id: uuid(1),
        ..void()
    };
    assert!(story.tell(other).is_err());
    let stolen = AuthorizePayment {
        command_id: void().command_id,
        ..authorize()
    };
    assert!(story.tell(stolen).is_err());
}

#[test]
fn a_record_that_is_no_command_is_refused() {
    let mut story = Story::new();
    let stray = CheckoutFailed {
        event_id: uuid::<EventId>(1),
        checkout_id: checkout(),
        cart_id: cart(),
        customer_id: uuid(2),
        reason: FailureReason::TimedOut,
        detail: String::new(),
        unavailable_items: vec![],
        failed_at: story.now,
    };
    let refused = story.tell(stray).unwrap_err();
    assert_eq!(refused.code, ErrorCode::WrongRecordForTopic);
}

#[test]
fn a_command_from_another_partition_takes_the_timer_along() {
    let mut story = Story::authorized();
    story.partition = 3;
    story.tell(void()).unwrap();
    assert_eq!(story.row().home.partition, 3);
    story.asked();
}

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
