//! What is logged and counted of a transition.

use std::collections::BTreeMap;

use contracts::ids::{CartId, CheckoutId};
use contracts::{TraceContext, ids::GenericUuid};
use flow::{Ignored, Outcome, Transition};
use metrics::{counter, describe_counter, describe_histogram, histogram};
use uuid::Uuid;

/// Transitions, by outcome and reason.
const TRANSITIONS: &str = "checkout_transitions_total";
/// Inputs that changed nothing, by reason.
const IGNORED: &str = "checkout_inputs_ignored_total";

/// Duration of checkouts, by outcome and reason.
const DURATION: &str = "checkout_duration_seconds";

/// Gives every metric of this module its help text.
pub(crate) fn describe_metrics() {
    describe_counter!(
        TRANSITIONS,
        "Inputs that made a saga move, by what happened and its step or reason"
    );
    describe_counter!(IGNORED, "Inputs that no saga had use for, by reason");
    describe_histogram!(
        DURATION,
        "From the handling of a cart's request to the end of its checkout, by outcome (completed, failed) and reason"
    );
}

/// What a batch did, to be told when it is committed.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    moves: Vec<Move>,
    /// Records that are none of the sagas' business.
    unused: u64,
}

/// What came of an input.
#[derive(Debug)]
struct Move {
    cart: CartId,
    checkout: CheckoutId,
    trace: TraceContext,
    outcome: Outcome,
    /// How long the checkout took, in seconds, where it has ended.
    took: Option<f64>,
}

impl Observations {
    pub(crate) fn add(&mut self, cart: CartId, transition: &Transition, trace: TraceContext) {
        let progress = transition.saga.as_ref().map(|saga| &saga.progress);
        let outcome = transition.outcome;
        let took = match (outcome, progress) {
            (Outcome::Completed | Outcome::Failed(_), Some(progress)) => {
                let took = progress.updated_at.duration_since(progress.started_at);
                Some(took.as_secs_f64().max(0.0))
            }
            _ => None,
        };
        self.moves.push(Move {
            cart,
            checkout: progress.map_or(CheckoutId::from_untyped_uuid(Uuid::nil()), |progress| {
                progress.checkout_id
            }),
            trace,
            outcome,
            took,
        });
    }

    pub(crate) fn add_unused(&mut self) {
        self.unused += 1;
    }

    /// How often each outcome occurred, by its labels.
    pub(crate) fn tally(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut tally = BTreeMap::new();
        for one in &self.moves {
            let labels = (one.outcome.label(), one.outcome.reason());
            *tally.entry(labels).or_default() += 1;
        }
        if self.unused > 0 {
            tally.insert((ignored(), "not_for_sagas"), self.unused);
        }
        tally
    }

    /// Counts, times and logs.
    pub(crate) fn tell(&self) {
        for ((outcome, reason), times) in self.tally() {
            if outcome == ignored() {
                counter!(IGNORED, "reason" => reason).increment(times);
            } else {
                counter!(TRANSITIONS, "outcome" => outcome, "reason" => reason).increment(times);
            }
        }
        for one in &self.moves {
            if let Some(took) = one.took {
                let (outcome, reason) = (one.outcome.label(), one.outcome.reason());
                histogram!(DURATION, "outcome" => outcome, "reason" => reason).record(took);
            }
            log(one);
        }
    }
}

fn ignored() -> &'static str {
    Outcome::Ignored(Ignored::Ended).label()
}

/// Logs a transition: the straight path for whoever debugs, the rest for
/// whoever operates.
fn log(one: &Move) {
    let Move {
        cart,
        checkout,
        outcome,
        ..
    } = one;
    let trace_id = format_args!("{:032x}", u128::from_be_bytes(one.trace.trace_id));
    macro_rules! event {
        ($level:ident, $($what:tt)*) => {
            tracing::$level!(
                cart_id = %cart, checkout_id = %checkout, %trace_id,
                outcome = outcome.label(), reason = outcome.reason(), $($what)*
            )
        };
    }
    match outcome {
        Outcome::Started
        | Outcome::StepDone(_)
        | Outcome::Completed
        | Outcome::StepUndone(_)
        | Outcome::Failed(_)
        | Outcome::Rejected(_) => event!(debug, "the saga moved"),
        Outcome::Held(_) => event!(debug, "waits for a participant that is held"),
        Outcome::CommandReleased(_) => event!(debug, "sent a command that was held"),
        Outcome::StepGivenUp(..) => event!(
            warn,
            "gave up a step whose participant was held for too long; the steps before it are being undone"
        ),
        Outcome::StepRefused(..) => event!(debug, "a step was refused"),
        Outcome::Ignored(why) => event!(debug, "ignored an input: {why}"),
        Outcome::CommandResent(_) => event!(info, "no reply in time; sent the command again"),
        Outcome::CompensationResent(_) => {
            event!(info, "no reply in time; sent the compensation again")
        }
        Outcome::StepInDoubt(..) => event!(warn, "a step is in doubt and is being undone"),
        Outcome::Stuck(_) => event!(
            error,
            "the saga is stuck: its compensation is not answered. It is repeated without end, \
             and goes on when it is answered: see whether the participant runs and answers. The \
             SagaStuck on ordering.alerts says what else an operator can do"
        ),
        Outcome::Operated(_) => event!(info, "an operator's input took effect"),
        Outcome::OperatorRefused(why) => event!(warn, "refused an operator's input: {why}"),
    }
}
