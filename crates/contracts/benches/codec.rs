//! What it takes to write and read records of a saga, header of the wire format
//! included: `cargo bench -p contracts`.

use contracts::ids::{self, CartId, CheckoutId, CustomerId, EventId, GenericUuid};
use contracts::messages::{
    AuthorizePayment, CartCheckedOut, CartItem, CreateOrder, InventoryReserved, OrderCreated,
    OrderCreatedItem, OrderLine, OrderRecorded, OrderStatus, PaymentAuthorized, ReservationItem,
    ReserveInventory,
};
use contracts::{Codec, Message, RecordType, TopicNames};
use divan::{Bencher, black_box};
use jiff::Timestamp;
use uuid::Uuid;

fn main() {
    divan::main();
}

/// The records of a saga that goes straight through.
const RECORDS: &[RecordType] = &[
    RecordType::CartCheckedOut,
    RecordType::ReserveInventory,
    RecordType::InventoryReserved,
    RecordType::AuthorizePayment,
    RecordType::PaymentAuthorized,
    RecordType::CreateOrder,
    RecordType::OrderRecorded,
    RecordType::OrderCreated,
];
/// What a cart costs, in minor units.
const TOTAL: i64 = 4_998;
const SKU: &str = "sku-0001";

/// A codec that knows every schema, without a registry.
fn codec() -> Codec {
    let ids: Vec<_> = RecordType::ALL
        .iter()
        .map(|record| (*record, *record as u32 + 1))
        .collect();
    Codec::with_ids(TopicNames::default(), &ids)
}

/// A record of this type, of a cart of one line.
fn message(record: RecordType) -> Message {
    let event_id = EventId::from_untyped_uuid(Uuid::from_u128(0x7f0c_1f2a));
    let checkout_id: CheckoutId = ids::checkout_id(event_id);
    let cart_id = CartId::from_untyped_uuid(Uuid::from_u128(0xca27));
    let customer_id = CustomerId::from_untyped_uuid(Uuid::from_u128(0xc057));
    let at = Timestamp::from_second(1_750_000_000).unwrap_or_default();
    let command_id = |command| ids::command_id(checkout_id, command);
    let currency = || "EUR".to_owned();
    let reserved = || {
        vec![ReservationItem {
            product_id: SKU.to_owned(),
            quantity: 2,
        }]
    };
    match record {
        RecordType::CartCheckedOut => CartCheckedOut {
            event_id,
            occurred_at: at,
            cart_id,
            customer_id,
            items: vec![CartItem {
                product_id: SKU.to_owned(),
                quantity: 2,
                unit_price: TOTAL / 2,
            }],
            subtotal: None,
            discount: None,
            total: TOTAL,
            currency: currency(),
        }
        .into(),
        RecordType::ReserveInventory => ReserveInventory {
            command_id: command_id(record),
            checkout_id,
            cart_id,
            customer_id: Some(customer_id),
            items: reserved(),
        }
        .into(),
        RecordType::InventoryReserved => InventoryReserved {
            command_id: command_id(RecordType::ReserveInventory),
            checkout_id,
            cart_id,
            reservation_id: ids::reservation_id(checkout_id),
            items: reserved(),
            reserved_at: at,
            expires_at: None,
        }
        .into(),
        RecordType::AuthorizePayment => AuthorizePayment {
            command_id: command_id(record),
            checkout_id,
            cart_id,
            customer_id: Some(customer_id),
            amount: TOTAL,
            currency: currency(),
        }
        .into(),
        RecordType::PaymentAuthorized => PaymentAuthorized {
            command_id: command_id(RecordType::AuthorizePayment),
            checkout_id,
            cart_id,
            authorization_id: ids::authorization_id(checkout_id),
            amount: TOTAL,
            currency: currency(),
            authorized_at: at,
        }
        .into(),
        RecordType::CreateOrder => CreateOrder {
            command_id: command_id(record),
            checkout_id,
            cart_id,
            customer_id,
            items: vec![OrderLine {
                product_id: SKU.to_owned(),
                quantity: 2,
                unit_price: TOTAL / 2,
            }],
            total: TOTAL,
            currency: currency(),
            payment_authorization_id: ids::authorization_id(checkout_id),
        }
        .into(),
        RecordType::OrderRecorded => OrderRecorded {
            command_id: command_id(RecordType::CreateOrder),
            checkout_id,
            cart_id,
            order_id: ids::order_id(checkout_id),
            recorded_at: at,
        }
        .into(),
        RecordType::OrderCreated => OrderCreated {
            event_id: ids::event_id(checkout_id, record),
            order_id: ids::order_id(checkout_id),
            checkout_id,
            cart_id,
            customer_id,
            total: TOTAL,
            currency: currency(),
            status: OrderStatus::Created,
            items: vec![OrderCreatedItem {
                sku: SKU.to_owned(),
                quantity: 2,
                unit_price: TOTAL / 2,
            }],
            created_at: at,
        }
        .into(),
        other => unreachable!("{} is not of a straight saga", other.full_name()),
    }
}

/// Into a buffer that is there already.
#[divan::bench(args = RECORDS)]
fn encode(bencher: Bencher<'_, '_>, record: &RecordType) {
    let (codec, message, mut value) = (codec(), message(*record), Vec::with_capacity(512));
    bencher.bench_local(|| {
        value.clear();
        codec
            .encode_into(black_box(&message), &mut value)
            .expect("a record of ours is encoded");
        value.len()
    });
}

#[divan::bench(args = RECORDS)]
fn decode(bencher: Bencher<'_, '_>, record: &RecordType) {
    let codec = codec();
    let value = codec
        .encode(&message(*record))
        .expect("a record of ours is encoded");
    bencher.bench_local(|| {
        codec
            .decode_now(record.topic(), Some(black_box(&value)))
            .expect("the schema is known")
            .expect("a record of ours is decoded")
    });
}

/// The eight headers of a record.
#[divan::bench]
fn headers(bencher: Bencher<'_, '_>) {
    let message = message(RecordType::OrderCreated);
    let trace = contracts::TraceContext::new_root();
    let now = Timestamp::now();
    bencher.bench_local(|| {
        contracts::headers(black_box(&message), "/checkout/orchestrator", now, &trace)
    });
}
