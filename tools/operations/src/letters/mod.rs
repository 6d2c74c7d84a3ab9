//! Dead letters: what services put aside, why, and what became of it.
//!
//! A letter is open until it is redriven or discarded. That is remembered in Kafka, as
//! the committed offsets of a group that nobody is a member of: the letters themselves
//! are never changed or removed before their retention is over.
//!
//! - `reading`: finds those that a `filter` means; `letter` is one, `found` are all,
//!   `groups` what they have in common.
//! - `redrive` and `discard`: what becomes of them; `ledger`: what came of each, `failure`
//!   why it went wrong.
//! - `remember`: keeps which were handled; `marks` is the form of it, of `ranges`; `marking`
//!   writes it, `clients` ask Kafka.

mod clients;
mod discard;
mod failure;
mod filter;
mod found;
mod groups;
mod id;
mod ledger;
mod letter;
mod marking;
mod marks;
mod ranges;
mod reading;
mod redrive;
mod remember;

pub use discard::discard;
pub use filter::Filter;
pub use found::Letters;
pub use groups::Group;
pub use id::LetterId;
pub use ledger::{Redriven, Verdict};
pub use letter::Letter;
pub use marks::Discarded;
pub use reading::{Most, read};
pub use redrive::{redrive, rehearse};
