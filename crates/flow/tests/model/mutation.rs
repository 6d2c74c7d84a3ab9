//! Guards taken away, one at a time. Those of the core are defeated from
//! outside: what the core is told, or what it says, is turned into what a core
//! without the guard would have been told, or said.

use contracts::{
    Message, RecordType, ids,
    messages::{FailureReason, ReleaseInventory, ReleaseReason, VoidAuthorization, VoidReason},
};
use flow::{Input, Outcome, ReplyKind, Saga, State};

use crate::{
    core::Happening,
    message::{Explored, Kind},
    property::Promise,
    runs::{
        BRAKES, FAULTS, KEPT_ROWS, LOST_RECORDS, ONE_CART, Run, TWO_ATTEMPTS, TWO_CARTS,
        TWO_OUTCOMES,
    },
};

/// A guard that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mutation {
    /// Replies are taken whatever checkout and command they belong to.
    RepliesUnfenced,
    /// A step that was given up is taken up again by its late success.
    LateSuccessTaken,
    /// A step that was not answered in time is taken for refused.
    DoubtTakenForRefusal,
    /// A compensation is not waited for; of `CreateOrder`: the pivot rule.
    UndoingUnawaited(Explored),
    /// A command that was sent is taken for one that waits unsent.
    SendingForgotten,
    /// Stock is released before money is given up.
    OrderReversed,
    /// Requests of the cart that came before are forgotten.
    RequestsForgotten,
    /// A compensation that comes before its command leaves nothing behind.
    NoTombstone(Explored),
    /// A command that is repeated is done again.
    RepeatsDoneAgain,
    /// A command that is repeated is not answered again.
    RepeatsUnanswered,
    /// A void is acknowledged while the call to authorize is out.
    VoidNotWaiting,
    /// A call that is made again has another idempotency key.
    KeyNotKept,
    /// Stock is looked up without its row being locked.
    StockUnlocked,
    /// The epoch of the progress row is not compared.
    EpochIgnored,
    /// A commit that was not answered is taken for failed, and the row's revision
    /// is not compared.
    RevisionIgnored,
    /// The version of a row that was kept from a former batch is not compared.
    KeptRowTrusted,
    /// Outputs are not stored with the batch.
    OutputsNotStored,
    /// The position moves before the rows do, in a transaction of its own.
    PositionApart,
    /// Public outputs of a former generation of the group are let through.
    GenerationIgnored,
    /// A new owner does not ask which outputs are published already.
    MarkIgnored,
    /// A new owner begins to number its public outputs anew.
    NumbersBegunAnew,
    /// A member that gives a partition up keeps its outcomes, and publishes them as
    /// a member again.
    OutcomesKept,
}

impl Mutation {
    pub(crate) const ALL: &[Mutation] = &[
        Mutation::RepliesUnfenced,
        Mutation::LateSuccessTaken,
        Mutation::DoubtTakenForRefusal,
        Mutation::UndoingUnawaited(Explored::CreateOrder),
        Mutation::UndoingUnawaited(Explored::AuthorizePayment),
        Mutation::UndoingUnawaited(Explored::ReserveInventory),
        Mutation::SendingForgotten,
        Mutation::OrderReversed,
        Mutation::RequestsForgotten,
        Mutation::NoTombstone(Explored::ReserveInventory),
        Mutation::NoTombstone(Explored::AuthorizePayment),
        Mutation::NoTombstone(Explored::CreateOrder),
        Mutation::RepeatsDoneAgain,
        Mutation::RepeatsUnanswered,
        Mutation::VoidNotWaiting,
        Mutation::KeyNotKept,
        Mutation::StockUnlocked,
        Mutation::EpochIgnored,
        Mutation::RevisionIgnored,
        Mutation::KeptRowTrusted,
        Mutation::OutputsNotStored,
        Mutation::PositionApart,
        Mutation::GenerationIgnored,
        Mutation::MarkIgnored,
        Mutation::NumbersBegunAnew,
        Mutation::OutcomesKept,
    ];

    /// The guard that is missing.
    pub(crate) const fn guard(self) -> &'static str {
        match self {
            Mutation::RepliesUnfenced => "fence of replies: by the ids of checkout and command",
            Mutation::LateSuccessTaken => "fence of replies: by the state of the saga",
            Mutation::DoubtTakenForRefusal => "a step that is in doubt is undone, never assumed",
            Mutation::UndoingUnawaited(Explored::CreateOrder) => {
                "pivot rule: the cancellation of the order is waited for"
            }
            Mutation::UndoingUnawaited(Explored::AuthorizePayment) => {
                "one at a time: the void is waited for"
            }
            Mutation::UndoingUnawaited(Explored::ReserveInventory) => {
                "one at a time: the release is waited for"
            }
            Mutation::SendingForgotten => "only a step that was never sent is left as it is",
            Mutation::OrderReversed => "reverse order: money is given up before stock",
            Mutation::RequestsForgotten => "former requests of a cart are remembered",
            Mutation::NoTombstone(Explored::ReserveInventory) => "tombstone of a release",
            Mutation::NoTombstone(Explored::AuthorizePayment) => "tombstone of a void",
            Mutation::NoTombstone(Explored::CreateOrder) => "tombstone of a cancellation",
            Mutation::RepeatsDoneAgain => "a repeated command is answered, not done again",
            Mutation::RepeatsUnanswered => "a repeated command is answered as before",
            Mutation::VoidNotWaiting => "a void waits for the result of the call that is out",
            Mutation::KeyNotKept => "a repeated call to the gateway keeps its idempotency key",
            Mutation::StockUnlocked => "stock is read and taken under its row's lock",
            Mutation::EpochIgnored => "compare-and-set: the epoch of the progress row",
            Mutation::RevisionIgnored => "compare-and-set: the revision of the progress row",
            Mutation::KeptRowTrusted => "compare-and-set: the version of a row that was kept",
            Mutation::OutputsNotStored => "outputs are stored with the batch",
            Mutation::PositionApart => "the position moves with the rows",
            Mutation::GenerationIgnored => "public outputs are published by members of the group",
            Mutation::MarkIgnored => "the number of the last published output is read back",
            Mutation::NumbersBegunAnew => "a new owner goes on with the row's numbers",
            Mutation::OutcomesKept => {
                "a member that gives a partition up ends its transactions before it joins again"
            }
        }
    }

    /// What does not hold without it.
    pub(crate) const fn breaks(self) -> &'static [Promise] {
        match self {
            Mutation::RepliesUnfenced => &[Promise::OrderHasItsHolds],
            Mutation::LateSuccessTaken => &[Promise::OrderHasItsHolds, Promise::OrderIsNotUndone],
            Mutation::UndoingUnawaited(Explored::CreateOrder) => &[Promise::OrderFateFirst],
            Mutation::UndoingUnawaited(Explored::AuthorizePayment) | Mutation::OrderReversed => {
                &[Promise::ReverseOrder]
            }
            Mutation::DoubtTakenForRefusal
            | Mutation::SendingForgotten
            | Mutation::UndoingUnawaited(Explored::ReserveInventory)
            | Mutation::NoTombstone(_)
            | Mutation::VoidNotWaiting => &[Promise::FailureHoldsNothing],
            Mutation::RequestsForgotten => &[Promise::OneOutcome],
            Mutation::KeptRowTrusted => &[
                Promise::OrderIsNotUndone,
                Promise::FailureHoldsNothing,
                Promise::OneOutcome,
                Promise::EndsWell,
            ],
            Mutation::RepeatsDoneAgain | Mutation::KeyNotKept => &[Promise::HeldOnce],
            Mutation::StockUnlocked => &[Promise::NotOversold, Promise::OneOrder],
            Mutation::EpochIgnored
            | Mutation::RevisionIgnored
            | Mutation::RepeatsUnanswered
            | Mutation::OutputsNotStored
            | Mutation::PositionApart
            | Mutation::NumbersBegunAnew => &[Promise::EndsWell],
            Mutation::GenerationIgnored | Mutation::MarkIgnored | Mutation::OutcomesKept => {
                &[Promise::ReadOnce]
            }
        }
    }

    /// The run in which that is shown.
    pub(crate) const fn run(self) -> &'static Run {
        match self {
            Mutation::RepliesUnfenced | Mutation::RequestsForgotten => &TWO_ATTEMPTS,
            Mutation::StockUnlocked => &TWO_CARTS,
            Mutation::RepeatsUnanswered => &LOST_RECORDS,
            Mutation::SendingForgotten => &BRAKES,
            Mutation::NumbersBegunAnew => &TWO_OUTCOMES,
            Mutation::KeptRowTrusted => &KEPT_ROWS,
            Mutation::EpochIgnored
            | Mutation::RevisionIgnored
            | Mutation::OutputsNotStored
            | Mutation::PositionApart
            | Mutation::GenerationIgnored
            | Mutation::MarkIgnored
            | Mutation::OutcomesKept => &FAULTS,
            Mutation::LateSuccessTaken
            | Mutation::DoubtTakenForRefusal
            | Mutation::UndoingUnawaited(_)
            | Mutation::OrderReversed
            | Mutation::NoTombstone(_)
            | Mutation::RepeatsDoneAgain
            | Mutation::VoidNotWaiting
            | Mutation::KeyNotKept => &ONE_CART,
        }
    }

    /// What the core hears instead.
    pub(crate) fn turn(self, happening: Happening) -> Happening {
        match (self, happening) {
            (Mutation::OrderReversed, Happening::Reply(checkout, Kind::Released)) => {
                Happening::Reply(checkout, Kind::Voided)
            }
            (Mutation::OrderReversed, Happening::Reply(checkout, Kind::Voided)) => {
                Happening::Reply(checkout, Kind::Released)
            }
            _ => happening,
        }
    }

    /// Blinds the core to what the guard looks at.
    pub(crate) fn blind(self, saga: &mut Option<Saga>, input: &mut Input<'_>) {
        let Some(saga) = saga else { return };
        let current = saga.progress.checkout_id;
        match (self, input) {
            (Mutation::RepliesUnfenced, Input::Reply(reply)) => {
                let definition = reply.step.definition();
                let command = match reply.kind {
                    ReplyKind::Undone => definition.compensation.record,
                    ReplyKind::Done { .. } | ReplyKind::Refused { .. } => definition.command.record,
                };
                reply.checkout_id = current;
                reply.command_id = ids::command_id(current, command);
            }
            (Mutation::LateSuccessTaken, Input::Reply(reply)) => {
                if let State::InDoubt(waiting)
                | State::Compensating(waiting)
                | State::Stuck(waiting) = saga.progress.state
                    && matches!(reply.kind, ReplyKind::Done { .. })
                    && (reply.step, reply.checkout_id) == (waiting.step, current)
                {
                    saga.progress.state = State::InProgress(waiting);
                }
            }
            (Mutation::SendingForgotten, _) => {
                if let State::InProgress(waiting) = &mut saga.progress.state {
                    waiting.tries = 0;
                }
            }
            (Mutation::RequestsForgotten, _) => saga.progress.seen.clear(),
            _ => {}
        }
    }

    /// The answer by which the core is made to decide otherwise.
    pub(crate) fn instead(self, outcome: &Outcome) -> Option<Kind> {
        match (self, outcome) {
            (
                Mutation::DoubtTakenForRefusal,
                Outcome::StepInDoubt(step, FailureReason::TimedOut),
            ) => Some(Kind::refused(*step)),
            _ => None,
        }
    }

    /// The answer by which the core is made to go on.
    pub(crate) fn on_top(self, sent: &[Message]) -> Option<Kind> {
        let Mutation::UndoingUnawaited(explored) = self else {
            return None;
        };
        let step = explored.step();
        let compensation = step.definition().compensation.record;
        sent.iter()
            .any(|message| message.record_type() == compensation)
            .then(|| Kind::undone(step))
    }

    /// What the core says instead.
    pub(crate) fn replace(self, message: &mut Message) {
        if self != Mutation::OrderReversed {
            return;
        }
        *message = match message {
            Message::ReleaseInventory(command) => VoidAuthorization {
                command_id: ids::command_id(command.checkout_id, RecordType::VoidAuthorization),
                checkout_id: command.checkout_id,
                cart_id: command.cart_id,
                authorization_id: None,
                reason: VoidReason::CheckoutFailed,
            }
            .into(),
            Message::VoidAuthorization(command) => ReleaseInventory {
                command_id: ids::command_id(command.checkout_id, RecordType::ReleaseInventory),
                checkout_id: command.checkout_id,
                cart_id: command.cart_id,
                reservation_id: None,
                reason: ReleaseReason::CheckoutFailed,
            }
            .into(),
            _ => return,
        };
    }
}
