//! A step that cannot be refused.

use flow::{Step, StepDefinition, step::{FailureReplies}, steps::payment::AUTHORIZE_PAYMENT as LIKE};

const STEP: StepDefinition = StepDefinition {
    step: LIKE.step,
    owner: LIKE.owner,
    command: LIKE.command,
    success: LIKE.success,
    failures: FailureReplies { others: &[] },
    retry: LIKE.retry,
    deadline: LIKE.deadline,
    compensation: LIKE.compensation,
    status: LIKE.status,
};

fn main() {
    assert_eq!(STEP.step, Step::AuthorizePayment);
}
