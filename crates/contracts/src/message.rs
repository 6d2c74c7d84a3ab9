//! What every message says about itself, whatever its type.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Message,
    ids::{self, CartId, CheckoutId, CommandId, EventId, GenericUuid},
};

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

struct Envelope<'a> {
    subject: Subject<'a>,
    identity: Identity,
    occurred_at: Option<Timestamp>,
}

fn command(id: CommandId, checkout: CheckoutId, cart: CartId) -> Envelope<'static> {
    Envelope {
        subject: Subject::Cart(cart, Some(checkout)),
        identity: Identity::Command(id),
        occurred_at: None,
    }
}

fn reply(id: CommandId, checkout: CheckoutId, cart: CartId, at: Timestamp) -> Envelope<'static> {
    Envelope {
        subject: Subject::Cart(cart, Some(checkout)),
        identity: Identity::Reply(id),
        occurred_at: Some(at),
    }
}

fn event(id: EventId, checkout: CheckoutId, cart: CartId, at: Timestamp) -> Envelope<'static> {
    Envelope {
        subject: Subject::Cart(cart, Some(checkout)),
        identity: Identity::Own(id.into_untyped_uuid()),
        occurred_at: Some(at),
    }
}

impl Message {
    fn envelope(&self) -> Envelope<'_> {
        match self {
            Self::CartCheckedOut(m) => {
                let checkout = ids::checkout_id(m.event_id);
                event(m.event_id, checkout, m.cart_id, m.occurred_at)
            }

            Self::ReserveInventory(m) => command(m.command_id, m.checkout_id, m.cart_id),
            Self::ReleaseInventory(m) => command(m.command_id, m.checkout_id, m.cart_id),
            Self::InventoryReserved(m) => {
                reply(m.command_id, m.checkout_id, m.cart_id, m.reserved_at)
            }
            Self::InventoryUnavailable(m) => {
                reply(m.command_id, m.checkout_id, m.cart_id, m.checked_at)
            }
            Self::InventoryReleased(m) => {
                reply(m.command_id, m.checkout_id, m.cart_id, m.released_at)
            }
            Self::ReservationExpired(m) => {
                event(m.event_id, m.checkout_id, m.cart_id, m.expired_at)
            }
            Self::SetStock(m) => Envelope {
                subject: Subject::Product(&m.product_id),
                identity: Identity::Command(m.command_id),
                occurred_at: None,
            },
            Self::StockSet(m) => Envelope {
                subject: Subject::Product(&m.product_id),
                identity: Identity::Reply(m.command_id),
                occurred_at: Some(m.set_at),
            },

            Self::AuthorizePayment(m) => command(m.command_id, m.checkout_id, m.cart_id),
            Self::VoidAuthorization(m) => command(m.command_id, m.checkout_id, m.cart_id),
            Self::PaymentAuthorized(m) => {
                reply(m.command_id, m.checkout_id, m.cart_id, m.authorized_at)
            }
            Self::PaymentDeclined(m) => {
                reply(m.command_id, m.checkout_id, m.cart_id, m.declined_at)
            }
            Self::AuthorizationVoided(m) => {
                reply(m.command_id, m.checkout_id, m.cart_id, m.voided_at)
            }

            Self::CreateOrder(m) => command(m.command_id, m.checkout_id, m.cart_id),
            Self::CancelOrder(m) => command(m.command_id, m.checkout_id, m.cart_id),
            Self::OrderRecorded(m) => reply(m.command_id, m.checkout_id, m.cart_id, m.recorded_at),
            Self::OrderRejected(m) => reply(m.command_id, m.checkout_id, m.cart_id, m.rejected_at),
            Self::OrderCancelled(m) => {
                reply(m.command_id, m.checkout_id, m.cart_id, m.cancelled_at)
            }

            Self::OrderCreated(m) => event(m.event_id, m.checkout_id, m.cart_id, m.created_at),
            Self::CheckoutFailed(m) => event(m.event_id, m.checkout_id, m.cart_id, m.failed_at),
            Self::CheckoutRejected(m) => event(m.event_id, m.checkout_id, m.cart_id, m.rejected_at),
            Self::SagaSnapshot(m) => event(m.event_id, m.checkout_id, m.cart_id, m.at),
            Self::SagaStuck(m) => event(m.event_id, m.checkout_id, m.cart_id, m.at),
            Self::SagaOperation(m) => Envelope {
                subject: Subject::Cart(m.cart_id, m.checkout_id),
                identity: Identity::Own(m.operation_id.into_untyped_uuid()),
                occurred_at: Some(m.requested_at),
            },
        }
    }

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
