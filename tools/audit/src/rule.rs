//! What has to hold: every rule, by its name and in one sentence.

use std::fmt;

use contracts::ids::{CartId, CheckoutId};
use serde::{Serialize, Serializer};

/// Something that has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// A short name, for scripts.
    pub name: &'static str,
    /// What has to hold.
    pub sentence: &'static str,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident = $name:literal: $sentence:literal;)*) => {
        impl Rule {
            $(
                #[doc = $sentence]
                pub const $rule: Self = Self { name: $name, sentence: $sentence };
            )*

            /// Every rule of the audit.
            pub const ALL: &'static [Self] = &[$(Self::$rule),*];
        }
    };
}

rules! {
    OUTCOME_MISSING = "outcome-missing":
        "every cart published gets an outcome within the grace period";
    OUTCOME_DOUBLED = "outcome-doubled":
        "no checkout has more than one outcome, records counted as a read_committed consumer reads them";
    ORDER_CREATED_DOUBLED = "order-created-doubled":
        "ordering.orders carries each OrderCreated exactly once";
    CREATED_AND_FAILED = "created-and-failed":
        "no checkout is both created and failed or rejected";
    OUTCOME_UNASKED = "outcome-unasked":
        "every outcome answers a cart that was published";
    TWO_ORDERS = "two-orders":
        "a cart has at most one order";
    ORDERED_OTHERWISE = "ordered-otherwise":
        "an order is of what its cart asked for: customer, total, currency, products, pieces and prices";
    ORDER_MISSING = "order-missing":
        "every OrderCreated has its recorded order, with the same content";
    PAYMENT_MISSING = "payment-missing":
        "every order has its authorization, over the same amount";
    STOCK_MISSING = "stock-missing":
        "every order has its reservation, of the same products";
    HOLDING_MISSING = "holding-missing":
        "every order has what each further participant holds for it";
    HELD_WITHOUT_ORDER = "held-without-order":
        "nothing is held, and no order recorded, for a checkout without an OrderCreated";
    STOCK_BALANCE = "stock-balance":
        "the stock reserved of a product is the sum of its live reservations";
    SAGA_AT_REST = "saga-at-rest":
        "every saga has ended as it was published";
    TIMER = "timer":
        "no timer is overdue, and what has ended has none";
    LAG = "lag":
        "every service has handled every record that is older than the grace period";
    OUTPUTS = "outputs":
        "no message has waited for its publication longer than the grace period";
    DEAD_LETTER = "dead-letter":
        "only poison is in a dead-letter topic: nothing that decodes, nothing that a service broke down on";
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// Something that does not add up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Violation {
    /// The rule that is broken.
    pub rule: Rule,
    /// What breaks it, for people.
    pub detail: String,
    /// The cart concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cart_id: Option<CartId>,
    /// The checkout concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkout_id: Option<CheckoutId>,
    /// What else it is about: a product, a partition, a dead letter. Two looks
    /// found the same when rule, cart, checkout and this are equal.
    #[serde(skip)]
    pub subject: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.rule.name)?;
        if let Some(checkout) = &self.checkout_id {
            write!(f, "checkout {checkout} of ")?;
        }
        if let Some(cart) = &self.cart_id {
            write!(f, "cart {cart}: ")?;
        }
        f.write_str(&self.detail)
    }
}
