//! One file for each step of the saga: how it is done beside how it is undone.
//! Here they stand in the order in which they are done.

pub mod inventory;
pub mod order;
pub mod payment;

crate::step::steps! {
    /// Stock is reserved.
    ReserveInventory = "RESERVE_INVENTORY": inventory::RESERVE_INVENTORY;
    /// Money is authorized.
    AuthorizePayment = "AUTHORIZE_PAYMENT": payment::AUTHORIZE_PAYMENT;
    /// The order is recorded: the pivot.
    CreateOrder = "CREATE_ORDER": order::CREATE_ORDER;
}
