//! What was moved aside: poison, or what should have been handled.

use std::collections::BTreeMap;

use contracts::ids::{self, CartId, CheckoutId};
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

    fn code(&self) -> Option<ErrorCode> {
        let mut codes = ErrorCode::ALL.iter().copied();
        codes.find(|code| code.as_str() == self.code)
    }

    /// Whether it is a cart that was refused, by its own account for the other one that
    /// has its event id: what makes no sense fails as a checkout.
    fn is_of_shared(&self) -> bool {
        let violated = self.code() == Some(ErrorCode::ContractViolated);
        violated && matches!(self.message, Some(Message::CartCheckedOut(_)))
    }

    /// Why it should not be there; `None` for poison.
    pub(crate) fn defect(&self) -> Option<&'static str> {
        match (self.code(), &self.message) {
            (Some(ErrorCode::HandlerPanicked), _) => Some("the service broke down on it"),
            (Some(ErrorCode::DatabaseRejected), _) => Some("the database refused what it led to"),
            (_, None) => None,
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
        let checkout = match message {
            Some(Message::CartCheckedOut(cart)) => Some(ids::checkout_id(cart.event_id)),
            _ => message.and_then(Message::checkout_id),
        };
        (message.and_then(Message::cart_id), checkout)
    }

    fn violation(&self, why: &str) -> Violation {
        let (cart_id, checkout_id) = self.ids();
        let (partition, offset) = self.place;
        let subject = format!("{}.dlq, partition {partition}, offset {offset}", self.topic);
        let record = self
            .message
            .as_ref()
            .map_or("a record", |message| message.record_type().name());
        Violation {
            rule: Rule::DEAD_LETTER,
            detail: format!(
                "{record} in {subject}: {why} ({}: {})",
                self.code, self.detail
            ),
            cart_id,
            checkout_id,
            subject,
        }
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
    /// Poison that is a defect if no other cart has its event id. That may be known later:
    /// the other one may come to its topic after that was read.
    pub(crate) of_shared: Vec<Violation>,
}

impl Letters {
    /// Takes a letter in; one that is `expected` counts as poison. Returns whether it does.
    pub(crate) fn add(&mut self, letter: &DeadLetter, expected: bool) -> bool {
        if let Some(why) = letter.defect().filter(|_| !expected) {
            self.defects.push(letter.violation(why));
            return false;
        }
        *self.poison.entry(letter.code.clone()).or_default() += 1;
        if letter.is_of_shared() && !expected {
            let why = "its event id is that of no other cart, and no cart is refused for less";
            self.of_shared.push(letter.violation(why));
        }
        true
    }
}
