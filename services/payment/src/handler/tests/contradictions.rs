//! Commands that make no sense.

use super::*;

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
