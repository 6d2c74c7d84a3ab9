//! What stories are told with: an inventory in memory, and the commands of checkouts by number.

use contracts::TraceContext;
use contracts::ids::{CartId, CheckoutId, CommandId};
use contracts::messages::{
    InventoryReleased, InventoryReserved, InventoryUnavailable, ReleaseInventory, ReleaseReason,
    ReservationItem, ReserveInventory, SetStock, StockSet,
};

use super::super::*;
use crate::state::Stock;

pub(super) const HOME: Home = Home {
    topic: Topic::InventoryCommands,
    partition: 3,
};

/// A record that inventory publishes.
pub(super) trait Out: Sized {
    fn of(message: &Message) -> Option<Self>;
}

macro_rules! outputs {
    ($($record:ident)*) => {$(
        impl Out for $record {
            fn of(message: &Message) -> Option<Self> {
                match message {
                    Message::$record(record) => Some(record.clone()),
                    _ => None,
                }
            }
        }
    )*};
}

outputs! { InventoryReserved InventoryUnavailable InventoryReleased StockSet }

/// An inventory whose rows are all in memory, and a clock that the story moves.
pub(super) struct Story {
    pub(super) inventory: Inventory,
    pub(super) state: State,
    pub(super) now: Timestamp,
}

impl Story {
    pub(super) fn with_stock(stock: &[(&str, i64)]) -> Self {
        let set = |on_hand| Stock {
            on_hand,
            reserved: 0,
            set_command_id: CommandId::from_untyped_uuid(Uuid::nil()),
            reserved_when_set: 0,
            set_at: Timestamp::UNIX_EPOCH,
        };
        let rows = stock
            .iter()
            .map(|(id, pieces)| ((*id).to_owned(), set(*pieces)));
        Self {
            inventory: Inventory::default(),
            state: State {
                stock: rows.collect(),
                ..State::default()
            },
            now: "2026-03-01T12:00:00.123456789Z".parse().unwrap(),
        }
    }

    pub(super) fn promising_for(mut self, seconds: i64) -> Self {
        self.inventory.reservation_ttl = Some(SignedDuration::from_secs(seconds));
        self
    }

    pub(super) fn seconds_pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub(super) fn input(&mut self, body: Body<Infallible>) -> Result<Vec<Message>, Poison> {
        let input = Input {
            offset: None,
            home: HOME,
            now: self.now,
            trace: TraceContext::new_root(),
            body,
        };
        let mut out = Outbox::default();
        self.inventory.handle(&mut self.state, &input, &mut out)?;
        Ok(out.messages().to_vec())
    }

    pub(super) fn all(&mut self, command: impl Into<Message>) -> Vec<Message> {
        self.input(Body::Message(command.into())).unwrap()
    }

    /// The one answer to a command.
    pub(super) fn one<R: Out>(&mut self, command: impl Into<Message>) -> R {
        let answers = self.all(command);
        let [answer] = answers.as_slice() else {
            panic!("{answers:?}");
        };
        R::of(answer).unwrap_or_else(|| panic!("{answer:?}"))
    }

    pub(super) fn refused(&mut self, command: impl Into<Message>) -> String {
        let before = format!("{:?}", self.state);
        let poison = self.input(Body::Message(command.into())).unwrap_err();
        assert_eq!(poison.code, ErrorCode::ContractViolated);
        assert_eq!(
            before,
            format!("{:?}", self.state),
            "a refusal changes nothing"
        );
        poison.detail
    }

    pub(super) fn timer(&mut self, checkout: CheckoutId) -> Vec<Message> {
        self.input(Body::Timer(checkout.into_untyped_uuid()))
            .unwrap()
    }

    /// On hand and reserved.
    pub(super) fn stock(&self, product: &str) -> (i64, i64) {
        let stock = self.state.stock.get(product).unwrap();
        (stock.on_hand, stock.reserved)
    }
}

pub(super) fn checkout(number: u128) -> CheckoutId {
    CheckoutId::from_untyped_uuid(Uuid::from_u128(number))
}

pub(super) fn cart(number: u128) -> CartId {
    CartId::from_untyped_uuid(Uuid::from_u128(1_000 + number))
}

pub(super) fn reserve(number: u128, items: &[(&str, i32)]) -> ReserveInventory {
    ReserveInventory {
        command_id: ids::command_id(checkout(number), RecordType::ReserveInventory),
        checkout_id: checkout(number),
        cart_id: cart(number),
        customer_id: None,
        items: items
            .iter()
            .map(|(product_id, quantity)| ReservationItem {
                product_id: (*product_id).to_owned(),
                quantity: *quantity,
            })
            .collect(),
    }
}

pub(super) fn release(number: u128) -> ReleaseInventory {
    ReleaseInventory {
        command_id: ids::command_id(checkout(number), RecordType::ReleaseInventory),
        checkout_id: checkout(number),
        cart_id: cart(number),
        reservation_id: None,
        reason: ReleaseReason::CheckoutFailed,
    }
}

pub(super) fn set_stock(product: &str, on_hand: i64, command: u128) -> SetStock {
    SetStock {
        command_id: CommandId::from_untyped_uuid(Uuid::from_u128(command)),
        product_id: product.to_owned(),
        on_hand,
    }
}
