//! Carts at a set rate, each with the ending that it should have.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contracts::messages::CartCheckedOut;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep_until};

use crate::carts::cart;
use crate::{System, product};

/// Pieces that no load uses up.
const PLENTY: i64 = 1_000_000_000;
/// The simulated gateway declines amounts that end so.
const DECLINED_PRICE: i64 = 1051;
/// It answers only the second try of amounts that end so.
const RETRIED_PRICE: i64 = 1091;

/// What to publish.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub carts: usize,
    /// Carts a second.
    pub rate: f64,
    /// Draws the mix: of a hundred carts about 80 fine, 8 out of stock, 8
    /// declined, 4 whose gateway fails once.
    pub seed: u64,
    /// Products that the fine ones share: few make them wait for each other's
    /// rows.
    pub products: usize,
}

impl Load {
    /// So many carts at this rate.
    pub fn new(carts: usize, rate: f64) -> Self {
        Self {
            carts,
            rate,
            seed: 1,
            products: 8,
        }
    }
}

impl System {
    /// Publishes a load at its rate and returns what was published, in order;
    /// late, not fewer, when Kafka is away.
    pub async fn load(&self, load: Load) -> Vec<CartCheckedOut> {
        self.load_during(load, async {}).await
    }

    /// Publishes a load while something happens: at its rate, its number of
    /// carts, and more as long as that has not ended.
    pub async fn load_during(
        &self,
        load: Load,
        happening: impl Future<Output = ()>,
    ) -> Vec<CartCheckedOut> {
        let ended = AtomicBool::new(false);
        let happening = async {
            happening.await;
            ended.store(true, Ordering::Relaxed);
        };
        let goes_on = |published| published < load.carts || !ended.load(Ordering::Relaxed);
        tokio::join!(self.publish_while(load, goes_on), happening).0
    }

    async fn publish_while(
        &self,
        load: Load,
        goes_on: impl Fn(usize) -> bool,
    ) -> Vec<CartCheckedOut> {
        let mut random = StdRng::seed_from_u64(load.seed);
        let products: Vec<String> = (0..load.products.max(1)).map(|_| product()).collect();
        futures::future::join_all(
            products
                .iter()
                .map(|product| self.set_stock(product, PLENTY)),
        )
        .await;
        let nowhere = product();
        let begin = Instant::now();
        let mut published = Vec::with_capacity(load.carts);
        for number in 0.. {
            if !goes_on(number) {
                break;
            }
            #[allow(clippy::cast_precision_loss, reason = "a time to sleep")]
            let offset = Duration::from_secs_f64(number as f64 / load.rate);
            sleep_until(begin + offset).await;
            let product = &products[random.random_range(0..products.len())];
            let cart = match random.random_range(0..100) {
                0..80 => cart(product, random.random_range(1..4), 700),
                80..88 => cart(&nowhere, 1, 700),
                88..96 => cart(product, 1, DECLINED_PRICE),
                _ => cart(product, 1, RETRIED_PRICE),
            };
            self.publish(&cart).await;
            published.push(cart);
        }
        published
    }
}
