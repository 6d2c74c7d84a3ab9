//! What it takes to make a batch: its reads, its rows in memory, its answers and its
//! writes as arrays, without the database. `cargo bench -p payment`.

use std::sync::Arc;
use std::time::Duration;

use contracts::ids::{self, CartId, CheckoutId, CustomerId, GenericUuid};
use contracts::messages::AuthorizePayment;
use contracts::{RecordType, Topic, TraceContext};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use jiff::Timestamp;
use payment::gateway::simulated::Simulated;
use payment::{Answer, Payments, Retry};
use runtime::{Body, Handler, Home, Input, Outbox};
use uuid::Uuid;

fn main() {
    divan::main();
}

/// One alone, and what some tens, some hundreds and thousands in flight make.
const SIZES: &[usize] = &[1, 8, 64, 512];

fn payments() -> Payments {
    let retry = Retry {
        first: Duration::from_millis(500),
        max: Duration::from_secs(30),
        overdue: Duration::from_secs(2),
    };
    Payments::new(
        Arc::new(Simulated::default()),
        Duration::from_secs(5),
        retry,
    )
}

fn command(number: usize) -> AuthorizePayment {
    let checkout_id = CheckoutId::from_untyped_uuid(Uuid::from_u128(1 + number as u128));
    AuthorizePayment {
        command_id: ids::command_id(checkout_id, RecordType::AuthorizePayment),
        checkout_id,
        cart_id: CartId::from_untyped_uuid(checkout_id.into_untyped_uuid()),
        customer_id: Some(CustomerId::from_untyped_uuid(Uuid::from_u128(7))),
        amount: 4_998,
        currency: "EUR".to_owned(),
    }
}

/// Commands that come for the first time.
fn inputs(count: usize) -> Vec<Input<Answer>> {
    let now = Timestamp::now();
    (0..count)
        .map(|number| Input {
            home: Home {
                topic: Topic::PaymentsCommands,
                partition: 0,
            },
            offset: Some(number as i64),
            now,
            trace: TraceContext::new_root(),
            body: Body::Message(command(number).into()),
        })
        .collect()
}

#[divan::bench(args = SIZES)]
fn batch(bencher: Bencher<'_, '_>, count: usize) {
    let (payments, inputs) = (payments(), inputs(count));
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let batch = black_box(&inputs[..]);
        let reads = payments.reads(batch);
        let mut state = payments
            .state(batch, Vec::new())
            .expect("no rows, nothing to convert");
        let mut out = Outbox::default();
        for input in batch {
            payments
                .handle(&mut state, input, &mut out)
                .expect("a command of ours is handled");
        }
        (reads, payments.writes(state), out)
    });
}
