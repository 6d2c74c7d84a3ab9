//! What is checked out: carts drawn from a seed, and the stock for them.

use checkoutctl::stock::Stock;
use contracts::ids::{CartId, CustomerId, EventId, GenericUuid};
use contracts::messages::{CartCheckedOut, CartItem};
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use crate::cli::{Ids, Mix};

/// Products that there is plenty of.
const PRODUCTS: u32 = 1_000;
/// Pieces of each of them.
const PLENTY: i64 = 1_000_000_000;
/// A product that there is none of.
const NONE: &str = "sku-none";
/// Minor units; the simulated gateway authorizes multiples of it.
const PRICE: i64 = 1_000;
/// Added to the total where the gateway shall decline: by the amount's end.
const DECLINED_CENTS: i64 = 51;

/// An endless row of carts.
pub(crate) struct Carts {
    random: StdRng,
    mix: Mix,
    items: u32,
    ids: Ids,
}

impl Carts {
    pub(crate) fn new(seed: u64, mix: Mix, items: u32, ids: Ids) -> Self {
        Self {
            random: StdRng::seed_from_u64(seed),
            mix,
            items,
            ids,
        }
    }

    /// The next one.
    pub(crate) fn draw(&mut self) -> CartCheckedOut {
        let drawn = self.random.random_range(0..100);
        let out_of_stock = drawn < self.mix.out_of_stock;
        let declined = !out_of_stock && drawn < self.mix.out_of_stock + self.mix.declined;
        let first = self.random.random_range(0..PRODUCTS);
        let items: Vec<_> = (0..self.items)
            .map(|line| CartItem {
                product_id: match line {
                    0 if out_of_stock => NONE.to_owned(),
                    _ => product((first + line) % PRODUCTS),
                },
                quantity: 1,
                unit_price: match line {
                    0 if declined => PRICE + DECLINED_CENTS,
                    _ => PRICE,
                },
            })
            .collect();
        CartCheckedOut {
            event_id: EventId::from_untyped_uuid(self.id()),
            occurred_at: Timestamp::now(),
            cart_id: CartId::from_untyped_uuid(self.id()),
            customer_id: CustomerId::from_untyped_uuid(self.id()),
            subtotal: None,
            discount: None,
            total: items.iter().map(|item| item.unit_price).sum(),
            currency: "EUR".to_owned(),
            items,
        }
    }

    /// Random bits from the seed, so that a run can be repeated; ids are unique
    /// because every run has a seed of its own.
    fn id(&mut self) -> Uuid {
        let bits = match self.ids {
            Ids::Random => uuid::Builder::from_random_bytes(self.random.random()),
            Ids::TimeOrdered => {
                let now_ms = Timestamp::now().as_millisecond().unsigned_abs();
                uuid::Builder::from_unix_timestamp_millis(now_ms, &self.random.random())
            }
        };
        bits.into_uuid()
    }
}

fn product(number: u32) -> String {
    format!("sku-{number:04}")
}

/// The stock that makes the carts end as they should.
pub(crate) fn stock() -> anyhow::Result<Vec<Stock>> {
    let plenty = (0..PRODUCTS).map(|number| Stock::new(&product(number), PLENTY));
    plenty.chain([Stock::new(NONE, 0)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_kept_and_the_sums_are_right() {
        let mix = Mix {
            out_of_stock: 10,
            declined: 20,
        };
        let mut carts = Carts::new(7, mix, 3, Ids::Random);
        let drawn: Vec<_> = (0..10_000).map(|_| carts.draw()).collect();
        let count =
            |is: &dyn Fn(&CartCheckedOut) -> bool| drawn.iter().filter(|cart| is(cart)).count();
        let missing = count(&|cart| cart.items[0].product_id == NONE);
        let declined = count(&|cart| cart.total % 100 == DECLINED_CENTS);
        assert!((900..1_100).contains(&missing), "{missing}");
        assert!((1_850..2_150).contains(&declined), "{declined}");
        assert!(drawn.iter().all(|cart| cart.items.len() == 3));
    }
}
