//! Carts as people write them, or made up.

use audit::{Error, Result};
use contracts::ids::{CartId, CustomerId, EventId, GenericUuid};
use contracts::messages::{CartCheckedOut, CartItem};
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

/// A cart as people write it: what is not given is made up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Draft {
    event_id: Option<EventId>,
    occurred_at: Option<Timestamp>,
    cart_id: Option<CartId>,
    customer_id: Option<CustomerId>,
    items: Vec<CartItem>,
    subtotal: Option<i64>,
    discount: Option<i64>,
    /// The sum of the items less the discount, where it is not given.
    total: Option<i64>,
    currency: Option<String>,
}

impl Draft {
    fn cart(self) -> CartCheckedOut {
        let sum = self.items.iter().fold(0_i64, |sum, item| {
            sum.saturating_add(item.unit_price.saturating_mul(i64::from(item.quantity)))
        });
        let total = sum.saturating_sub(self.discount.unwrap_or(0));
        CartCheckedOut {
            event_id: self
                .event_id
                .unwrap_or_else(|| EventId::from_untyped_uuid(Uuid::new_v4())),
            occurred_at: self.occurred_at.unwrap_or_else(Timestamp::now),
            cart_id: self
                .cart_id
                .unwrap_or_else(|| CartId::from_untyped_uuid(Uuid::new_v4())),
            customer_id: self
                .customer_id
                .unwrap_or_else(|| CustomerId::from_untyped_uuid(Uuid::new_v4())),
            items: self.items,
            subtotal: self.subtotal,
            discount: self.discount,
            total: self.total.unwrap_or(total),
            currency: self.currency.unwrap_or_else(|| "EUR".to_owned()),
        }
    }
}

/// Reads carts: JSON objects one behind the other, or lists of them. Ids, time,
/// total (the sum) and currency (EUR) may be left out.
///
/// # Errors
/// Says what is not a cart, and where.
pub fn carts(text: &str) -> Result<Vec<CartCheckedOut>> {
    let mut carts = Vec::new();
    let values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    for value in values {
        let not_json = |error: serde_json::Error| Error::Invalid(format!("not JSON: {error}"));
        let drafts = match value.map_err(not_json)? {
            serde_json::Value::Array(list) => list,
            one => vec![one],
        };
        for draft in drafts {
            let number = carts.len() + 1;
            let draft: Draft = serde_json::from_value(draft)
                .map_err(|error| Error::Invalid(format!("cart {number}: {error}")))?;
            carts.push(draft.cart());
        }
    }
    match carts.is_empty() {
        true => Err(Error::Invalid("there is no cart in it".to_owned())),
        false => Ok(carts),
    }
}

/// Makes up carts of one product each, in turns.
pub fn generate(number: usize, products: &[(String, i32)], unit_price: i64) -> Vec<CartCheckedOut> {
    products
        .iter()
        .cycle()
        .take(number)
        .map(|(product, quantity)| {
            Draft {
                event_id: None,
                occurred_at: None,
                cart_id: None,
                customer_id: None,
                items: vec![CartItem {
                    product_id: product.clone(),
                    quantity: *quantity,
                    unit_price,
                }],
                subtotal: None,
                discount: None,
                total: None,
                currency: None,
            }
            .cart()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carts_are_read_and_filled_in() {
        let text = r#"{"items": [{"productId": "mug", "quantity": 2, "unitPrice": 500}], "discount": 100}
            [{"cartId": "6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e", "items": [], "total": 7, "currency": "SEK"}]"#;
        let carts = carts(text).unwrap();
        assert_eq!(carts.len(), 2);
        assert_eq!((carts[0].total, carts[0].currency.as_str()), (900, "EUR"));
        assert_eq!((carts[1].total, carts[1].currency.as_str()), (7, "SEK"));
        assert_ne!(carts[0].event_id, carts[1].event_id);
        for (bad, says) in [
            ("", "no cart"),
            ("{", "not JSON"),
            ("{}", "items"),
            (r#"{"items": [], "totl": 1}"#, "totl"),
            ("7", "cart 1"),
        ] {
            let error = super::carts(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    #[test]
    fn carts_are_made_up_in_turns() {
        let products = [("a".to_owned(), 1), ("b".to_owned(), 3)];
        let carts = generate(3, &products, 250);
        let of = |cart: &CartCheckedOut| (cart.items[0].product_id.clone(), cart.total);
        let all: Vec<_> = carts.iter().map(of).collect();
        assert_eq!(
            all,
            [("a".into(), 250), ("b".into(), 750), ("a".into(), 250)]
        );
        assert!(generate(3, &[], 250).is_empty());
    }
}
