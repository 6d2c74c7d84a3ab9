//! The rows that one batch has read and changes.

use contracts::ids::{CartId, CheckoutId, CommandId};
use contracts::messages::{ReleaseReason, ReservationItem, UnavailableItem};
use jiff::Timestamp;
use runtime::Home;
use service::{RowCache, Rows};

/// All rows of a batch.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What is known of the checkouts that the batch is about.
    pub(crate) reservations: Rows<CheckoutId, Reservation>,
    /// The stock of every product that the batch may touch.
    pub(crate) stock: Rows<String, Stock>,
}

/// The rows of former batches.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) reservations: RowCache<CheckoutId, Reservation>,
    pub(crate) stock: RowCache<String, Stock>,
}

impl runtime::Cache for Kept {
    fn new(max_rows: usize) -> Self {
        Self {
            reservations: RowCache::new(max_rows),
            stock: RowCache::new(max_rows),
        }
    }
}

impl State {
    /// Takes what is kept of a checkout and of the stock that it holds; false where
    /// something is not.
    pub(crate) fn recall(&mut self, checkout: CheckoutId, kept: &mut Kept) -> bool {
        if !self.reservations.recall(&checkout, &mut kept.reservations) {
            return false;
        }
        let held = self.reservations.get(&checkout);
        let held = held.map_or(&[][..], Reservation::reserved_items);
        let products: Vec<_> = held.iter().map(|item| item.product_id.clone()).collect();
        products
            .iter()
            .all(|product| self.stock.recall(product, &mut kept.stock))
    }
}

/// What inventory has heard of one checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) cart_id: CartId,
    /// The reserve, once it came and was not too late.
    pub(crate) reserve: Option<Reserve>,
    /// The release, once it came.
    pub(crate) release: Option<Release>,
    /// Whose owner fires the timer.
    pub(crate) home: Home,
    /// The trace of the command that made the row, which the timer continues.
    pub(crate) traceparent: String,
    /// When the timer fires; none where nothing is left to do.
    pub(crate) wake_at: Option<Timestamp>,
}

/// A reserve that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reserve {
    pub(crate) command_id: CommandId,
    pub(crate) at: Timestamp,
    pub(crate) answer: Answer,
}

/// How a reserve was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The items are held, or were until the release.
    Reserved {
        items: Vec<ReservationItem>,
        expires_at: Option<Timestamp>,
    },
    /// Nothing is held.
    Unavailable { items: Vec<UnavailableItem> },
}

/// A release that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) command_id: CommandId,
    pub(crate) reason: ReleaseReason,
    pub(crate) at: Timestamp,
}

impl Reservation {
    /// What the reserve was given, whether or not it was released since.
    pub(crate) fn reserved_items(&self) -> &[ReservationItem] {
        match &self.reserve {
            Some(Reserve {
                answer: Answer::Reserved { items, .. },
                ..
            }) => items,
            _ => &[],
        }
    }

    /// Whether stock was reserved, and perhaps released since.
    pub(crate) fn was_reserved(&self) -> bool {
        !self.reserved_items().is_empty()
    }

    /// The name of the state in the table.
    pub(crate) fn state(&self) -> &'static str {
        if self.release.is_some() {
            "RELEASED"
        } else if self.was_reserved() {
            "RESERVED"
        } else {
            "UNAVAILABLE"
        }
    }
}

/// The stock of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stock {
    /// Pieces that exist.
    pub(crate) on_hand: i64,
    /// Pieces held by live reservations; may exceed `on_hand` when that was lowered.
    pub(crate) reserved: i64,
    /// The latest command that set `on_hand`.
    pub(crate) set_command_id: CommandId,
    /// `reserved` as it was then: part of the answer.
    pub(crate) reserved_when_set: i64,
    /// When that was.
    pub(crate) set_at: Timestamp,
}

impl Stock {
    /// Pieces that can be reserved.
    pub(crate) fn available(&self) -> i64 {
        self.on_hand.saturating_sub(self.reserved).max(0)
    }
}
