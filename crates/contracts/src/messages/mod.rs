//! One Rust type for each record of `schemas/`, field for field and in the
//! schema's order.
//!
//! Amounts of money are minor units of the record's currency; times have
//! millisecond precision on the wire. The `.avsc` files are the source of
//! truth: tests compare every type with its schema in both directions.

mod inventory;
mod ordering;
mod payments;
mod shopping;

pub use inventory::*;
pub use ordering::*;
pub use payments::*;
pub use shopping::*;
