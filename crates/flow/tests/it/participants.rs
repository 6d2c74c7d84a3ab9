//! The three participants as the saga may count on them: idempotent by command,
//! and refusing a command whose compensation came first.

use std::collections::{BTreeMap, BTreeSet};

use contracts::{
    Message, RecordType,
    ids::{CheckoutId, CommandId},
};
use flow::Step;

use crate::story::answer;

/// What the participants hold, have undone and have answered.
#[derive(Default, Debug)]
pub(crate) struct Participants {
    held: BTreeSet<(Step, CheckoutId)>,
    undone: BTreeSet<(Step, CheckoutId)>,
    answered: BTreeMap<CommandId, Message>,
    /// The steps that are refused, for every checkout.
    refused: BTreeSet<Step>,
    /// The step whose compensations are never answered.
    mute: Option<Step>,
}

impl Participants {
    pub(crate) fn new(refused: BTreeSet<Step>, mute: Option<Step>) -> Self {
        Self {
            refused,
            mute,
            ..Self::default()
        }
    }

    /// The answer to a command; `None` from a participant that is mute.
    pub(crate) fn receive(&mut self, command: &Message) -> Option<Message> {
        let (step, compensates) = step_of(command.record_type())?;
        if compensates && self.mute == Some(step) {
            return None;
        }
        let command_id = command.command_id().unwrap();
        if let Some(answered) = self.answered.get(&command_id) {
            return Some(answered.clone());
        }
        let checkout = command.checkout_id().unwrap();
        let definition = step.definition();
        let record = if compensates {
            self.held.remove(&(step, checkout));
            self.undone.insert((step, checkout));
            definition.compensation.acknowledged_by
        } else if self.refused.contains(&step) || self.undone.contains(&(step, checkout)) {
            definition.failures.first.record
        } else {
            self.held.insert((step, checkout));
            definition.success.record
        };
        let reply = answer(record, checkout);
        self.answered.insert(command_id, reply.clone());
        Some(reply)
    }

    /// The steps that hold something for a checkout.
    pub(crate) fn held(&self, checkout: CheckoutId) -> Vec<Step> {
        let holds = |step: &&Step| self.held.contains(&(**step, checkout));
        Step::ALL.iter().filter(holds).copied().collect()
    }
}

/// The step that a command belongs to, and whether it compensates.
pub(crate) fn step_of(record: RecordType) -> Option<(Step, bool)> {
    Step::ALL.iter().find_map(|step| {
        let definition = step.definition();
        match record {
            record if record == definition.command.record => Some((*step, false)),
            record if record == definition.compensation.record => Some((*step, true)),
            _ => None,
        }
    })
}
