//! A refusal that says nothing to the customer.

use flow::{Step, StepDefinition, step::{FailureReplies, FailureReply}, steps::payment::AUTHORIZE_PAYMENT as LIKE};

const STEP: StepDefinition = StepDefinition {
    step: LIKE.step,
    owner: LIKE.owner,
    command: LIKE.command,
    success: LIKE.success,
    failures: FailureReplies {
        first: FailureReply {
            record: LIKE.failures.first.record,
            reason: LIKE.failures.first.reason,
            explain: LIKE.failures.first.explain,
        },
        others: &[],
    },
    retry: LIKE.retry,
    deadline: LIKE.deadline,
    compensation: LIKE.compensation,
    status: LIKE.status,
};

fn main() {
    assert_eq!(STEP.step, Step::AuthorizePayment);
}
