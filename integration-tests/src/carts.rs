//! Carts, as a cart service would publish them.

use contracts::ids::{CartId, CustomerId, EventId, GenericUuid};
use contracts::messages::{CartCheckedOut, CartItem};
use jiff::Timestamp;
use uuid::Uuid;

/// A cart of one product.
pub fn cart(product: &str, quantity: i32, unit_price: i64) -> CartCheckedOut {
    CartCheckedOut {
        event_id: EventId::from_untyped_uuid(Uuid::new_v4()),
        occurred_at: Timestamp::now(),
        cart_id: CartId::from_untyped_uuid(Uuid::new_v4()),
        customer_id: CustomerId::from_untyped_uuid(Uuid::new_v4()),
        items: vec![CartItem {
            product_id: product.to_owned(),
            quantity,
            unit_price,
        }],
        subtotal: None,
        discount: None,
        total: i64::from(quantity).saturating_mul(unit_price),
        currency: "EUR".to_owned(),
    }
}

/// The same cart, checked out once more.
pub fn again(cart: &CartCheckedOut) -> CartCheckedOut {
    CartCheckedOut {
        event_id: EventId::from_untyped_uuid(Uuid::new_v4()),
        ..cart.clone()
    }
}
