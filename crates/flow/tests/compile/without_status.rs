//! A step without its status.

use flow::{Step, StepDefinition, steps::payment::AUTHORIZE_PAYMENT as LIKE};

const STEP: StepDefinition = StepDefinition {
    step: LIKE.step,
    owner: LIKE.owner,
    command: LIKE.command,
    success: LIKE.success,
    failures: LIKE.failures,
    retry: LIKE.retry,
    deadline: LIKE.deadline,
    compensation: LIKE.compensation,
};

fn main() {
    assert_eq!(STEP.step, Step::AuthorizePayment);
}
