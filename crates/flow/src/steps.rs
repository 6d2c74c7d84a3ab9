//! One file for each step of the saga: how it is done beside how it is undone.

pub mod inventory;
pub mod order;
pub mod payment;
