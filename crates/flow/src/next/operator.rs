//! Inputs of operators. Each must say who asks and why, and may be refused.

use contracts::messages::{FailureReason, OperationAction, SagaOperation};

use super::Turn;
use crate::{
    outcome::{OperatorRefusal, Outcome},
    saga::{State, Waiting},
    step::Step,
    text::clean_to,
};

/// The longest part of an operator's input that is kept, in characters.
const MAX_NOTE_PART_CHARS: usize = 120;

impl Turn<'_> {
    /// An operator's input, in any state.
    pub(super) fn operate(&mut self, operation: &SagaOperation) -> Outcome {
        match self.try_operate(operation) {
            Ok(()) => Outcome::Operated(operation.action),
            Err(refusal) => Outcome::OperatorRefused(refusal),
        }
    }

    fn try_operate(&mut self, operation: &SagaOperation) -> Result<(), OperatorRefusal> {
        let step = self.check(operation)?;
        match (self.saga.progress.state, operation.action) {
            (_, OperationAction::Unknown) => return Err(OperatorRefusal::UnknownAction),
            (
                State::Completed | State::Failed | State::Abandoned { .. },
                OperationAction::Retry
                | OperationAction::Compensate
                | OperationAction::Resolve
                | OperationAction::Abandon,
            ) => return Err(OperatorRefusal::Ended),

            (State::InProgress(waiting), OperationAction::Retry) => {
                same_step(step, waiting)?;
                self.note(operation);
                self.send_action(waiting, 1);
            }
            (State::InProgress(waiting), OperationAction::Compensate) => {
                same_step(step, waiting)?;
                self.note(operation);
                self.give_up(
                    waiting,
                    FailureReason::CancelledByOperator,
                    "the shop cancelled the checkout".to_owned(),
                );
            }
            (State::InProgress(_), OperationAction::Resolve | OperationAction::Abandon) => {
                return Err(OperatorRefusal::NotCompensating);
            }

            (
                State::InDoubt(waiting) | State::Compensating(waiting) | State::Stuck(waiting),
                OperationAction::Retry,
            ) => {
                same_step(step, waiting)?;
                self.note(operation);
                self.resend_undo(waiting, 1);
                self.snapshot();
            }
            (
                State::InDoubt(_) | State::Compensating(_) | State::Stuck(_),
                OperationAction::Compensate,
            ) => return Err(OperatorRefusal::AlreadyCompensating),
            (
                State::InDoubt(waiting) | State::Compensating(waiting) | State::Stuck(waiting),
                OperationAction::Resolve,
            ) => {
                if step.is_none() {
                    return Err(OperatorRefusal::NoStep);
                }
                same_step(step, waiting)?;
                if operation.evidence.as_deref().is_none_or(is_blank) {
                    return Err(OperatorRefusal::NoEvidence);
                }
                self.note(operation);
                self.undone(waiting.step);
            }
            (
                State::InDoubt(waiting) | State::Compensating(waiting) | State::Stuck(waiting),
                OperationAction::Abandon,
            ) => {
                same_step(step, waiting)?;
                self.note(operation);
                self.enter(State::Abandoned { step: waiting.step });
            }
        }
        Ok(())
    }

    /// What every input must have; the step that it names, where it names one.
    fn check(&self, operation: &SagaOperation) -> Result<Option<Step>, OperatorRefusal> {
        if is_blank(&operation.operator) {
            return Err(OperatorRefusal::NoOperator);
        }
        if is_blank(&operation.reason) {
            return Err(OperatorRefusal::NoReason);
        }
        let current = self.saga.progress.checkout_id;
        if operation.checkout_id.is_some_and(|named| named != current) {
            return Err(OperatorRefusal::OtherCheckout);
        }
        match operation.step.as_deref().filter(|name| !is_blank(name)) {
            None => Ok(None),
            Some(name) => match name.parse() {
                Ok(step) => Ok(Some(step)),
                Err(_) => Err(OperatorRefusal::UnknownStep),
            },
        }
    }

    /// Keeps who did what and why; the next snapshot shows it.
    fn note(&mut self, operation: &SagaOperation) {
        let part = |text: &str| clean_to(text.trim(), MAX_NOTE_PART_CHARS);
        let evidence = match operation.evidence.as_deref() {
            Some(evidence) if !is_blank(evidence) => format!(", evidence: {}", part(evidence)),
            _ => String::new(),
        };
        self.saga.progress.operator_note = Some(format!(
            "{} by {}: {}{evidence}",
            operation.action,
            part(&operation.operator),
            part(&operation.reason),
        ));
        self.changed = true;
    }
}

fn same_step(named: Option<Step>, waiting: Waiting) -> Result<(), OperatorRefusal> {
    match named {
        Some(step) if step != waiting.step => Err(OperatorRefusal::OtherStep),
        _ => Ok(()),
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
