//! Which carts make sense. A record that decodes may still be absurd; such a
//! cart ends as `CheckoutFailed` with reason `INVALID_CART`, and nothing is sent
//! to any participant.

mod currencies;

use std::collections::BTreeMap;

use contracts::messages::{CartCheckedOut, CartItem};

use crate::{
    rules::Rules,
    saga::{Cart, Line},
    text::clean_to,
};

/// The longest product id, in characters.
pub const MAX_PRODUCT_ID_CHARS: usize = 64;

/// What is wrong with a cart; names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCart {
    /// There is nothing to order.
    #[error("items is empty; a cart has at least one item")]
    NoItems,
    /// More lines than the limit.
    #[error("items has {count} entries; at most {max} are allowed")]
    TooManyItems {
        /// Lines in the cart.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A product id is empty, too long or not printable.
    #[error(
        "items[{index}].productId must have 1 to {MAX_PRODUCT_ID_CHARS} characters and no control characters"
    )]
    ProductId {
        /// Position of the line.
        index: usize,
    },
    /// A quantity below 1.
    #[error("items[{index}].quantity is {quantity}; it must be at least 1")]
    Quantity {
        /// Position of the line.
        index: usize,
        /// The quantity.
        quantity: i32,
    },
    /// A negative price.
    #[error("items[{index}].unitPrice is {unit_price}; it must not be negative")]
    UnitPrice {
        /// Position of the line.
        index: usize,
        /// The price.
        unit_price: i64,
    },
    /// Price × quantity, or the sum of the lines up to this one, is too large.
    #[error("items[{index}]: the sum of unitPrice x quantity does not fit in 64 bits")]
    SumOverflow {
        /// Position of the line.
        index: usize,
    },
    /// The lines of one product add up to too many pieces.
    #[error("items[{index}].quantity: the quantities of this product do not fit in 32 bits")]
    QuantityOverflow {
        /// Position of the line.
        index: usize,
    },
    /// A subtotal that is not the sum of the lines.
    #[error("subtotal is {subtotal}, but the items add up to {sum}")]
    Subtotal {
        /// The subtotal given.
        subtotal: i64,
        /// The sum of the lines.
        sum: i64,
    },
    /// A discount that is negative or exceeds the sum of the lines.
    #[error("discount is {discount}; it must be from 0 to {sum}, the sum of the items")]
    Discount {
        /// The discount given.
        discount: i64,
        /// The sum of the lines.
        sum: i64,
    },
    /// A total that is not the sum of the lines less the discount.
    #[error("total is {total}, but the items less the discount add up to {expected}")]
    Total {
        /// The total given.
        total: i64,
        /// What it should be.
        expected: i64,
    },
    /// A currency that does not exist.
    #[error("currency is \"{currency}\", which is no current ISO 4217 code")]
    Currency {
        /// The currency given, shortened.
        currency: String,
    },
}

/// The cart, where it makes sense. A product may stand on several lines, and a
/// total of 0 is valid.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate(request: &CartCheckedOut, rules: &Rules) -> Result<Cart, InvalidCart> {
    let count = request.items.len();
    if count == 0 {
        return Err(InvalidCart::NoItems);
    }
    if count > rules.max_items {
        let max = rules.max_items;
        return Err(InvalidCart::TooManyItems { count, max });
    }
    let mut sum = 0_i64;
    let mut pieces = BTreeMap::<&str, i32>::new();
    for (index, item) in request.items.iter().enumerate() {
        validate_item(index, item)?;
        sum = item
            .unit_price
            .checked_mul(i64::from(item.quantity))
            .and_then(|price| sum.checked_add(price))
            .ok_or(InvalidCart::SumOverflow { index })?;
        let product = pieces.entry(&item.product_id).or_default();
        *product = product
            .checked_add(item.quantity)
            .ok_or(InvalidCart::QuantityOverflow { index })?;
    }
    validate_sums(request, sum)?;
    if !currencies::is_known(&request.currency) {
        let currency = clean_to(&request.currency, 12);
        return Err(InvalidCart::Currency { currency });
    }
    Ok(Cart {
        customer_id: request.customer_id,
        items: request.items.iter().map(line).collect(),
        total: request.total,
        currency: request.currency.clone(),
    })
}

fn validate_item(index: usize, item: &CartItem) -> Result<(), InvalidCart> {
    let id = &item.product_id;
    let printable = !id.chars().any(char::is_control);
    // Bytes first: a long id is not worth counting through.
    let short = id.len() <= 4 * MAX_PRODUCT_ID_CHARS && id.chars().count() <= MAX_PRODUCT_ID_CHARS;
    if id.trim().is_empty() || !short || !printable {
        return Err(InvalidCart::ProductId { index });
    }
    if item.quantity < 1 {
        let quantity = item.quantity;
        return Err(InvalidCart::Quantity { index, quantity });
    }
    if item.unit_price < 0 {
        let unit_price = item.unit_price;
        return Err(InvalidCart::UnitPrice { index, unit_price });
    }
    Ok(())
}

/// `sum` is not negative, since no price is.
fn validate_sums(request: &CartCheckedOut, sum: i64) -> Result<(), InvalidCart> {
    if let Some(subtotal) = request.subtotal
        && subtotal != sum
    {
        return Err(InvalidCart::Subtotal { subtotal, sum });
    }
    let discount = request.discount.unwrap_or(0);
    let expected = match sum.checked_sub(discount) {
        Some(expected) if (0..=sum).contains(&discount) => expected,
        _ => return Err(InvalidCart::Discount { discount, sum }),
    };
    if request.total != expected {
        let total = request.total;
        return Err(InvalidCart::Total { total, expected });
    }
    Ok(())
}

fn line(item: &CartItem) -> Line {
    Line {
        product_id: item.product_id.clone(),
        quantity: item.quantity,
        unit_price: item.unit_price,
    }
}
