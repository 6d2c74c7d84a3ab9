//! A step without its deadline.

use flow::{Step, StepDefinition, steps::payment::AUTHORIZE_PAYMENT as LIKE};

const STEP: StepDefinition = StepDefinition {
    step: LIKE.step,
    owner: LIKE.owner,
    command: LIKE.command,
    success: LIKE.success,
    failures: LIKE.failures,
    retry: LIKE.retry,
    compensation: LIKE.compensation,
    status: LIKE.status,
};

fn main() {
    assert_eq!(STEP.step, Step::AuthorizePayment);
}
