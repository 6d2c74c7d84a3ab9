//! What was moved aside: poison, or what should have been handled.

use std::collections::BTreeMap;

use contracts::ids::{CartId, CheckoutId};
use contracts::{ErrorCode, Message, RecordType, Topic};

use crate::rule::{Rule, Violation};

/// A record of a dead-letter topic.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The topic that it was read from and refused.
    pub topic: Topic,
    /// Where it stands in the dead-letter topic: partition and offset.
    pub place: (i32, i64),
    /// Why it was refused, as its header says; "UNKNOWN" without one.
    pub code: String,
    /// The same in words.
    pub detail: String,
    /// Its headers, as text.
    pub headers: Vec<(String, String)>,
    /// What it says, where it decodes.
    pub message: Option<Message>,
}

impl DeadLetter {
    /// A header, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Why it should not be there; `None` for poison. `shared`: its event id is that of
    /// several carts, or may be.
    pub(crate) fn defect(&self, shared: bool) -> Option<&'static str> {
        let code = ErrorCode::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == self.code);
        match (code, &self.message) {
            (Some(ErrorCode::HandlerPanicked), _) => Some("the service broke down on it"),
            (Some(ErrorCode::DatabaseRejected), _) => Some("the database refused what it led to"),
            (_, None) => None,
            // What makes no sense fails as a checkout.
            (Some(ErrorCode::ContractViolated), Some(Message::CartCheckedOut(_))) if !shared => {
                Some("its event id is that of no other cart, and no cart is refused for less")
            }
            // What decodes can still break its contract: that is poison where
            // others write, and a defect where only services do.
            (Some(ErrorCode::ContractViolated | ErrorCode::RecordTooLarge), Some(message))
                if is_written_by_others(message.record_type()) =>
            {
                None
            }
            (_, Some(_)) => Some("it decodes with the contracts"),
        }
    }

    fn ids(&self) -> (Option<CartId>, Option<CheckoutId>) {
        let message = self.message.as_ref();
        (
            message.and_then(Message::cart_id),
            message.and_then(Message::checkout_id),
        )
    }
}

fn is_written_by_others(record: RecordType) -> bool {
    matches!(
        record,
        RecordType::CartCheckedOut | RecordType::SetStock | RecordType::SagaOperation
    )
}

/// All dead letters of the window.
#[derive(Debug, Clone, Default)]
pub(crate) struct Letters {
    /// Poison, by error code.
    pub(crate) poison: BTreeMap<String, u64>,
    /// What should have been handled.
    pub(crate) defects: Vec<Violation>,
}

impl Letters {
    /// Takes a letter in; one that is `expected` counts as poison. `shared`: see
    /// [`DeadLetter::defect`].
    pub(crate) fn add(&mut self, letter: &DeadLetter, shared: bool, expected: bool) {
        let defect = letter.defect(shared).filter(|_| !expected);
        let Some(why) = defect else {
            *self.poison.entry(letter.code.clone()).or_default() += 1;
            return;
        };
        let (cart_id, checkout_id) = letter.ids();
        let (partition, offset) = letter.place;
        let subject = format!(
            "{}.dlq, partition {partition}, offset {offset}",
            letter.topic
        );
        let record = letter
            .message
            .as_ref()
            .map_or("a record", |message| message.record_type().name());
        self.defects.push(Violation {
            rule: Rule::DEAD_LETTER,
            detail: format!(
                "{record} in {subject}: {why} ({}: {})",
                letter.code, letter.detail
            ),
            cart_id,
            checkout_id,
            subject,
        });
    }
}
