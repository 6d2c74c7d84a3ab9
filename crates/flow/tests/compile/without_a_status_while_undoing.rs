//! A step whose undoing the customer cannot see.

use flow::{Step, StepDefinition, step::{StepStatus}, steps::payment::AUTHORIZE_PAYMENT as LIKE};

const STEP: StepDefinition = StepDefinition {
    step: LIKE.step,
    owner: LIKE.owner,
    command: LIKE.command,
    success: LIKE.success,
    failures: LIKE.failures,
    retry: LIKE.retry,
    deadline: LIKE.deadline,
    compensation: LIKE.compensation,
    status: StepStatus {
        doing: LIKE.status.doing,
    },
};

fn main() {
    assert_eq!(STEP.step, Step::AuthorizePayment);
}
