//! One state of the whole system: databases, topics, the gateway and what the
//! instances of the orchestrator remember.

use flow::Step;

use crate::{
    core::SagaRef,
    message::{Checkout, Ending, Explored, Kind, Kinds, Outcome},
};

/// Everything, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// The orchestrator's rows, by cart.
    pub(crate) sagas: [Option<SagaRef>; 2],
    /// Those rows as another instance kept them from its last batch, see
    /// [`crate::kept`].
    pub(crate) kept: [Option<SagaRef>; 2],
    /// Requests that the progress row has not passed yet.
    pub(crate) unread: [bool; 2],
    /// What was put on the inner topics: it may arrive at any time, in any order, any
    /// number of times.
    pub(crate) sent: [Kinds; 2],
    /// What of it was lost, and not sent again since.
    pub(crate) lost: [Kinds; 2],
    /// Pieces reserved, as the stock row has it.
    pub(crate) reserved: u8,
    pub(crate) reservations: [Reservation; 2],
    pub(crate) authorizations: [Authorization; 2],
    pub(crate) gateway: [Gateway; 2],
    pub(crate) orders: [Order; 2],
    /// The orchestrator's progress row.
    pub(crate) row: Row,
    /// The instance that the group gave the partitions to.
    pub(crate) owner: Instance,
    /// One that had them before, and does not know that it lost them.
    pub(crate) former: Option<Instance>,
    /// The number of the last output published, committed with the group's offsets.
    pub(crate) mark: u8,
    /// How often a `read_committed` reader saw each outcome; 2 stands for more.
    pub(crate) read: [[u8; 3]; 2],
    /// Faults that may still happen.
    pub(crate) faults: Faults,
}

/// What the inventory service knows of a checkout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Reservation {
    #[default]
    Unknown,
    Held,
    Refused,
    Released,
}

/// What the payment service knows of a checkout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Authorization {
    #[default]
    Unknown,
    Requested {
        void: bool,
    },
    Authorized,
    Declined,
    Voiding,
    Voided,
}

/// What the payment gateway knows of a checkout, by its idempotency key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Gateway {
    /// A call to authorize was made, and may still arrive.
    pub(crate) asked: bool,
    /// A call to void was made, and may still arrive.
    pub(crate) asked_to_void: bool,
    pub(crate) hold: Hold,
    /// Holds placed; one is right.
    pub(crate) placed: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Hold {
    #[default]
    None,
    Placed,
    Refused,
    GivenUp,
}

/// What the order service knows of a checkout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    #[default]
    Unknown,
    Recorded,
    Rejected,
    Cancelled,
}

/// The orchestrator's progress row: where reading stands (see
/// [`World::unread`]), what may not be on Kafka yet, the last number given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    pub(crate) outputs: Outputs,
    pub(crate) sequence: u8,
}

/// Outputs of the orchestrator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Outputs {
    pub(crate) commands: [Kinds; 2],
    pub(crate) public: Numbered,
}

/// Public outputs in the order of their numbers, which begin with 1. In bytes,
/// since worlds are hashed more than anything else is done with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Numbered {
    numbers: [u8; 4],
    outcomes: [u8; 4],
}

impl Numbered {
    pub(crate) fn push(&mut self, number: u8, outcome: Outcome) {
        let free = self.numbers.iter().position(|number| *number == 0);
        let free = free.expect("two checkouts have no more outcomes under way");
        self.numbers[free] = number;
        self.outcomes[free] = outcome.to_byte();
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = (u8, Outcome)> {
        self.numbers
            .into_iter()
            .zip(self.outcomes)
            .take_while(|(number, _)| *number != 0)
            .map(|(number, outcome)| (number, Outcome::from_byte(outcome)))
    }

    pub(crate) fn first(self) -> Option<(u8, Outcome)> {
        self.iter().next()
    }

    pub(crate) fn pop(&mut self) {
        self.numbers.rotate_left(1);
        self.outcomes.rotate_left(1);
        self.numbers[3] = 0;
        self.outcomes[3] = 0;
    }

    pub(crate) fn drop_up_to(&mut self, number: u8) {
        while self.first().is_some_and(|(first, _)| first <= number) {
            self.pop();
        }
    }
}

impl Outputs {
    pub(crate) fn is_empty(self) -> bool {
        self.commands.iter().all(|kinds| kinds.is_empty()) && self.public.first().is_none()
    }
}

/// An instance of the orchestrator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Instance {
    /// Whether its generation of the group is the current one.
    pub(crate) member: bool,
    /// Whether it has claimed the row.
    pub(crate) claimed: bool,
    /// Whether the row still has the epoch that it claimed.
    pub(crate) current: bool,
    /// Its outputs that are not acknowledged.
    pub(crate) outputs: Outputs,
    /// The last number that it gave.
    pub(crate) sequence: u8,
    /// What a batch put out that was committed without the instance learning of it.
    pub(crate) doubt: Option<Outputs>,
}

/// How many faults may happen in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// An instance loses its memory.
    pub(crate) crashes: u8,
    /// An instance loses its partitions and does not know it.
    pub(crate) takeovers: u8,
    /// A commit is done and its answer is lost.
    pub(crate) lost_answers: u8,
    /// A record leaves its topic unread.
    pub(crate) lost_records: u8,
}

impl World {
    /// Puts a record on its topic.
    pub(crate) fn send(&mut self, checkout: Checkout, kind: Kind) {
        self.sent[checkout].add(kind);
        self.lost[checkout].remove(kind);
    }

    /// Whether a record is on its topic.
    pub(crate) fn has(&self, checkout: Checkout, kind: Kind) -> bool {
        self.sent[checkout].has(kind) && !self.lost[checkout].has(kind)
    }

    /// The commands of a checkout that were committed, sent or not.
    pub(crate) fn commanded(&self, checkout: Checkout) -> Kinds {
        let mut all = self.sent[checkout];
        self.each_output(|outputs| all = all.with(outputs.commands[checkout]));
        all
    }

    /// Whether an outcome was committed, published or not.
    pub(crate) fn told(&self, checkout: Checkout, ending: Ending) -> bool {
        let mut found = self.read[checkout][ending as usize] > 0;
        self.each_output(|outputs| {
            found |= outputs
                .public
                .iter()
                .any(|(_, outcome)| outcome == Outcome { checkout, ending });
        });
        found
    }

    fn each_output(&self, mut see: impl FnMut(&Outputs)) {
        see(&self.row.outputs);
        for instance in [Some(&self.owner), self.former.as_ref()]
            .into_iter()
            .flatten()
        {
            see(&instance.outputs);
            if let Some(outputs) = &instance.doubt {
                see(outputs);
            }
        }
    }

    pub(crate) fn each_output_mut(&mut self, mut change: impl FnMut(&mut Outputs)) {
        change(&mut self.row.outputs);
        for instance in [Some(&mut self.owner), self.former.as_mut()]
            .into_iter()
            .flatten()
        {
            change(&mut instance.outputs);
            if let Some(outputs) = &mut instance.doubt {
                change(outputs);
            }
        }
    }

    /// Whether stock is held for a checkout.
    pub(crate) fn holds_stock(&self, checkout: Checkout) -> bool {
        self.reservations[checkout] == Reservation::Held
    }

    /// Whether money is held for a checkout, by the payment service's rows or at
    /// the gateway.
    pub(crate) fn holds_money(&self, checkout: Checkout) -> bool {
        self.authorizations[checkout] == Authorization::Authorized
            || self.gateway[checkout].hold == Hold::Placed
    }

    /// Whether an order of a checkout stands.
    pub(crate) fn order_stands(&self, checkout: Checkout) -> bool {
        self.orders[checkout] == Order::Recorded
    }

    /// Whether the order service has refused or cancelled the order for good, or
    /// was never asked for it.
    pub(crate) fn no_order_can_stand(&self, checkout: Checkout) -> bool {
        matches!(self.orders[checkout], Order::Rejected | Order::Cancelled)
            || !self.commanded(checkout).has(Kind::Create)
    }

    /// Whether the participant of a step holds nothing, and will refuse its command.
    pub(crate) fn is_settled(&self, checkout: Checkout, step: Step) -> bool {
        match Explored::of(step) {
            Some(Explored::ReserveInventory) => matches!(
                self.reservations[checkout],
                Reservation::Refused | Reservation::Released
            ),
            Some(Explored::AuthorizePayment) => matches!(
                self.authorizations[checkout],
                Authorization::Declined | Authorization::Voided
            ),
            Some(Explored::CreateOrder) => {
                matches!(self.orders[checkout], Order::Rejected | Order::Cancelled)
            }
            None => true,
        }
    }

    /// Whether no money is held for a checkout, nor ever will be, by what was asked
    /// so far.
    pub(crate) fn no_money_can_be_held(&self, checkout: Checkout) -> bool {
        matches!(
            self.authorizations[checkout],
            Authorization::Declined | Authorization::Voided
        ) && self.gateway[checkout].hold != Hold::Placed
            || !self.commanded(checkout).has(Kind::Authorize)
    }
}
