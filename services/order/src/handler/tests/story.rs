//! What stories are told with: orders in memory, and the commands of checkouts by number.

use contracts::TraceContext;
use contracts::ids::{self, AuthorizationId, CheckoutId, CustomerId};
use contracts::messages::{
    CancelOrder, CancelReason, CreateOrder, OrderCancelled, OrderLine, OrderRecorded, OrderRejected,
};
use jiff::SignedDuration;

use super::super::*;

/// An order service whose rows are all in memory, and a clock that the story moves.
pub(super) struct Story {
    pub(super) state: State,
    pub(super) now: Timestamp,
}

/// A record that the order service publishes.
pub(super) trait Reply: Sized {
    fn of(message: &Message) -> Option<Self>;
}

macro_rules! replies {
    ($($record:ident)*) => {$(
        impl Reply for $record {
            fn of(message: &Message) -> Option<Self> {
                match message {
                    Message::$record(record) => Some(record.clone()),
                    _ => None,
                }
            }
        }
    )*};
}

replies! { OrderRecorded OrderRejected OrderCancelled }

impl Story {
    pub(super) fn new() -> Self {
        Self {
            state: State::default(),
            now: "2026-03-01T12:00:00.123456789Z".parse().unwrap(),
        }
    }

    pub(super) fn a_second_passes(&mut self) {
        self.now += SignedDuration::from_secs(1);
    }

    pub(super) fn input(&mut self, message: Message) -> Result<Vec<Message>, Poison> {
        let input = Input {
            offset: None,
            home: Home {
                topic: Topic::OrderingCommands,
                partition: 0,
            },
            now: self.now,
            trace: TraceContext::new_root(),
            body: Body::Message(message),
        };
        let mut out = Outbox::default();
        Orders.handle(&mut self.state, &input, &mut out)?;
        Ok(out.messages().to_vec())
    }

    /// The one reply to a command.
    pub(super) fn one<R: Reply>(&mut self, command: impl Into<Message>) -> R {
        let replies = self.input(command.into()).unwrap();
        let [reply] = replies.as_slice() else {
            panic!("{replies:?}");
        };
        R::of(reply).unwrap_or_else(|| panic!("{reply:?}"))
    }

    pub(super) fn rejected(
        &mut self,
        command: impl Into<Message>,
    ) -> contracts::messages::OrderRejectReason {
        self.one::<OrderRejected>(command).reason
    }

    pub(super) fn refused(&mut self, command: impl Into<Message>) -> String {
        let before = format!("{:?}", self.state);
        let poison = self.input(command.into()).unwrap_err();
        assert_eq!(poison.code, ErrorCode::ContractViolated);
        assert_eq!(
            before,
            format!("{:?}", self.state),
            "a refusal changes nothing"
        );
        poison.detail
    }

    pub(super) fn state_of(&self, number: u128) -> &'static str {
        self.state.orders.get(&checkout(number)).unwrap().state()
    }
}

pub(super) fn checkout(number: u128) -> CheckoutId {
    CheckoutId::from_untyped_uuid(Uuid::from_u128(number))
}

pub(super) fn cart(number: u128) -> CartId {
    CartId::from_untyped_uuid(Uuid::from_u128(1_000 + number))
}

/// The creation of checkout `number` of cart `of`.
pub(super) fn create_of(number: u128, of: u128) -> CreateOrder {
    CreateOrder {
        command_id: ids::command_id(checkout(number), RecordType::CreateOrder),
        checkout_id: checkout(number),
        cart_id: cart(of),
        customer_id: CustomerId::from_untyped_uuid(Uuid::from_u128(5)),
        items: vec![line("tea", 2, 450), line("cup", 1, 1_200)],
        total: 2_000,
        currency: "EUR".into(),
        payment_authorization_id: AuthorizationId::from_untyped_uuid(Uuid::from_u128(6)),
    }
}

/// The creation of checkout `number` of a cart of its own.
pub(super) fn create(number: u128) -> CreateOrder {
    create_of(number, number)
}

pub(super) fn line(product: &str, quantity: i32, unit_price: i64) -> OrderLine {
    OrderLine {
        product_id: product.into(),
        quantity,
        unit_price,
    }
}

pub(super) fn cancel_of(number: u128, of: u128) -> CancelOrder {
    CancelOrder {
        command_id: ids::command_id(checkout(number), RecordType::CancelOrder),
        checkout_id: checkout(number),
        cart_id: cart(of),
        order_id: None,
        reason: CancelReason::CheckoutFailed,
    }
}

pub(super) fn cancel(number: u128) -> CancelOrder {
    cancel_of(number, number)
}

pub(super) fn foreign() -> CommandId {
    CommandId::from_untyped_uuid(Uuid::from_u128(77))
}
