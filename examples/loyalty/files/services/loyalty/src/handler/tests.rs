//! Stories of one checkout, told without a database.

use contracts::TraceContext;
use contracts::ids::{self, CheckoutId, CustomerId};
use jiff::SignedDuration;

use super::*;

/// A loyalty service whose rows are all in memory, and a clock that the story moves.
struct Story {
    state: State,
    now: Timestamp,
}

impl Story {
    fn new() -> Self {
        Self {
            state: State::default(),
            now: "2026-03-01T12:00:00.123456789Z".parse().unwrap(),
        }
    }

    fn told(&mut self, command: impl Into<Message>) -> Result<Message, Poison> {
        self.now += SignedDuration::from_secs(1);
        let input = input(self.now, command.into());
        let mut out = Outbox::default();
        Loyalty { max_points: 1_000 }.handle(&mut self.state, &input, &mut out)?;
        let [answer] = out.messages() else {
            panic!("one answer to each command");
        };
        Ok(answer.clone())
    }

    fn state(&self) -> &'static str {
        self.state.get(&checkout()).unwrap().state()
    }
}

fn input(now: Timestamp, command: Message) -> Input<Infallible> {
    Input {
        offset: None,
        home: Home {
            topic: Topic::LoyaltyCommands,
            partition: 0,
        },
        now,
        trace: TraceContext::new_root(),
        body: Body::Message(command),
    }
}

fn checkout() -> CheckoutId {
    CheckoutId::from_untyped_uuid(Uuid::from_u128(1))
}

fn award(amount: i64) -> AwardPoints {
    AwardPoints {
        command_id: ids::command_id(checkout(), RecordType::AwardPoints),
        checkout_id: checkout(),
        cart_id: CartId::from_untyped_uuid(Uuid::from_u128(2)),
        customer_id: CustomerId::from_untyped_uuid(Uuid::from_u128(3)),
        amount,
        currency: "EUR".into(),
    }
}

fn revocation() -> RevokePoints {
    RevokePoints {
        command_id: ids::command_id(checkout(), RecordType::RevokePoints),
        checkout_id: checkout(),
        cart_id: CartId::from_untyped_uuid(Uuid::from_u128(2)),
        award_id: None,
    }
}

#[test]
fn a_full_hundred_earns_a_point() {
    for (amount, points) in [(0, 0), (99, 0), (100, 1), (2_099, 20)] {
        let Message::PointsAwarded(awarded) = Story::new().told(award(amount)).unwrap() else {
            panic!("{amount} is refused");
        };
        assert_eq!(awarded.points, points, "{amount}");
        assert_eq!(awarded.award_id, award_id(checkout()));
    }
}

#[test]
fn more_points_than_an_order_may_earn_are_refused() {
    for amount in [100_100, i64::MAX, -100] {
        let Message::PointsRefused(refused) = Story::new().told(award(amount)).unwrap() else {
            panic!("{amount} is awarded");
        };
        assert_eq!(refused.reason, PointsRefusedReason::TooMany);
    }
    let mut story = Story::new();
    story.told(award(100_000)).unwrap();
    assert_eq!(story.state(), "AWARDED");
}

#[test]
fn a_repeated_command_is_answered_as_before() {
    let mut story = Story::new();
    let awarded = story.told(award(2_000)).unwrap();
    assert_eq!(story.told(award(2_000)).unwrap(), awarded);
    let revoked = story.told(revocation()).unwrap();
    assert_eq!(story.told(revocation()).unwrap(), revoked);
    assert_eq!(story.state(), "REVOKED");
    let mut story = Story::new();
    let refused = story.told(award(i64::MAX)).unwrap();
    assert_eq!(story.told(award(i64::MAX)).unwrap(), refused);
    story.told(revocation()).unwrap();
    assert_eq!(story.told(award(i64::MAX)).unwrap(), refused);
}

#[test]
fn an_award_that_comes_after_its_revocation_is_refused() {
    let mut story = Story::new();
    let Message::PointsRevoked(revoked) = story.told(revocation()).unwrap() else {
        panic!("a revocation is always acknowledged");
    };
    assert_eq!(revoked.award_id, None);
    let late = story.told(award(2_000)).unwrap();
    let Message::PointsRefused(refused) = &late else {
        panic!("{late:?}");
    };
    assert_eq!(refused.reason, PointsRefusedReason::Revoked);
    assert_eq!(story.told(award(2_000)).unwrap(), late);
    assert_eq!(story.state(), "REVOKED");
}

#[test]
fn a_command_that_contradicts_its_row_is_poison_and_changes_nothing() {
    let mut story = Story::new();
    story.told(award(2_000)).unwrap();
    let other_cart = CartId::from_untyped_uuid(Uuid::from_u128(9));
    let other_command = CommandId::from_untyped_uuid(Uuid::from_u128(9));
    let contradictions: [Message; 3] = [
        AwardPoints {
            cart_id: other_cart,
            ..award(2_000)
        }
        .into(),
        AwardPoints {
            command_id: other_command,
            ..award(2_000)
        }
        .into(),
        RevokePoints {
            cart_id: other_cart,
            ..revocation()
        }
        .into(),
    ];
    for command in contradictions {
        let poison = story.told(command).unwrap_err();
        assert_eq!(poison.code, ErrorCode::ContractViolated);
        assert_eq!(story.state(), "AWARDED");
    }
}

#[test]
fn an_award_is_taken_for_new_until_its_insert_and_what_is_revoked_is_read() {
    let service = Loyalty { max_points: 1_000 };
    let batch = [input(Timestamp::UNIX_EPOCH, award(2_000).into())];
    let mut state = service.recall(&batch, &mut ()).unwrap();
    assert!(!service.is_certain(&state));
    service
        .handle(&mut state, &batch[0], &mut Outbox::default())
        .unwrap();
    assert!(service.is_certain(&state));
    let batch = [input(Timestamp::UNIX_EPOCH, revocation().into())];
    assert!(service.recall(&batch, &mut ()).is_none());
}
