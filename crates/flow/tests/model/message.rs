//! What goes over the topics, in a bit each.

use std::fmt;

use contracts::{RecordType, ids, ids::CheckoutId};
use flow::Step;
use uuid::Uuid;

use contracts::ids::GenericUuid;

/// A checkout of the model: there are two.
pub(crate) type Checkout = usize;

/// Every checkout of the model.
pub(crate) const CHECKOUTS: [Checkout; 2] = [0, 1];

/// The id of a checkout in the contracts.
pub(crate) fn checkout_id(checkout: Checkout) -> CheckoutId {
    CheckoutId::from_untyped_uuid(Uuid::from_u128(0x1000 + checkout as u128))
}

/// The checkout of an id in the contracts.
pub(crate) fn checkout_of(id: CheckoutId) -> Checkout {
    CHECKOUTS
        .into_iter()
        .find(|checkout| checkout_id(*checkout) == id)
        .expect("the saga speaks of a checkout that was asked for")
}

/// A step whose participant the model has. Further steps are done, and undone, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Explored {
    ReserveInventory,
    AuthorizePayment,
    CreateOrder,
}

impl Explored {
    const ALL: [Explored; 3] = [
        Explored::ReserveInventory,
        Explored::AuthorizePayment,
        Explored::CreateOrder,
    ];

    pub(crate) const fn step(self) -> Step {
        match self {
            Explored::ReserveInventory => Step::ReserveInventory,
            Explored::AuthorizePayment => Step::AuthorizePayment,
            Explored::CreateOrder => Step::CreateOrder,
        }
    }

    /// `None` for a further step.
    pub(crate) fn of(step: Step) -> Option<Explored> {
        Explored::ALL
            .into_iter()
            .find(|explored| explored.step() == step)
    }
}

/// A command or a reply of one checkout. On a topic it stays what it is however
/// often it is sent, for its content is derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Kind {
    Reserve,
    Release,
    Authorize,
    Void,
    Create,
    Cancel,
    Reserved,
    Unavailable,
    Released,
    Authorized,
    Declined,
    Voided,
    Recorded,
    Rejected,
    Cancelled,
    Expired,
}

impl Kind {
    pub(crate) const COMMANDS: [Kind; 6] = [
        Kind::Reserve,
        Kind::Release,
        Kind::Authorize,
        Kind::Void,
        Kind::Create,
        Kind::Cancel,
    ];

    pub(crate) const REPLIES: [Kind; 10] = [
        Kind::Reserved,
        Kind::Unavailable,
        Kind::Released,
        Kind::Authorized,
        Kind::Declined,
        Kind::Voided,
        Kind::Recorded,
        Kind::Rejected,
        Kind::Cancelled,
        Kind::Expired,
    ];

    /// The record of the contracts.
    pub(crate) const fn record(self) -> RecordType {
        match self {
            Kind::Reserve => RecordType::ReserveInventory,
            Kind::Release => RecordType::ReleaseInventory,
            Kind::Authorize => RecordType::AuthorizePayment,
            Kind::Void => RecordType::VoidAuthorization,
            Kind::Create => RecordType::CreateOrder,
            Kind::Cancel => RecordType::CancelOrder,
            Kind::Reserved => RecordType::InventoryReserved,
            Kind::Unavailable => RecordType::InventoryUnavailable,
            Kind::Released => RecordType::InventoryReleased,
            Kind::Authorized => RecordType::PaymentAuthorized,
            Kind::Declined => RecordType::PaymentDeclined,
            Kind::Voided => RecordType::AuthorizationVoided,
            Kind::Recorded => RecordType::OrderRecorded,
            Kind::Rejected => RecordType::OrderRejected,
            Kind::Cancelled => RecordType::OrderCancelled,
            Kind::Expired => RecordType::ReservationExpired,
        }
    }

    /// The command of a record; `None` where it is none.
    pub(crate) fn command(record: RecordType) -> Option<Kind> {
        Kind::COMMANDS
            .into_iter()
            .find(|kind| kind.record() == record)
    }

    /// The acknowledgement that a step is undone.
    pub(crate) fn undone(step: Step) -> Kind {
        Kind::reply(step.definition().compensation.acknowledged_by)
    }

    /// The refusal of a step.
    pub(crate) fn refused(step: Step) -> Kind {
        Kind::reply(step.definition().failures.first.record)
    }

    fn reply(record: RecordType) -> Kind {
        Kind::REPLIES
            .into_iter()
            .find(|kind| kind.record() == record)
            .unwrap_or_else(|| panic!("{record} comes from no participant of the model"))
    }

    /// The command that a reply answers; itself, for an event that answers none.
    pub(crate) const fn answers(self) -> Kind {
        match self {
            Kind::Reserved | Kind::Unavailable => Kind::Reserve,
            Kind::Released => Kind::Release,
            Kind::Authorized | Kind::Declined => Kind::Authorize,
            Kind::Voided => Kind::Void,
            Kind::Recorded | Kind::Rejected => Kind::Create,
            Kind::Cancelled => Kind::Cancel,
            other => other,
        }
    }

    /// The id of the command that a reply answers.
    pub(crate) fn command_id(self, checkout: Checkout) -> ids::CommandId {
        ids::command_id(checkout_id(checkout), self.answers().record())
    }
}

/// Commands and replies of one checkout.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Kinds(u16);

impl Kinds {
    pub(crate) const fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    pub(crate) const fn add(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u8;
    }

    pub(crate) const fn remove(&mut self, kind: Kind) {
        self.0 &= !(1 << kind as u8);
    }

    pub(crate) const fn with(self, others: Kinds) -> Kinds {
        Kinds(self.0 | others.0)
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = Kind::COMMANDS.into_iter().chain(Kind::REPLIES);
        f.debug_set()
            .entries(kinds.filter(|kind| self.has(*kind)))
            .finish()
    }
}

/// How a checkout ended, as outsiders are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    Ordered,
    Failed,
    TurnedAway,
}

impl Ending {
    pub(crate) const ALL: [Ending; 3] = [Ending::Ordered, Ending::Failed, Ending::TurnedAway];

    pub(crate) const fn of(record: RecordType) -> Option<Ending> {
        match record {
            RecordType::OrderCreated => Some(Ending::Ordered),
            RecordType::CheckoutFailed => Some(Ending::Failed),
            RecordType::CheckoutRejected => Some(Ending::TurnedAway),
            _ => None,
        }
    }
}

/// An output on a public topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Outcome {
    pub(crate) checkout: Checkout,
    pub(crate) ending: Ending,
}

impl Outcome {
    pub(crate) fn to_byte(self) -> u8 {
        u8::try_from(self.checkout * Ending::ALL.len()).unwrap() + self.ending as u8
    }

    pub(crate) fn from_byte(byte: u8) -> Self {
        let byte = usize::from(byte);
        Self {
            checkout: byte / Ending::ALL.len(),
            ending: Ending::ALL[byte % Ending::ALL.len()],
        }
    }
}
