//! What was published and what is stored, side by side, a small account for each
//! checkout.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

use contracts::ids::{CartId, CheckoutId, GenericUuid};
use contracts::messages::{CartCheckedOut, OrderCreated};
use contracts::{Message, ids};
use uuid::Uuid;

use crate::letters::Letters;
use crate::positions::Position;

/// Everything that the rules look at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Books {
    /// All that is known of each checkout.
    pub(crate) accounts: HashMap<CheckoutId, Account>,
    /// Rows of the inventory service, by product.
    pub(crate) stock: BTreeMap<String, Stock>,
    /// How far each service is.
    pub(crate) positions: Vec<Position>,
    /// What was moved aside.
    pub(crate) letters: Letters,
    /// Which databases were read.
    pub(crate) read: Read,
    /// The further participants whose databases were read.
    pub(crate) others: Vec<&'static str>,
    /// From when on the topics are complete.
    pub(crate) window: Window,
}

/// Which databases were read; rules about the others are not applied.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Read {
    pub(crate) orchestrator: bool,
    pub(crate) inventory: bool,
    pub(crate) payment: bool,
    pub(crate) order: bool,
}

/// From when on the topics hold everything, in milliseconds since 1970; `None`:
/// from the very beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Window(pub(crate) Option<i64>);

impl Window {
    pub(crate) fn holds(self, at_ms: i64) -> bool {
        self.0.is_none_or(|from| at_ms >= from)
    }

    /// Whether every cart that ever was is in it.
    pub(crate) fn is_complete(self) -> bool {
        self.0.is_none()
    }

    /// Moves the beginning to this time, if that is later.
    pub(crate) fn begin_at(&mut self, at_ms: i64) {
        self.0 = Some(self.0.map_or(at_ms, |from| from.max(at_ms)));
    }
}

/// All that is known of one checkout.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    pub(crate) cart: Option<CartId>,
    /// When its cart was published, in milliseconds since 1970.
    pub(crate) asked_at_ms: Option<i64>,
    /// What its cart asks for.
    pub(crate) asked: Option<Bought>,
    /// Its cart is a dead letter.
    pub(crate) refused: bool,
    /// A producer used its event id for several carts: one of them is handled,
    /// the others are dead letters.
    pub(crate) shared: bool,
    /// Records on the public topics.
    pub(crate) created: u32,
    pub(crate) failed: u32,
    pub(crate) rejected: u32,
    /// What its `OrderCreated` says.
    pub(crate) event: Option<Content>,
    pub(crate) order: Option<Order>,
    pub(crate) authorization: Option<Authorization>,
    pub(crate) reservation: Option<Reservation>,
    /// What further participants hold.
    pub(crate) others: Vec<Holding>,
    /// State of the saga, where this is the cart's current checkout.
    pub(crate) saga: Option<Saga>,
}

impl Account {
    /// Records that say how it ended.
    pub(crate) fn outcomes(&self) -> u32 {
        self.created + self.failed + self.rejected
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.saga
            .as_ref()
            .is_some_and(|saga| &*saga.state == "ABANDONED")
    }
}

/// An order, as its event or its row has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) order_id: Uuid,
    pub(crate) bought: Bought,
}

/// What is bought, by whom, and for how much: in a cart or an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bought {
    pub(crate) customer: Uuid,
    /// Minor units.
    pub(crate) total: i64,
    /// ISO 4217 code.
    pub(crate) currency: Box<str>,
    pub(crate) pieces: Pieces,
    pub(crate) prices: Prices,
}

/// Products and their pieces, as a digest: carts are compared, not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pieces(u64);

impl<P: AsRef<str>> FromIterator<(P, i64)> for Pieces {
    /// Of lines in any order; several lines of one product are added up.
    fn from_iter<I: IntoIterator<Item = (P, i64)>>(lines: I) -> Self {
        let lines = lines.into_iter();
        Self(digest(lines.map(|(product, pieces)| {
            (product.as_ref().to_owned(), pieces)
        })))
    }
}

/// Products, each at its price, and their pieces, as a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Prices(u64);

impl<P: AsRef<str>> FromIterator<(P, i64, i64)> for Prices {
    /// Of products, minor units for a piece, and pieces.
    fn from_iter<I: IntoIterator<Item = (P, i64, i64)>>(lines: I) -> Self {
        let lines = lines.into_iter();
        Self(digest(lines.map(|(product, price, pieces)| {
            ((product.as_ref().to_owned(), price), pieces)
        })))
    }
}

fn digest<K: Hash + Ord>(lines: impl Iterator<Item = (K, i64)>) -> u64 {
    let mut sums = BTreeMap::<K, i64>::new();
    for (key, pieces) in lines {
        let sum = sums.entry(key).or_default();
        *sum = sum.saturating_add(pieces);
    }
    // Its keys are fixed: the same lines give the same digest.
    let mut hasher = DefaultHasher::new();
    sums.hash(&mut hasher);
    hasher.finish()
}

/// A row of `orders`, with its items.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    /// RECORDED, REJECTED or CANCELLED.
    pub(crate) state: Box<str>,
    /// `None` where none was ever recorded.
    pub(crate) content: Option<Content>,
}

/// A row of `authorizations`.
#[derive(Debug, Clone)]
pub(crate) struct Authorization {
    /// REQUESTED, AUTHORIZED, DECLINED, VOIDING or VOIDED.
    pub(crate) state: Box<str>,
    /// Minor units.
    pub(crate) amount: Option<i64>,
    /// ISO 4217 code.
    pub(crate) currency: Option<Box<str>>,
    pub(crate) timer: Timer,
}

/// A row of `reservations`, with its items.
#[derive(Debug, Clone)]
pub(crate) struct Reservation {
    /// RESERVED, UNAVAILABLE or RELEASED.
    pub(crate) state: Box<str>,
    pub(crate) pieces: Pieces,
    pub(crate) timer: Timer,
}

/// A row of the view `holdings` of a further participant.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    pub(crate) service: &'static str,
    /// In the participant's own words.
    pub(crate) state: Box<str>,
    pub(crate) is_held: bool,
}

/// A row of `sagas`.
#[derive(Debug, Clone)]
pub(crate) struct Saga {
    /// IN_PROGRESS, ..., COMPLETED, FAILED or ABANDONED.
    pub(crate) state: Box<str>,
    pub(crate) timer: Timer,
}

impl Saga {
    pub(crate) fn has_ended(&self) -> bool {
        matches!(&*self.state, "COMPLETED" | "FAILED" | "ABANDONED")
    }
}

/// What a row waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Timer {
    #[default]
    None,
    Set,
    /// Due for longer than the grace period.
    Overdue,
}

/// A row of `stock`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stock {
    /// Pieces that are held.
    pub(crate) reserved: i64,
    /// Sum of the items of live reservations.
    pub(crate) in_live_reservations: i64,
}

impl Books {
    /// Whether the database of a service was read.
    pub(crate) fn has_read(&self, service: &str) -> bool {
        match service {
            "orchestrator" => self.read.orchestrator,
            "inventory" => self.read.inventory,
            "payment" => self.read.payment,
            "order" => self.read.order,
            other => self.others.contains(&other),
        }
    }

    /// Whether this checkout is another cart's, too, or may be: what is not on the topic
    /// any more is not known.
    pub(crate) fn may_be_shared(&self, checkout: Option<CheckoutId>, cart: Option<CartId>) -> bool {
        let account = checkout.and_then(|checkout| self.accounts.get(&checkout));
        !self.window.is_complete()
            || account.is_some_and(|account| account.shared || account.cart != cart)
    }

    pub(crate) fn account(&mut self, checkout: CheckoutId, cart: CartId) -> &mut Account {
        let account = self.accounts.entry(checkout).or_default();
        account.cart.get_or_insert(cart);
        account
    }

    /// Notes a record of the cart topic or of a public one.
    pub(crate) fn note(&mut self, message: Message, at_ms: i64) {
        match message {
            Message::CartCheckedOut(cart) => {
                let checkout = ids::checkout_id(cart.event_id);
                let account = self.account(checkout, cart.cart_id);
                account.shared |= account.cart != Some(cart.cart_id);
                account.asked_at_ms.get_or_insert(at_ms);
                account.asked.get_or_insert_with(|| asked(&cart));
            }
            Message::OrderCreated(order) => {
                let account = self.account(order.checkout_id, order.cart_id);
                account.cart = Some(order.cart_id);
                account.created += 1;
                account.event = Some(content(&order));
            }
            Message::CheckoutFailed(failed) => {
                let account = self.account(failed.checkout_id, failed.cart_id);
                account.cart = Some(failed.cart_id);
                account.failed += 1;
            }
            Message::CheckoutRejected(rejected) => {
                self.account(rejected.checkout_id, rejected.cart_id)
                    .rejected += 1;
            }
            _ => {}
        }
    }
}

fn asked(cart: &CartCheckedOut) -> Bought {
    let lines = || {
        let items = cart.items.iter();
        items.map(|item| (&item.product_id, item.unit_price, i64::from(item.quantity)))
    };
    Bought {
        customer: cart.customer_id.into_untyped_uuid(),
        total: cart.total,
        currency: cart.currency.as_str().into(),
        pieces: lines()
            .map(|(product, _, pieces)| (product, pieces))
            .collect(),
        prices: lines().collect(),
    }
}

fn content(order: &OrderCreated) -> Content {
    let lines = || {
        let items = order.items.iter();
        items.map(|item| (&item.sku, item.unit_price, i64::from(item.quantity)))
    };
    Content {
        order_id: order.order_id.into_untyped_uuid(),
        bought: Bought {
            customer: order.customer_id.into_untyped_uuid(),
            total: order.total,
            currency: order.currency.as_str().into(),
            pieces: lines()
                .map(|(product, _, pieces)| (product, pieces))
                .collect(),
            prices: lines().collect(),
        },
    }
}
