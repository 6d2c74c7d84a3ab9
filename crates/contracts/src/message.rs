//! What every message says about itself, whatever its type.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Message,
    ids::{self, CartId, CheckoutId, CommandId, EventId, GenericUuid},
    messages::{CartCheckedOut, SagaOperation, SetStock, StockSet},
};

/// A record that says what it is about. `records!` writes this for commands, replies
/// and events of a checkout; for others it is below.
pub(crate) trait Addressed {
    /// What it says about itself.
    fn envelope(&self) -> Envelope<'_>;
}

/// What the message is addressed by.
enum Subject<'a> {
    Cart(CartId, Option<CheckoutId>),
    Product(&'a str),
}

/// Where the message's identity comes from.
enum Identity {
    /// It has one of its own.
    Own(Uuid),
    Command(CommandId),
    /// It is derived from the command that the message answers.
    Reply(CommandId),
}

/// What every message says about itself.
pub(crate) struct Envelope<'a> {
    subject: Subject<'a>,
    identity: Identity,
    occurred_at: Option<Timestamp>,
}

/// The envelope of a command.
pub(crate) fn command(id: CommandId, checkout: CheckoutId, cart: CartId) -> Envelope<'static> {
    Envelope {
        subject: Subject::Cart(cart, Some(checkout)),
        identity: Identity::Command(id),
        occurred_at: None,
    }
}

/// The envelope of the answer to a command.
pub(crate) fn reply(
    id: CommandId,
    checkout: CheckoutId,
    cart: CartId,
    at: Timestamp,
) -> Envelope<'static> {
    Envelope {
        subject: Subject::Cart(cart, Some(checkout)),
        identity: Identity::Reply(id),
        occurred_at: Some(at),
    }
}

/// The envelope of a fact that answers no command.
pub(crate) fn event(
    id: EventId,
    checkout: CheckoutId,
    cart: CartId,
    at: Timestamp,
) -> Envelope<'static> {
    Envelope {
        subject: Subject::Cart(cart, Some(checkout)),
        identity: Identity::Own(id.into_untyped_uuid()),
        occurred_at: Some(at),
    }
}

impl Addressed for CartCheckedOut {
    fn envelope(&self) -> Envelope<'_> {
        let checkout = ids::checkout_id(self.event_id);
        event(self.event_id, checkout, self.cart_id, self.occurred_at)
    }
}

impl Addressed for SetStock {
    fn envelope(&self) -> Envelope<'_> {
        Envelope {
            subject: Subject::Product(&self.product_id),
            identity: Identity::Command(self.command_id),
            occurred_at: None,
        }
    }
}

impl Addressed for StockSet {
    fn envelope(&self) -> Envelope<'_> {
        Envelope {
            subject: Subject::Product(&self.product_id),
            identity: Identity::Reply(self.command_id),
            occurred_at: Some(self.set_at),
        }
    }
}

impl Addressed for SagaOperation {
    fn envelope(&self) -> Envelope<'_> {
        Envelope {
            subject: Subject::Cart(self.cart_id, self.checkout_id),
            identity: Identity::Own(self.operation_id.into_untyped_uuid()),
            occurred_at: Some(self.requested_at),
        }
    }
}

impl Message {
    /// Key of the Kafka record: the cart's id, or the product's for messages
    /// about stock.
    pub fn key(&self) -> String {
        match self.envelope().subject {
            Subject::Cart(cart, _) => cart.to_string(),
            Subject::Product(product) => product.to_owned(),
        }
    }

    /// The cart the message is about; none for messages about stock.
    pub fn cart_id(&self) -> Option<CartId> {
        match self.envelope().subject {
            Subject::Cart(cart, _) => Some(cart),
            Subject::Product(_) => None,
        }
    }

    /// The checkout the message belongs to. A `CartCheckedOut` belongs to the
    /// one it begins; messages about stock belong to none, and an operator's
    /// input only where it says so.
    pub fn checkout_id(&self) -> Option<CheckoutId> {
        match self.envelope().subject {
            Subject::Cart(_, checkout) => checkout,
            Subject::Product(_) => None,
        }
    }

    /// The command that the message is or answers; none for events and
    /// operators' inputs.
    pub fn command_id(&self) -> Option<CommandId> {
        match self.envelope().identity {
            Identity::Own(_) => None,
            Identity::Command(id) | Identity::Reply(id) => Some(id),
        }
    }

    /// Identity of the message on the wire (`ce_id`): the same whenever the
    /// same message is published again, different for different messages.
    pub fn ce_id(&self) -> Uuid {
        match self.envelope().identity {
            Identity::Own(id) => id,
            Identity::Command(id) => id.into_untyped_uuid(),
            Identity::Reply(id) => Uuid::new_v5(
                id.as_untyped_uuid(),
                self.record_type().full_name().as_bytes(),
            ),
        }
    }

    /// When what the message tells happened; none for commands.
    pub fn occurred_at(&self) -> Option<Timestamp> {
        self.envelope().occurred_at
    }
}
