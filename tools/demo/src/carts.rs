//! Which carts are published, and how each should end.

use std::fmt;

use contracts::ids::{CartId, CheckoutId, CustomerId, EventId, GenericUuid, checkout_id};
use contracts::messages::{
    CartCheckedOut, CartItem, FailureReason as Failure, RejectionReason as Rejection,
};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

/// Products that there is plenty of.
const PRODUCTS: usize = 24;
/// The product that there is too little of.
const SCARCE: &str = "SKU-LAST-ONES";
/// Pieces of it; every cart that wants it wants more.
const SCARCE_ON_HAND: i64 = 3;
/// The most pieces of one product in a cart.
const MAX_QUANTITY: i32 = 4;
/// Last digits of an amount that the simulated gateway refuses.
const DECLINED: [i64; 4] = [51, 5, 54, 96];
/// And the one that it answers at the second attempt only.
const RETRIED: i64 = 91;

/// What is special about a cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// Nothing.
    Fine,
    /// Wants more of a product than there is.
    OutOfStock,
    /// Its amount is refused by the payment gateway.
    Declined,
    /// Makes no sense.
    Absurd,
    /// The same event is published twice.
    PublishedTwice,
    /// Is checked out again, by another event, before the first has ended.
    CheckedOutAgain,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::Fine,
        Self::OutOfStock,
        Self::Declined,
        Self::Absurd,
        Self::PublishedTwice,
        Self::CheckedOutAgain,
    ];

    /// How many of a hundred carts are of this kind.
    fn percent(self) -> u32 {
        match self {
            Self::Fine => 80,
            Self::OutOfStock | Self::Declined => 5,
            Self::Absurd => 4,
            Self::PublishedTwice | Self::CheckedOutAgain => 3,
        }
    }

    /// The kind of the cart with this number: first one of each, then as the
    /// percentages say.
    fn of(number: usize, random: &mut StdRng) -> Self {
        if let Some(kind) = Self::ALL.get(number) {
            return *kind;
        }
        let mut drawn = random.random_range(0..100);
        for kind in Self::ALL {
            if drawn < kind.percent() {
                return kind;
            }
            drawn -= kind.percent();
        }
        Self::Fine
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fine => "fine",
            Self::OutOfStock => "out of stock",
            Self::Declined => "payment declined",
            Self::Absurd => "absurd",
            Self::PublishedTwice => "published twice",
            Self::CheckedOutAgain => "checked out again",
        })
    }
}

/// How a checkout should end, or has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ending {
    /// By an order.
    Created,
    /// Without an order.
    Failed(Failure),
    /// Turned away.
    Rejected(Rejection),
}

impl Ending {
    /// Whether a checkout that should end like `self` may end like `actual`:
    /// whether a second checkout comes before or after the end of the first
    /// is a matter of chance.
    pub(crate) fn allows(self, actual: Self) -> bool {
        match (self, actual) {
            (Self::Rejected(_), Self::Rejected(reason)) => {
                matches!(
                    reason,
                    Rejection::CheckoutInProgress | Rejection::AlreadyOrdered
                )
            }
            (expected, actual) => expected == actual,
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.pad("OrderCreated"),
            Self::Failed(reason) => f.pad(&format!("CheckoutFailed {reason}")),
            Self::Rejected(reason) => f.pad(&format!("CheckoutRejected {reason}")),
        }
    }
}

/// A cart, and what the cart service does with it.
#[derive(Debug, Clone)]
pub(crate) struct Cart {
    pub(crate) kind: Kind,
    /// What is published, in this order.
    pub(crate) events: Vec<CartCheckedOut>,
    /// Each checkout and how it should end.
    pub(crate) expected: Vec<(CheckoutId, Ending)>,
}

impl Cart {
    pub(crate) fn id(&self) -> CartId {
        self.events[0].cart_id
    }
}

/// Products and how much there is of each: enough for every cart that does
/// not ask for too much.
pub(crate) fn stock(carts: u32) -> Vec<(String, i64)> {
    let plenty = (i64::from(carts) * i64::from(MAX_QUANTITY) * 3).max(1_000);
    (0..PRODUCTS)
        .map(|number| (product(number), plenty))
        .chain([(SCARCE.to_owned(), SCARCE_ON_HAND)])
        .collect()
}

fn product(number: usize) -> String {
    format!("SKU-{:04}", 1_000 + 37 * number)
}

/// The carts of a run, one by one.
pub(crate) fn carts(count: u32, seed: u64) -> impl Iterator<Item = Cart> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count as usize).map(move |number| cart(number, &mut random))
}

fn cart(number: usize, random: &mut StdRng) -> Cart {
    let kind = Kind::of(number, random);
    let mut event = plain(random);
    let ending = match kind {
        Kind::Fine | Kind::PublishedTwice | Kind::CheckedOutAgain => Ending::Created,
        Kind::OutOfStock => {
            event.items[0].product_id = SCARCE.into();
            event.items[0].quantity = i32::try_from(SCARCE_ON_HAND).unwrap_or(0) + 1;
            Ending::Failed(Failure::OutOfStock)
        }
        Kind::Declined => Ending::Failed(Failure::PaymentDeclined),
        Kind::Absurd => Ending::Failed(Failure::InvalidCart),
    };
    let digits = match kind {
        Kind::Declined => DECLINED[random.random_range(0..DECLINED.len())],
        _ => harmless_digits(random),
    };
    settle(&mut event, digits);
    if kind == Kind::Absurd {
        spoil(&mut event, random);
    }
    let mut expected = vec![(checkout_id(event.event_id), ending)];
    let mut events = vec![event];
    match kind {
        Kind::PublishedTwice => events.push(events[0].clone()),
        Kind::CheckedOutAgain => {
            let again = CartCheckedOut {
                event_id: EventId::from_untyped_uuid(Uuid::new_v4()),
                occurred_at: Timestamp::now(),
                ..events[0].clone()
            };
            let ending = Ending::Rejected(Rejection::CheckoutInProgress);
            expected.push((checkout_id(again.event_id), ending));
            events.push(again);
        }
        _ => {}
    }
    Cart {
        kind,
        events,
        expected,
    }
}

/// A cart of one to three different products, not added up yet.
fn plain(random: &mut StdRng) -> CartCheckedOut {
    let first = random.random_range(0..PRODUCTS);
    let items = (0..random.random_range(1..=3))
        .map(|line| CartItem {
            product_id: product((first + line * 5) % PRODUCTS),
            quantity: random.random_range(1..=MAX_QUANTITY),
            unit_price: random.random_range(2..=120) * 100 - 1,
        })
        .collect();
    CartCheckedOut {
        event_id: EventId::from_untyped_uuid(Uuid::new_v4()),
        occurred_at: Timestamp::now(),
        cart_id: CartId::from_untyped_uuid(Uuid::new_v4()),
        customer_id: CustomerId::from_untyped_uuid(Uuid::new_v4()),
        items,
        subtotal: None,
        discount: None,
        total: 0,
        currency: ["EUR", "USD", "SEK"][random.random_range(0..3)].into(),
    }
}

fn harmless_digits(random: &mut StdRng) -> i64 {
    loop {
        let digits = random.random_range(0..100);
        if !DECLINED.contains(&digits) && digits != RETRIED {
            return digits;
        }
    }
}

/// Adds the cart up, with a discount that makes the total end in `digits`.
fn settle(event: &mut CartCheckedOut, digits: i64) {
    let line = |item: &CartItem| item.unit_price * i64::from(item.quantity);
    let subtotal: i64 = event.items.iter().map(line).sum();
    // Every line costs more than 1.00, so this leaves something to pay.
    let discount = (subtotal - digits).rem_euclid(100);
    event.subtotal = Some(subtotal);
    event.discount = (discount > 0).then_some(discount);
    event.total = subtotal - discount;
}

/// Makes a sensible cart absurd, in one of the ways that clients have.
fn spoil(event: &mut CartCheckedOut, random: &mut StdRng) {
    match random.random_range(0..4) {
        0 => event.items.clear(),
        1 => event.total += 1,
        2 => event.currency = "XYZ".into(),
        _ => event.items[0].quantity = 0,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn without_ids(cart: &Cart) -> (Kind, usize, i64, String) {
        let event = &cart.events[0];
        let currency = event.currency.clone();
        (cart.kind, cart.events.len(), event.total, currency)
    }

    #[test]
    fn the_same_seed_gives_the_same_carts_under_new_ids() {
        let first: Vec<Cart> = carts(200, 7).collect();
        let second: Vec<Cart> = carts(200, 7).collect();
        for (first, second) in first.iter().zip(&second) {
            assert_eq!(without_ids(first), without_ids(second));
            assert_ne!(first.id(), second.id());
        }
    }

    #[test]
    fn most_are_fine_and_none_is_missing() {
        let mut counts = BTreeMap::<Kind, u32>::new();
        for cart in carts(1_000, 1) {
            *counts.entry(cart.kind).or_default() += 1;
        }
        assert_eq!(counts.len(), Kind::ALL.len());
        assert!(counts[&Kind::Fine] > 700, "{counts:?}");
        let few: Vec<Kind> = carts(6, 1).map(|cart| cart.kind).collect();
        assert_eq!(few, Kind::ALL, "one of each comes first");
    }

    #[test]
    fn amounts_decide_as_the_simulated_gateway_documents() {
        for cart in carts(2_000, 3) {
            let event = &cart.events[0];
            let digits = event.total % 100;
            match cart.kind {
                Kind::Declined => assert!(DECLINED.contains(&digits)),
                Kind::Absurd => {}
                _ => assert!(!DECLINED.contains(&digits) && digits != RETRIED),
            }
            if cart.kind != Kind::Absurd {
                let sum: i64 = event
                    .items
                    .iter()
                    .map(|item| item.unit_price * i64::from(item.quantity))
                    .sum();
                assert_eq!(event.subtotal, Some(sum));
                assert_eq!(event.total, sum - event.discount.unwrap_or(0));
                assert!(event.total > 0);
            }
        }
    }

    #[test]
    fn there_is_enough_stock_for_all_but_the_scarce_product() {
        let stock: BTreeMap<String, i64> = stock(500).into_iter().collect();
        let mut wanted = BTreeMap::<String, i64>::new();
        for cart in carts(500, 5) {
            for item in &cart.events[0].items {
                *wanted.entry(item.product_id.clone()).or_default() += i64::from(item.quantity);
            }
        }
        for (product, pieces) in wanted {
            if product != SCARCE {
                assert!(stock[&product] >= pieces, "{product}");
            }
        }
    }
}
