//! What always holds, in one sentence each, and what a run must reach so that it
//! is worth something.

use contracts::messages::SagaState;
use flow::Step;
use stateright::Property;

use crate::{
    message::{CHECKOUTS, Checkout, Ending, Kind},
    model::Model,
    mutation::Mutation,
    participants::ON_HAND,
    world::{Authorization, World},
};

/// A property of every world that can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    OrderHasItsHolds,
    OrderIsNotUndone,
    FailureHoldsNothing,
    OneOutcome,
    ReadOnce,
    OrderFateFirst,
    ReverseOrder,
    NotOversold,
    HeldOnce,
    OneOrder,
    EndsWell,
}

impl Promise {
    pub(crate) const ALL: &[Promise] = &[
        Promise::OrderHasItsHolds,
        Promise::OrderIsNotUndone,
        Promise::FailureHoldsNothing,
        Promise::OneOutcome,
        Promise::ReadOnce,
        Promise::OrderFateFirst,
        Promise::ReverseOrder,
        Promise::NotOversold,
        Promise::HeldOnce,
        Promise::OneOrder,
        Promise::EndsWell,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Promise::OrderHasItsHolds => "an announced order has its holds",
            Promise::OrderIsNotUndone => "an announced order is not undone",
            Promise::FailureHoldsNothing => "a failed checkout holds nothing",
            Promise::OneOutcome => "a checkout has one outcome",
            Promise::ReadOnce => "an outcome is read once",
            Promise::OrderFateFirst => "the order's fate comes first",
            Promise::ReverseOrder => "undoing goes in reverse order",
            Promise::NotOversold => "stock is not oversold",
            Promise::HeldOnce => "what is held is held once",
            Promise::OneOrder => "one piece makes one order",
            Promise::EndsWell => "every checkout ends",
        }
    }

    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Promise::OrderHasItsHolds => {
                "From `OrderCreated` on, the checkout's stock is reserved, its money is \
                 authorized, and its order is in the order database."
            }
            Promise::OrderIsNotUndone => {
                "No compensation is ever sent for a checkout whose `OrderCreated` was decided."
            }
            Promise::FailureHoldsNothing => {
                "From `CheckoutFailed` on, no stock, money or order is held for the checkout, and \
                 no command that arrives late makes it so."
            }
            Promise::OneOutcome => {
                "At most one of `OrderCreated`, `CheckoutFailed` and `CheckoutRejected` is decided \
                 for a checkout."
            }
            Promise::ReadOnce => {
                "A reader of committed records sees the outcome of a checkout at most once."
            }
            Promise::OrderFateFirst => {
                "While an order was asked for and is neither refused nor cancelled, no money and \
                 no stock is given back."
            }
            Promise::ReverseOrder => {
                "While money was asked for and is neither refused nor given up, no stock is given \
                 back."
            }
            Promise::NotOversold => "No more pieces are reserved than there are.",
            Promise::HeldOnce => {
                "The stock row counts each reservation once, and the gateway places one hold for a \
                 checkout at most."
            }
            Promise::OneOrder => {
                "Of two carts that want the last piece, and of two checkouts of one cart, at most \
                 one is ordered."
            }
            Promise::EndsWell => {
                "Wherever faults cease, each checkout comes to one outcome that is published, and \
                 holds what the outcome says and nothing else."
            }
        }
    }

    pub(crate) const fn condition(self) -> fn(&Model, &World) -> bool {
        match self {
            Promise::OrderHasItsHolds => |_, world| {
                with(world, Ending::Ordered, |checkout| {
                    world.holds_stock(checkout)
                        && world.authorizations[checkout] == Authorization::Authorized
                        && world.holds_money(checkout)
                        && world.order_stands(checkout)
                })
            },
            Promise::OrderIsNotUndone => |_, world| {
                with(world, Ending::Ordered, |checkout| {
                    let commanded = world.commanded(checkout);
                    ![Kind::Release, Kind::Void, Kind::Cancel]
                        .into_iter()
                        .any(|kind| commanded.has(kind))
                })
            },
            Promise::FailureHoldsNothing => |_, world| {
                with(world, Ending::Failed, |checkout| {
                    !world.holds_stock(checkout)
                        && !world.holds_money(checkout)
                        && !world.order_stands(checkout)
                })
            },
            Promise::OneOutcome => |_, world| {
                CHECKOUTS.into_iter().all(|checkout| {
                    let told = |ending: &&Ending| world.told(checkout, **ending);
                    Ending::ALL.iter().filter(told).count() <= 1
                })
            },
            Promise::ReadOnce => |_, world| {
                let mut read = world.read.iter().flatten();
                read.all(|times| *times <= 1)
            },
            Promise::OrderFateFirst => |_, world| {
                CHECKOUTS.into_iter().all(|checkout| {
                    let commanded = world.commanded(checkout);
                    !(commanded.has(Kind::Void) || commanded.has(Kind::Release))
                        || world.no_order_can_stand(checkout)
                })
            },
            Promise::ReverseOrder => |_, world| {
                CHECKOUTS.into_iter().all(|checkout| {
                    !world.commanded(checkout).has(Kind::Release)
                        || world.no_money_can_be_held(checkout)
                })
            },
            Promise::NotOversold => |_, world| {
                let held = |checkout: &Checkout| world.holds_stock(*checkout);
                CHECKOUTS.into_iter().filter(held).count() <= usize::from(ON_HAND)
            },
            Promise::HeldOnce => |_, world| {
                let held = |checkout: &Checkout| world.holds_stock(*checkout);
                CHECKOUTS.into_iter().filter(held).count() == usize::from(world.reserved)
                    && world.gateway.iter().all(|gateway| gateway.placed <= 1)
            },
            Promise::OneOrder => |_, world| {
                let ordered = |checkout: &Checkout| world.told(*checkout, Ending::Ordered);
                CHECKOUTS.into_iter().filter(ordered).count() <= 1
            },
            Promise::EndsWell => |model, world| model.ends_well(world),
        }
    }

    /// The guards without which it does not hold: each is taken away in a test.
    pub(crate) fn guards(self) -> impl Iterator<Item = Mutation> {
        Mutation::ALL
            .iter()
            .copied()
            .filter(move |mutation| mutation.breaks().contains(&self))
    }
}

/// Whether something holds for every checkout of which this outcome was decided.
fn with(world: &World, ending: Ending, holds: impl Fn(Checkout) -> bool) -> bool {
    CHECKOUTS
        .into_iter()
        .all(|checkout| !world.told(checkout, ending) || holds(checkout))
}

/// Something that must happen in some world of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Ordered,
    Failed,
    TurnedAway,
    Stuck,
    OrderInDoubt,
    VoidWaits,
    OrderedAfterAFailure,
    LastPieceMissed,
    FormerOwnerFenced,
    NewOwnerHasOutputs,
    CommitInDoubt,
    KeptRowStale,
    RecordSentAgain,
}

impl Reach {
    pub(crate) fn property(self) -> Property<Model> {
        let (name, condition): (_, fn(&Model, &World) -> bool) = match self {
            Reach::Ordered => ("an order is announced", |_, world| {
                some_read(world, Ending::Ordered)
            }),
            Reach::Failed => ("a checkout fails", |_, world| {
                some_read(world, Ending::Failed)
            }),
            Reach::TurnedAway => ("a checkout is turned away", |_, world| {
                some_read(world, Ending::TurnedAway)
            }),
            Reach::Stuck => ("a saga is stuck", |_, world| {
                in_state(world, SagaState::Stuck, None)
            }),
            Reach::OrderInDoubt => ("an order is in doubt", |_, world| {
                in_state(world, SagaState::InDoubt, Some(Step::CreateOrder))
            }),
            Reach::VoidWaits => ("a void waits for its authorization", |_, world| {
                let waits = Authorization::Requested { void: true };
                world.authorizations.contains(&waits)
            }),
            Reach::OrderedAfterAFailure => ("an order follows a failure", |_, world| {
                world.told(0, Ending::Failed) && world.told(1, Ending::Ordered)
            }),
            Reach::LastPieceMissed => ("one cart gets the last piece", |_, world| {
                world.told(0, Ending::Failed) && world.told(1, Ending::Ordered)
            }),
            Reach::FormerOwnerFenced => ("a former owner is fenced", |_, world| {
                let fenced = world.former.is_some_and(|former| !former.current);
                fenced && world.owner.claimed
            }),
            Reach::NewOwnerHasOutputs => ("a new owner finds outputs", |model, world| {
                let fresh = world.faults.crashes < model.run.faults.crashes;
                fresh && !world.owner.outputs.is_empty()
            }),
            Reach::KeptRowStale => ("a kept row is out of date", |_, world| {
                world.kept[0].is_some() && world.kept != world.sagas
            }),
            Reach::RecordSentAgain => ("what was lost is sent again", |model, world| {
                let lost = model.run.faults.lost_records - world.faults.lost_records;
                lost > 0 && world.lost.iter().all(|kinds| kinds.is_empty())
            }),
            Reach::CommitInDoubt => ("a commit is in doubt", |_, world| {
                world.owner.doubt.is_some()
            }),
        };
        Property::sometimes(name, condition)
    }
}

fn some_read(world: &World, ending: Ending) -> bool {
    world.read.iter().any(|read| read[ending as usize] > 0)
}

fn in_state(world: &World, state: SagaState, step: Option<Step>) -> bool {
    world
        .sagas
        .iter()
        .flatten()
        .any(|saga| saga.state == state && step.is_none_or(|step| saga.step == Some(step)))
}
