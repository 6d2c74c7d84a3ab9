//! The audit finds what is planted, on the real parts, and nothing else.

mod records;
mod rows;
mod tool;

use std::time::Duration;

use audit::{Options as Look, Report};
use contracts::messages::{CartCheckedOut, CheckoutFailed, OrderCreated};
use integration_tests::carts::{again, cart};
use integration_tests::{Outcome, System, product};

/// The simulated gateway declines amounts that end so.
const DECLINED_PRICE: i64 = 1051;

/// Without grace: all that is open is a violation.
fn strict() -> Look {
    Look {
        grace: Duration::ZERO,
        second_look: Some(Duration::from_millis(100)),
        ..Look::default()
    }
}

async fn look(system: &System) -> Report {
    audit::run(&system.installation().audit_target(), &strict())
        .await
        .expect("an audit")
}

fn rules(report: &Report) -> Vec<&'static str> {
    let by_rule = report.by_rule().into_iter();
    by_rule.map(|(rule, _)| rule.name).collect()
}

/// An ordered cart, a declined one and one that was turned away.
struct Played {
    ordered: CartCheckedOut,
    order: OrderCreated,
    declined: CartCheckedOut,
    failure: CheckoutFailed,
}

async fn play(system: &System) -> Played {
    let sku = product();
    system.set_stock(&sku, 100).await;
    let ordered = cart(&sku, 2, 700);
    let declined = cart(&sku, 1, DECLINED_PRICE);
    system.publish_all(&[&ordered, &declined]).await;
    let Outcome::Created(order) = system.outcome(&ordered).await else {
        panic!("not ordered");
    };
    let Outcome::Failed(failure) = system.outcome(&declined).await else {
        panic!("not declined");
    };
    let rejected = again(&ordered);
    system.publish(&rejected).await;
    system
        .assert_settled(&[ordered.clone(), declined.clone(), rejected])
        .await;
    Played {
        ordered,
        order,
        declined,
        failure,
    }
}
