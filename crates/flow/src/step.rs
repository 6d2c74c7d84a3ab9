//! The steps of the saga, their order, and the parts that each must have.
//!
//! A step is a [`StepDefinition`] in a file of its own under `steps/`. Every
//! part is a field without a default, so a step that lacks one does not compile.
//! `steps.rs` lists them, once, in their order.

use std::{fmt, str::FromStr, time::Duration};

use contracts::{Message, RecordType, messages::FailureReason};
use uuid::Uuid;

pub use crate::steps::Step;

use crate::saga::{MissingItem, Saga};

/// Declares the steps, each with its name and its definition, in the order of the
/// actions; compensations go the other way. All that follows from the order is derived.
macro_rules! steps {
    ($($(#[$doc:meta])* $step:ident = $name:literal: $definition:path;)+) => {
        /// A step of the saga. The order of the variants is the order of the actions;
        /// compensations go the other way.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        pub enum Step {
            $($(#[$doc])* #[serde(rename = $name)] $step,)+
        }

        impl Step {
            /// Every step, in the order of the actions.
            pub const ALL: &'static [Step] = &[$(Step::$step),+];

            /// Everything that belongs to the step.
            pub const fn definition(self) -> &'static $crate::step::StepDefinition {
                match self {
                    $(Step::$step => &$definition,)+
                }
            }

            /// The name in stored sagas, in snapshots and in operators' inputs.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Step::$step => $name,)+
                }
            }
        }
    };
}

pub(crate) use steps;

impl Step {
    /// The step that every saga begins with.
    pub const FIRST: Step = Step::ALL[0];

    /// The step whose action follows this one's success; `None` when the
    /// checkout is then complete.
    pub const fn following(self) -> Option<Step> {
        let at = self as usize + 1;
        if at < Step::ALL.len() {
            Some(Step::ALL[at])
        } else {
            None
        }
    }

    /// The step to compensate once this one is undone, or was refused; `None`
    /// when nothing is left to undo.
    pub const fn preceding(self) -> Option<Step> {
        match (self as usize).checked_sub(1) {
            Some(at) => Some(Step::ALL[at]),
            None => None,
        }
    }
}

const _: () = {
    let mut at = 0;
    while at < Step::ALL.len() {
        assert!(
            Step::ALL[at].definition().step as usize == at,
            "a definition names its own step"
        );
        at += 1;
    }
};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no step has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no such step; the steps are {}", Step::ALL.iter().map(|step| step.name()).collect::<Vec<_>>().join(", "))]
pub struct NoSuchStep;

impl FromStr for Step {
    type Err = NoSuchStep;

    /// Reads a step's [`name`](Step::name), in capital or small letters.
    fn from_str(text: &str) -> Result<Self, NoSuchStep> {
        Step::ALL
            .iter()
            .copied()
            .find(|step| step.name().eq_ignore_ascii_case(text.trim()))
            .ok_or(NoSuchStep)
    }
}

/// All that makes a step: how it is done, how it may end, how it is undone and
/// what the customer sees meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct StepDefinition {
    /// Which step this is.
    pub step: Step,
    /// The participant that carries it out: a namespace of `schemas/`.
    pub owner: &'static str,
    /// What asks for it.
    pub command: Command,
    /// The reply that says it is done.
    pub success: SuccessReply,
    /// The replies that say it was refused, and so holds nothing.
    pub failures: FailureReplies,
    /// How often the command is sent before the step is in doubt.
    pub retry: Retry,
    /// How long a reply is waited for.
    pub deadline: Deadline,
    /// How it is undone.
    pub compensation: Compensation,
    /// What the customer sees.
    pub status: StepStatus,
}

/// The command of a step.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// Its record.
    pub record: RecordType,
    /// Builds it; `None` where the saga lacks something that an earlier step
    /// should have left. Such a step is treated as in doubt, and compensated.
    pub build: fn(&Saga) -> Option<Message>,
}

/// The reply that says a step is done.
#[derive(Clone, Copy, Debug)]
pub struct SuccessReply {
    /// Its record.
    pub record: RecordType,
    /// What the participant calls the thing it now holds; later commands and
    /// the compensation may name it.
    pub handle: fn(&Message) -> Option<Uuid>,
}

/// A reply that says a step was refused.
#[derive(Clone, Copy, Debug)]
pub struct FailureReply {
    /// Its record.
    pub record: RecordType,
    /// What the checkout fails with.
    pub reason: FailureReason,
    /// What the customer is told of that.
    pub customer_text: &'static str,
    /// What the reply tells beyond that; `None` for a message of another record.
    pub explain: fn(&Message) -> Option<Refusal>,
}

/// What a refusal tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The refusal in words, for people.
    pub detail: String,
    /// The products that were missing.
    pub missing: Vec<MissingItem>,
}

/// The failure replies of a step. Every step can be refused, so there is a
/// first one.
#[derive(Clone, Copy, Debug)]
pub struct FailureReplies {
    /// The first.
    pub first: FailureReply,
    /// The others, where there are any.
    pub others: &'static [FailureReply],
}

impl FailureReplies {
    /// The replies.
    pub fn iter(&self) -> impl Iterator<Item = &FailureReply> {
        std::iter::once(&self.first).chain(self.others)
    }
}

/// How often a command is sent before its step is in doubt.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Number of sendings, the first one included.
    pub tries: u32,
}

/// How long a reply is waited for. Each wait is twice the one before, and up to
/// a quarter longer by a jitter that depends on the checkout alone.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// The wait after the first sending.
    pub first: Duration,
    /// The longest wait, before jitter.
    pub max: Duration,
}

/// How a step is undone. It is retried without end.
#[derive(Clone, Copy, Debug)]
pub struct Compensation {
    /// The record of its command.
    pub record: RecordType,
    /// Builds the command. It must be possible whether or not the step's reply
    /// was ever seen.
    pub build: fn(&Saga) -> Message,
    /// The record that acknowledges it.
    pub acknowledged_by: RecordType,
}

/// What the customer sees of a step.
#[derive(Clone, Copy, Debug)]
pub struct StepStatus {
    /// While it is done.
    pub doing: StatusText,
    /// While it is undone.
    pub undoing: StatusText,
}

/// A status shown to the customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusText {
    /// For programs: stable, in capitals.
    pub code: &'static str,
    /// For people.
    pub text: &'static str,
}
