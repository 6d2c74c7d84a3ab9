//! A compensation whose end is never known.

use flow::{Step, StepDefinition, step::{Compensation}, steps::payment::AUTHORIZE_PAYMENT as LIKE};

const STEP: StepDefinition = StepDefinition {
    step: LIKE.step,
    owner: LIKE.owner,
    command: LIKE.command,
    success: LIKE.success,
    failures: LIKE.failures,
    retry: LIKE.retry,
    deadline: LIKE.deadline,
    compensation: Compensation {
        record: LIKE.compensation.record,
        build: LIKE.compensation.build,
    },
    status: LIKE.status,
};

fn main() {
    assert_eq!(STEP.step, Step::AuthorizePayment);
}
