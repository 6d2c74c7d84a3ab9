//! What has to hold. Pure: from the books to what does not add up.

use std::collections::{BTreeMap, BTreeSet};

use contracts::ids::{CartId, CheckoutId, GenericUuid};
use contracts::messages::OrderCreated;

use super::Violation;
use super::books::{Books, Outcome, Pieces};

/// One finding after another.
#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn add(&mut self, rule: &'static str, detail: String) {
        self.0.push(Violation { rule, detail });
    }
}

pub(super) fn violations(books: &Books) -> Vec<Violation> {
    let mut findings = Findings::default();
    one_outcome_each(books, &mut findings);
    one_order_a_cart(books, &mut findings);
    orders_are_backed(books, &mut findings);
    nothing_held_without_order(books, &mut findings);
    stock_adds_up(books, &mut findings);
    sagas_are_at_rest(books, &mut findings);
    findings.0
}

fn created(books: &Books) -> impl Iterator<Item = (&CheckoutId, &CartId, &OrderCreated)> {
    books
        .outcomes
        .iter()
        .filter_map(|(checkout, cart, outcome)| match outcome {
            Outcome::Created(order) => Some((checkout, cart, order.as_ref())),
            Outcome::Failed(_) | Outcome::Rejected(_) => None,
        })
}

fn one_outcome_each(books: &Books, findings: &mut Findings) {
    const RULE: &str = "every checkout has exactly one outcome";
    let mut counts: BTreeMap<CheckoutId, usize> = BTreeMap::new();
    for (checkout, cart, _) in &books.outcomes {
        *counts.entry(*checkout).or_default() += 1;
        if !books.checkouts.contains_key(checkout) {
            let detail = format!("checkout {checkout} of cart {cart} was never asked for");
            findings.add(RULE, detail);
        }
    }
    for (checkout, cart) in &books.checkouts {
        match counts.get(checkout).copied().unwrap_or(0) {
            1 => {}
            0 => findings.add(RULE, format!("checkout {checkout} of cart {cart} has none")),
            more => {
                findings.add(
                    RULE,
                    format!("checkout {checkout} of cart {cart} has {more}"),
                );
            }
        }
    }
}

fn one_order_a_cart(books: &Books, findings: &mut Findings) {
    const RULE: &str = "a cart has at most one order";
    let mut seen: BTreeMap<CartId, BTreeSet<CheckoutId>> = BTreeMap::new();
    for (checkout, cart, _) in created(books) {
        seen.entry(*cart).or_default().insert(*checkout);
    }
    for (checkout, order) in &books.orders {
        if order.state == "RECORDED" {
            seen.entry(order.cart_id).or_default().insert(*checkout);
        }
    }
    for (cart, checkouts) in seen {
        if checkouts.len() > 1 {
            findings.add(RULE, format!("cart {cart} has {}", checkouts.len()));
        }
    }
}

fn orders_are_backed(books: &Books, findings: &mut Findings) {
    const ORDER: &str = "every OrderCreated has its order";
    const MONEY: &str = "every OrderCreated has its authorization";
    const STOCK: &str = "every OrderCreated has its reservation";
    for (checkout, cart, event) in created(books) {
        let what = format!("checkout {checkout} of cart {cart}");
        let published = pieces(event);
        match books.orders.get(checkout) {
            Some(order) if order.state == "RECORDED" => {
                if order.order_id != Some(event.order_id.into_untyped_uuid())
                    || order.total != Some(event.total)
                    || order.currency.as_deref() != Some(&event.currency)
                    || order.pieces != published
                {
                    findings.add(ORDER, format!("{what}: another content: {order:?}"));
                }
            }
            Some(order) => findings.add(ORDER, format!("{what}: its order is {}", order.state)),
            None => findings.add(ORDER, format!("{what}: there is no order")),
        }
        match books.authorizations.get(checkout) {
            Some(held) if held.state == "AUTHORIZED" => {
                if held.amount != Some(event.total)
                    || held.currency.as_deref() != Some(&event.currency)
                {
                    findings.add(MONEY, format!("{what}: another amount: {held:?}"));
                }
            }
            Some(held) => {
                findings.add(
                    MONEY,
                    format!("{what}: its authorization is {}", held.state),
                );
            }
            None => findings.add(MONEY, format!("{what}: there is no authorization")),
        }
        match books.reservations.get(checkout) {
            Some(held) if held.state == "RESERVED" => {
                if held.pieces != published {
                    findings.add(STOCK, format!("{what}: other products: {:?}", held.pieces));
                }
            }
            Some(held) => {
                findings.add(STOCK, format!("{what}: its reservation is {}", held.state));
            }
            None => findings.add(STOCK, format!("{what}: there is no reservation")),
        }
    }
}

/// Pieces by product, of all lines together.
fn pieces(event: &OrderCreated) -> Pieces {
    let mut pieces = Pieces::new();
    for item in &event.items {
        *pieces.entry(item.sku.clone()).or_default() += i64::from(item.quantity);
    }
    pieces
}

fn nothing_held_without_order(books: &Books, findings: &mut Findings) {
    const RULE: &str = "nothing is held without an order";
    let ordered: BTreeSet<&CheckoutId> = created(books).map(|(checkout, _, _)| checkout).collect();
    let held = [
        ("order", states(&books.orders, |order| &order.state)),
        (
            "authorization",
            states(&books.authorizations, |held| &held.state),
        ),
        (
            "reservation",
            states(&books.reservations, |held| &held.state),
        ),
    ];
    for (what, rows) in held {
        for (checkout, state) in rows {
            // Everything that is, or may still become, a hold.
            let holds = matches!(
                state,
                "RECORDED" | "REQUESTED" | "AUTHORIZED" | "VOIDING" | "RESERVED"
            );
            if holds && !ordered.contains(checkout) {
                findings.add(RULE, format!("checkout {checkout}: its {what} is {state}"));
            }
        }
    }
}

fn states<T>(
    rows: &BTreeMap<CheckoutId, T>,
    state: impl Fn(&T) -> &String,
) -> Vec<(&CheckoutId, &str)> {
    rows.iter()
        .map(|(checkout, row)| (checkout, state(row).as_str()))
        .collect()
}

fn stock_adds_up(books: &Books, findings: &mut Findings) {
    const RULE: &str = "stock reserved is the sum of live reservations";
    for (product, stock) in &books.stock {
        if stock.reserved != stock.in_live_reservations {
            findings.add(
                RULE,
                format!(
                    "product {product}: {} reserved, {} in live reservations",
                    stock.reserved, stock.in_live_reservations
                ),
            );
        }
    }
}

fn sagas_are_at_rest(books: &Books, findings: &mut Findings) {
    const RULE: &str = "every saga has ended as it was published";
    let ordered: BTreeSet<&CartId> = created(books).map(|(_, cart, _)| cart).collect();
    for (cart, saga) in &books.sagas {
        let expected = match ordered.contains(cart) {
            true => "COMPLETED",
            false => "FAILED",
        };
        // An operator who abandons a saga answers for what it holds.
        if saga.state != expected && saga.state != "ABANDONED" {
            let detail = format!(
                "the saga of cart {cart} (checkout {}) is {}, expected {expected}",
                saga.checkout_id, saga.state
            );
            findings.add(RULE, detail);
        }
    }
    for cart in books.carts() {
        if !books.sagas.contains_key(&cart) {
            findings.add(RULE, format!("cart {cart} has no saga"));
        }
    }
}
