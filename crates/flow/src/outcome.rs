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

/// Why an input changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Ignored {
    /// The same event came before.
    #[error("this request for a checkout came before")]
    SameEvent,
    /// There is no saga for this cart.
    #[error("no checkout of this cart is known")]
    UnknownCart,
    /// It belongs to another attempt of the cart.
    #[error("it belongs to another checkout of the cart")]
    OtherCheckout,
    /// It answers a command that this saga never sends.
    #[error("it answers a command that this checkout does not send")]
    ForeignCommand,
    /// It answers a command that is not, or no longer, waited for.
    #[error("its answer is not waited for")]
    NotAwaited,
    /// A step succeeded after it was given up; its compensation is under way.
    #[error("the step succeeded too late; its compensation is under way")]
    LateSuccess,
    /// The checkout has ended.
    #[error("the checkout has ended")]
    Ended,
    /// The reservation is not the one of this checkout.
    #[error("another reservation is held for this checkout")]
    OtherReservation,
    /// The deadline has moved.
    #[error("the deadline lies later")]
    TooEarly,
}

impl Ignored {
    /// A label for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Ignored::SameEvent => "same_event",
            Ignored::UnknownCart => "unknown_cart",
            Ignored::OtherCheckout => "other_checkout",
            Ignored::ForeignCommand => "foreign_command",
            Ignored::NotAwaited => "not_awaited",
            Ignored::LateSuccess => "late_success",
            Ignored::Ended => "ended",
            Ignored::OtherReservation => "other_reservation",
            Ignored::TooEarly => "too_early",
        }
    }
}

/// Why an operator's input was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OperatorRefusal {
    /// No saga for this cart.
    #[error("no checkout of this cart is known")]
    UnknownCart,
    /// It does not say who.
    #[error("it does not say who asks; fill in `operator`")]
    NoOperator,
    /// It does not say why.
    #[error("it does not say why; fill in `reason`")]
    NoReason,
    /// It names another attempt.
    #[error("it names another checkout than the current one of the cart")]
    OtherCheckout,
    /// It names no known action.
    #[error("this version knows no such action")]
    UnknownAction,
    /// It names a step that does not exist.
    #[error("there is no step of this name")]
    UnknownStep,
    /// It names another step than the saga is at.
    #[error("the checkout is at another step")]
    OtherStep,
    /// A resolution names no step.
    #[error("a resolution names the step that it is about; fill in `step`")]
    NoStep,
    /// A resolution gives no evidence.
    #[error("a resolution gives the evidence that nothing is held; fill in `evidence`")]
    NoEvidence,
    /// The checkout has ended.
    #[error("the checkout has ended")]
    Ended,
    /// Nothing is being undone yet.
    #[error("nothing is being undone yet; ask for COMPENSATE first")]
    NotCompensating,
    /// It is being undone already.
    #[error("the checkout is being undone already")]
    AlreadyCompensating,
}

impl OperatorRefusal {
    /// A label for metrics.
    pub const fn label(self) -> &'static str {
        match self {
            OperatorRefusal::UnknownCart => "unknown_cart",
            OperatorRefusal::NoOperator => "no_operator",
            OperatorRefusal::NoReason => "no_reason",
            OperatorRefusal::OtherCheckout => "other_checkout",
            OperatorRefusal::UnknownAction => "unknown_action",
            OperatorRefusal::UnknownStep => "unknown_step",
            OperatorRefusal::OtherStep => "other_step",
            OperatorRefusal::NoStep => "no_step",
            OperatorRefusal::NoEvidence => "no_evidence",
            OperatorRefusal::Ended => "ended",
            OperatorRefusal::NotCompensating => "not_compensating",
            OperatorRefusal::AlreadyCompensating => "already_compensating",
        }
    }
}
