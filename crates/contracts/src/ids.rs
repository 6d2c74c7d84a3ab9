//! Typed identifiers, and how one is derived from another.
//!
//! An identifier of one kind cannot be passed where another kind is meant. All
//! derived identifiers are version 5 UUIDs, so whoever repeats a piece of work
//! after a crash comes to the same ones, and a consumer recognises the repeat.

use newtype_uuid::TypedUuidKind;
pub use newtype_uuid::{GenericUuid, TypedUuid};
use uuid::Uuid;

use crate::RecordType;

/// Declares kinds of identifiers.
macro_rules! kinds {
    ($($(#[$doc:meta])* $id:ident = $kind:ident, $tag:literal;)*) => {$(
        #[doc = concat!("Marks an identifier as a [`", stringify!($id), "`].")]
        #[derive(Debug)]
        pub enum $kind {}

        impl newtype_uuid::TypedUuidKind for $kind {
            fn tag() -> newtype_uuid::TypedUuidTag {
                const TAG: newtype_uuid::TypedUuidTag = newtype_uuid::TypedUuidTag::new($tag);
                TAG
            }
        }

        $(#[$doc])*
        pub type $id = newtype_uuid::TypedUuid<$kind>;
    )*};
}

#[allow(unused_imports, reason = "for the messages of a further participant")]
pub(crate) use kinds;

kinds! {
    /// A shopping cart; the key of nearly every record.
    CartId = CartKind, "cart";
    /// A customer of the shop.
    CustomerId = CustomerKind, "customer";
    /// One fact that was published.
    EventId = EventKind, "event";
    /// One attempt to check a cart out: one saga.
    CheckoutId = CheckoutKind, "checkout";
    /// One command to a participant, however often it is sent.
    CommandId = CommandKind, "command";
    /// Stock held for a checkout.
    ReservationId = ReservationKind, "reservation";
    /// Money held for a checkout.
    AuthorizationId = AuthorizationKind, "authorization";
    /// An order in the order database.
    OrderId = OrderKind, "order";
    /// One input of an operator.
    OperationId = OperationKind, "operation";
}

/// Derives the identifier of kind `K` that `name` has under `parent`.
///
/// The same parent and name always give the same identifier (UUID version 5).
pub fn derive<K: TypedUuidKind>(parent: Uuid, name: &str) -> TypedUuid<K> {
    TypedUuid::from_untyped_uuid(Uuid::new_v5(&parent, name.as_bytes()))
}

/// The checkout that the `CartCheckedOut` with this event id begins.
pub fn checkout_id(event: EventId) -> CheckoutId {
    CheckoutId::from_untyped_uuid(event.into_untyped_uuid())
}

/// The id of the command of this type that belongs to a checkout.
pub fn command_id(checkout: CheckoutId, command: RecordType) -> CommandId {
    derive(checkout.into_untyped_uuid(), command.full_name())
}

/// The id of the event of this type that belongs to a checkout and happens at
/// most once in it.
pub fn event_id(checkout: CheckoutId, event: RecordType) -> EventId {
    derive(checkout.into_untyped_uuid(), event.full_name())
}

/// The id of the snapshot of a saga at a revision of its state.
pub fn snapshot_id(checkout: CheckoutId, revision: u64) -> EventId {
    let name = format!("{}/{revision}", RecordType::SagaSnapshot.full_name());
    derive(checkout.into_untyped_uuid(), &name)
}

/// The id of the alert that a saga is stuck, by the snapshot that shows it stuck.
pub fn stuck_id(checkout: CheckoutId, revision: u64) -> EventId {
    let name = format!("{}/{revision}", RecordType::SagaStuck.full_name());
    derive(checkout.into_untyped_uuid(), &name)
}

/// The reservation that holds stock for a checkout.
pub fn reservation_id(checkout: CheckoutId) -> ReservationId {
    derive(checkout.into_untyped_uuid(), "reservation")
}

/// The authorization that holds money for a checkout.
pub fn authorization_id(checkout: CheckoutId) -> AuthorizationId {
    derive(checkout.into_untyped_uuid(), "authorization")
}

/// The order of a checkout.
pub fn order_id(checkout: CheckoutId) -> OrderId {
    derive(checkout.into_untyped_uuid(), "order")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_the_published_ones() {
        // Fixed for ever: other systems hold these ids.
        let event: EventId = "6f2d7c1e-58a4-4c7d-9b0e-3f1a2b4c5d6e".parse().unwrap();
        let checkout = checkout_id(event);
        assert_eq!(checkout.to_string(), event.to_string());
        let shown = [
            command_id(checkout, RecordType::ReserveInventory).to_string(),
            event_id(checkout, RecordType::OrderCreated).to_string(),
            snapshot_id(checkout, 3).to_string(),
            reservation_id(checkout).to_string(),
            authorization_id(checkout).to_string(),
            order_id(checkout).to_string(),
        ];
        insta::assert_json_snapshot!(shown);
    }

    #[test]
    fn ids_of_different_parents_or_names_differ() {
        let one = CheckoutId::from_untyped_uuid(Uuid::from_u128(1));
        let two = CheckoutId::from_untyped_uuid(Uuid::from_u128(2));
        assert_ne!(reservation_id(one), reservation_id(two));
        assert_ne!(
            command_id(one, RecordType::ReserveInventory),
            command_id(one, RecordType::ReleaseInventory)
        );
        assert_ne!(snapshot_id(one, 1), snapshot_id(one, 2));
    }
}
