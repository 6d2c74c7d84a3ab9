//! What came of an input: for the log, the metrics and the caller's store.

use contracts::{
    Message,
    messages::{FailureReason, OperationAction, RejectionReason},
};

use crate::{saga::Saga, step::Step};

/// What follows from an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The saga afterwards; `None` where there was none and none began.
    pub saga: Option<Saga>,
    /// Whether it differs from before, and so must be stored.
    pub changed: bool,
    /// What to publish, in this order.
    pub messages: Vec<Message>,
    /// What happened.
    pub outcome: Outcome,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A checkout began.
    Started,
    /// A step is done and the next one began.
    StepDone(Step),
    /// The last step is done: the order is announced.
    Completed,
    /// A step was refused; the steps before it are being undone.
    StepRefused(Step, FailureReason),
    /// It is not known whether a step was done; it is being undone.
    StepInDoubt(Step, FailureReason),
    /// A step is undone and the one before it is being undone.
    StepUndone(Step),
    /// Nothing is held: the failure is announced.
    Failed(FailureReason),
    /// A participant is held: its command waits unsent, or waits on unanswered.
    Held(Step),
    /// A command that had waited for a held participant was sent.
    CommandReleased(Step),
    /// A step whose command was never sent was given up; the steps before it are
    /// being undone.
    StepGivenUp(Step, FailureReason),
    /// A step's command went unanswered and was sent again.
    CommandResent(Step),
    /// A compensation went unanswered and was sent again.
    CompensationResent(Step),
    /// A compensation has gone unanswered for so long that the saga is reported
    /// stuck; it was sent again.
    Stuck(Step),
    /// A request for a checkout was turned away.
    Rejected(RejectionReason),
    /// An operator's input took effect.
    Operated(OperationAction),
    /// An operator's input was refused.
    OperatorRefused(OperatorRefusal),
    /// Nothing had to be done.
    Ignored(Ignored),
}

impl Outcome {
    /// A label of few values, for metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Outcome::Started => "started",
            Outcome::StepDone(_) => "step_done",
            Outcome::Completed => "completed",
            Outcome::StepRefused(..) => "step_refused",
            Outcome::StepInDoubt(..) => "step_in_doubt",
            Outcome::StepUndone(_) => "step_undone",
            Outcome::Failed(_) => "failed",
            Outcome::Held(_) => "held",
            Outcome::CommandReleased(_) => "command_released",
            Outcome::StepGivenUp(..) => "step_given_up",
            Outcome::CommandResent(_) => "command_resent",
            Outcome::CompensationResent(_) => "compensation_resent",
            Outcome::Stuck(_) => "stuck",
            Outcome::Rejected(_) => "rejected",
            Outcome::Operated(_) => "operated",
            Outcome::OperatorRefused(_) => "operator_refused",
            Outcome::Ignored(_) => "ignored",
        }
    }

    /// The label's second part: the reason or the step, where there is one.
    pub const fn reason(&self) -> &'static str {
        match self {
            Outcome::Started | Outcome::Completed => "",
            Outcome::StepDone(step)
            | Outcome::StepUndone(step)
            | Outcome::Held(step)
            | Outcome::CommandReleased(step)
            | Outcome::CommandResent(step)
            | Outcome::CompensationResent(step)
            | Outcome::Stuck(step) => step.name(),
            Outcome::StepRefused(_, reason)
            | Outcome::StepInDoubt(_, reason)
            | Outcome::StepGivenUp(_, reason)
            | Outcome::Failed(reason) => reason.as_str(),
            Outcome::Rejected(reason) => reason.as_str(),
            Outcome::Operated(action) => action.as_str(),
            Outcome::OperatorRefused(refusal) => refusal.label(),
            Outcome::Ignored(ignored) => ignored.label(),
        }
    }
}

/// Reasons: each with its label for metrics, log lines and the history, and its words.
/// docs/errors.md has a section for each label.
macro_rules! reasons {
    (
        $(#[$of_all:meta])*
        pub enum $name:ident {
            $($(#[$of_one:meta])* $variant:ident = $label:literal: $words:literal,)*
        }
    ) => {
        $(#[$of_all])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum $name {
            $($(#[$of_one])* #[error($words)] $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// A label for metrics.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }
        }
    };
}

reasons! {
/// Why an input changed nothing.
pub enum Ignored {
    /// The same event came before.
    SameEvent = "same_event": "this request for a checkout came before",
    /// There is no saga for this cart.
    UnknownCart = "unknown_cart": "no checkout of this cart is known",
    /// It belongs to another attempt of the cart.
    OtherCheckout = "other_checkout": "it belongs to another checkout of the cart",
    /// It answers a command that this saga never sends.
    ForeignCommand = "foreign_command": "it answers a command that this checkout does not send",
    /// It answers a command that is not, or no longer, waited for.
    NotAwaited = "not_awaited": "its answer is not waited for",
    /// A step succeeded after it was given up; its compensation is under way.
    LateSuccess = "late_success": "the step succeeded too late; its compensation is under way",
    /// The checkout has ended.
    Ended = "ended": "the checkout has ended",
    /// The reservation is not the one of this checkout.
    OtherReservation = "other_reservation": "another reservation is held for this checkout",
    /// The deadline has moved.
    TooEarly = "too_early": "the deadline lies later",
}
}

reasons! {
/// Why an operator's input was refused.
pub enum OperatorRefusal {
    /// No saga for this cart.
    UnknownCart = "unknown_cart": "no checkout of this cart is known",
    /// It does not say who.
    NoOperator = "no_operator": "it does not say who asks; fill in `operator`",
    /// It does not say why.
    NoReason = "no_reason": "it does not say why; fill in `reason`",
    /// It names another attempt.
    OtherCheckout = "other_checkout": "it names another checkout than the current one of the cart",
    /// It names no known action.
    UnknownAction = "unknown_action": "this version knows no such action",
    /// It names a step that does not exist.
    UnknownStep = "unknown_step": "there is no step of this name",
    /// It names another step than the saga is at.
    OtherStep = "other_step": "the checkout is at another step",
    /// A resolution names no step.
    NoStep = "no_step": "a resolution names the step that it is about; fill in `step`",
    /// A resolution gives no evidence.
    NoEvidence = "no_evidence": "a resolution gives the evidence that nothing is held; fill in `evidence`",
    /// The checkout has ended.
    Ended = "ended": "the checkout has ended",
    /// Nothing is being undone yet.
    NotCompensating = "not_compensating": "nothing is being undone yet; ask for COMPENSATE first",
    /// It is being undone already.
    AlreadyCompensating = "already_compensating": "the checkout is being undone already",
}
}
