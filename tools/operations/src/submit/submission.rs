//! What came of carts that were published.

use contracts::ids::{CartId, CheckoutId};
use serde::Serialize;

use crate::show::{BAD, GOOD, WARN, clean, paint, table};

/// What came of a cart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Submitted {
    /// The cart.
    pub cart_id: CartId,
    /// The checkout that its event began.
    pub checkout_id: CheckoutId,
    /// Whether Kafka has it; absent where that is not known, for Kafka was lost meanwhile.
    pub published: Option<bool>,
    /// `OrderCreated`, `CheckoutFailed` or `CheckoutRejected`; absent while it has
    /// none.
    pub outcome: Option<String>,
    /// The reason of a failure or rejection, the id of an order; or why the cart was
    /// not published, or may not have been.
    pub detail: Option<String>,
    /// From its publication to its outcome as it is read, in milliseconds.
    pub milliseconds: Option<u64>,
}

/// What came of all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Submission {
    /// In the order given.
    pub carts: Vec<Submitted>,
    /// Why outcomes could not be read any more: of the carts without one it is not known
    /// what came of them. Absent where all was read.
    pub unread: Option<String>,
}

impl Submission {
    /// How many carts have this outcome, or none.
    pub fn count(&self, outcome: Option<&str>) -> usize {
        let is = |one: &&Submitted| one.outcome.as_deref() == outcome;
        self.carts.iter().filter(is).count()
    }

    /// A table for people, with colours, and the command to ask later.
    pub fn text(&self) -> String {
        let rows = self.carts.iter().map(|one| {
            let outcome = match one.outcome.as_deref() {
                Some("OrderCreated") => paint(GOOD, "OrderCreated"),
                Some(other) => paint(BAD, other),
                None => match one.published {
                    Some(false) => paint(BAD, "not published"),
                    Some(true) if self.unread.is_none() => paint(WARN, "none yet"),
                    Some(true) | None => paint(WARN, "not known"),
                },
            };
            let took = one.milliseconds.map(|ms| format!("{ms} ms"));
            vec![
                one.cart_id.to_string(),
                outcome,
                took.unwrap_or_default(),
                clean(one.detail.as_deref().unwrap_or_default()),
            ]
        });
        let mut text = table(&["CART", "OUTCOME", "TOOK", ""], rows.collect());
        if let Some(why) = &self.unread {
            text.push_str(&format!(
                "outcomes could not be read any more: {}\n",
                clean(why)
            ));
        }
        let mut carts = self.carts.iter();
        let open = carts.find(|one| one.published != Some(false) && one.outcome.is_none());
        if let Some(open) = open {
            text.push_str(&format!(
                "ask later: checkoutctl explain {}, and so for each cart\n",
                open.cart_id
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use contracts::ids::GenericUuid;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn carts_whose_outcome_could_not_be_read_keep_their_ids() {
        let one = |number: u128, published: Option<bool>, outcome: Option<&str>| Submitted {
            cart_id: CartId::from_untyped_uuid(Uuid::from_u128(number)),
            checkout_id: CheckoutId::from_untyped_uuid(Uuid::from_u128(number)),
            published,
            outcome: outcome.map(str::to_owned),
            detail: None,
            milliseconds: None,
        };
        let mut submission = Submission {
            carts: vec![
                one(1, Some(true), Some("OrderCreated")),
                one(2, Some(false), None),
                one(3, Some(true), None),
            ],
            unread: Some("Kafka is away".to_owned()),
        };
        assert_eq!(submission.count(None), 2);
        let (second, third) = (submission.carts[1].cart_id, submission.carts[2].cart_id);
        let text = submission.text();
        let line = |cart: CartId| {
            let of_cart = |line: &&str| line.starts_with(&cart.to_string());
            text.lines().find(of_cart).unwrap().to_owned()
        };
        assert!(line(second).contains("not published"), "{text}");
        assert!(line(third).contains("not known"), "{text}");
        assert!(text.contains("any more: Kafka is away"), "{text}");
        let ask = format!("checkoutctl explain {third}");
        assert!(text.contains(&ask), "{text}");
        submission.unread = None;
        assert!(submission.text().contains("none yet"));
        // Whether it was published is not known: it may get an outcome.
        submission.carts[2].published = None;
        let text = submission.text();
        assert!(text.contains("not known") && text.contains(&ask), "{text}");
        submission.carts.pop();
        assert!(!submission.text().contains("ask later"));
    }
}
