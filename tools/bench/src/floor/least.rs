//! What a saga costs at least: costs of the parts, times what it asks of them.
//!
//! For each batch a transaction that moves its progress row, and a round of records through
//! Kafka; for each row its share of a statement by arrays; for each record its Avro. Left out is
//! all that is ours: decoding by header, deciding, building arrays, waiting for others.

use contracts::messages::{InventoryReserved, OrderRecorded, PaymentAuthorized};
use contracts::{Message, ids};
use serde::{Deserialize, Serialize};

use super::{Costs, Floor, ROUNDS, Raw};
use crate::usage::Usage;

/// Processor time in microseconds of a round, by the records or rows in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// As measured: of a round, and its cost; the smallest first.
    points: Vec<(f64, f64)>,
}

impl Cost {
    /// Of one kind of work.
    pub(crate) fn of(raw: &[Raw], what: &str) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "at most some hundreds")]
        let mut points: Vec<(f64, f64)> = raw
            .iter()
            .filter(|raw| raw.what == what)
            .map(|raw| (raw.of_round as f64, raw.part_us + raw.client_us))
            .collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        Self { points }
    }

    /// What one more in a round adds, over all sizes that were measured.
    pub(crate) fn each_us(&self) -> f64 {
        match (self.points.first(), self.points.last()) {
            (Some(first), Some(last)) => slope(*first, *last).max(0.0),
            _ => 0.0,
        }
    }

    /// Of a round of so many: on the lines between what was measured, and beyond the
    /// largest as if each more cost what each cost there. Where there are rounds with
    /// none, a share of the smallest.
    pub(crate) fn at(&self, of_round: f64) -> f64 {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return 0.0;
        };
        if of_round <= first.0 {
            return first.1 * (of_round / first.0).clamp(0.0, 1.0);
        }
        let between = self
            .points
            .windows(2)
            .filter_map(|pair| <&[_; 2]>::try_from(pair).ok())
            .find(|[_, to]| of_round <= to.0);
        match between {
            Some([from, to]) => from.1 + slope(*from, *to) * (of_round - from.0),
            None => last.1 * (of_round / last.0),
        }
    }
}

fn slope(from: (f64, f64), to: (f64, f64)) -> f64 {
    match to.0 > from.0 {
        true => (to.1 - from.1) / (to.0 - from.0),
        false => 0.0,
    }
}

/// What one service does for a saga.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Part {
    /// Its share of batches: inputs through inputs a batch.
    pub(crate) batches: f64,
    pub(crate) outputs: f64,
    pub(crate) inserted: f64,
    pub(crate) updated: f64,
    pub(crate) kafka_transactions: f64,
}

/// What a saga asks of the parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Shape {
    pub(crate) parts: Vec<Part>,
}

impl Shape {
    /// A saga of one line that goes straight through, at so many inputs a batch and one
    /// Kafka transaction a batch of the orchestrator's.
    pub(crate) fn straight(batch_inputs: usize) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "at most some hundreds")]
        let share = |inputs: f64| inputs / batch_inputs.max(1) as f64;
        let part = |inputs, outputs, inserted, updated| Part {
            batches: share(inputs),
            outputs,
            inserted,
            updated,
            kafka_transactions: 0.0,
        };
        let orchestrator = Part {
            kafka_transactions: share(1.0),
            // The saga and its history; three moves of it.
            ..part(4.0, 4.0, 5.0, 3.0)
        };
        // A reservation with its line, from the stock; an authorization, and its
        // answer; an order with its line.
        let inventory = part(1.0, 1.0, 2.0, 1.0);
        let payment = part(2.0, 1.0, 1.0, 1.0);
        let order = part(1.0, 1.0, 2.0, 0.0);
        Self {
            parts: vec![orchestrator, inventory, payment, order],
        }
    }

    /// What the sagas of a run asked for, in its own batches.
    fn of(usage: &Usage) -> Self {
        let parts = usage.services.values().map(|work| Part {
            batches: match work.batch_inputs > 0.0 {
                true => work.inputs_per_saga / work.batch_inputs,
                false => 0.0,
            },
            outputs: work.outputs_per_saga,
            inserted: work.rows_inserted_per_saga,
            updated: work.rows_updated_per_saga,
            kafka_transactions: work.kafka_transactions_per_saga,
        });
        Self {
            parts: parts.collect(),
        }
    }

    /// The same in batches of this many inputs.
    fn in_batches_of(usage: &Usage, batch_inputs: usize) -> Self {
        let mut shape = Self::of(usage);
        #[allow(clippy::cast_precision_loss, reason = "at most some hundreds")]
        let of = batch_inputs.max(1) as f64;
        for (part, work) in shape.parts.iter_mut().zip(usage.services.values()) {
            let batches = work.inputs_per_saga / of;
            let fewer = match part.batches > 0.0 {
                true => (batches / part.batches).min(1.0),
                false => 1.0,
            };
            part.kafka_transactions *= fewer;
            part.batches = batches;
        }
        shape
    }
}

impl Costs {
    /// The least processor time of a saga of this shape, in microseconds.
    pub(crate) fn of_saga(&self, shape: &Shape) -> f64 {
        // The cart itself is a record too; its publisher's batches are not ours.
        let cart = self.records.each_us() + self.codec_us;
        let part = |part: &Part| {
            let outputs = match part.batches > 0.0 {
                true => part.outputs / part.batches,
                false => 0.0,
            };
            // A batch without outputs moves its progress row all the same.
            part.batches * (self.progress.at(outputs.max(1.0)) + self.records.at(outputs))
                + part.outputs * self.codec_us
                + part.inserted * self.inserts.each_us()
                + part.updated * self.updates.each_us()
                + part.kafka_transactions * self.transaction_us
        };
        cart + shape.parts.iter().map(part).sum::<f64>()
    }
}

/// How far a run is from what the parts cost alone; processor time of one saga in
/// microseconds, all processes but the registry.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Least {
    /// What was used.
    pub(crate) used_us: f64,
    /// The least in batches as they were.
    pub(crate) least_us: f64,
    /// The least in the largest batches that the parts were measured with.
    pub(crate) least_in_large_batches_us: f64,
}

impl Floor {
    /// For the sagas of a run.
    pub(crate) fn least_of(&self, usage: &Usage) -> Least {
        let largest = ROUNDS.iter().copied().max().unwrap_or(1);
        Least {
            used_us: usage.cpu_us_per_saga(),
            least_us: self.costs.of_saga(&Shape::of(usage)),
            least_in_large_batches_us: self.costs.of_saga(&Shape::in_batches_of(usage, largest)),
        }
    }
}

/// The answer of a participant that has what is asked for.
pub(super) fn answer(command: &Message) -> Option<Message> {
    Some(match command {
        Message::ReserveInventory(command) => InventoryReserved {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            reservation_id: ids::reservation_id(command.checkout_id),
            items: command.items.clone(),
            reserved_at: jiff::Timestamp::UNIX_EPOCH,
            expires_at: None,
        }
        .into(),
        Message::AuthorizePayment(command) => PaymentAuthorized {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            authorization_id: ids::authorization_id(command.checkout_id),
            amount: command.amount,
            currency: command.currency.clone(),
            authorized_at: jiff::Timestamp::UNIX_EPOCH,
        }
        .into(),
        Message::CreateOrder(command) => OrderRecorded {
            command_id: command.command_id,
            checkout_id: command.checkout_id,
            cart_id: command.cart_id,
            order_id: ids::order_id(command.checkout_id),
            recorded_at: jiff::Timestamp::UNIX_EPOCH,
        }
        .into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Work;

    fn raw(what: &str, of_round: usize, us: f64) -> Raw {
        Raw {
            what: what.into(),
            of_round,
            rounds_per_second: 1.0,
            round_ms: 1.0,
            part_us: us * 0.75,
            client_us: us * 0.25,
        }
    }

    /// On lines, so that sums are easily told.
    fn costs() -> Costs {
        let cost = |fixed_us: f64, each_us: f64| Cost {
            points: [1.0, 8.0, 512.0]
                .map(|of_round| (of_round, fixed_us + each_us * of_round))
                .into(),
        };
        Costs {
            records: cost(100.0, 10.0),
            progress: cost(200.0, 1.0),
            inserts: cost(1e9, 4.0),
            updates: cost(1e9, 5.0),
            transaction_us: 1_000.0,
            codec_us: 0.5,
        }
    }

    #[test]
    fn a_cost_lies_between_what_was_measured() {
        let rounds = [
            raw("a", 512, 5_612.0),
            raw("a", 1, 502.0),
            raw("a", 8, 2_602.0),
            raw("b", 1, 7.0),
        ];
        let cost = Cost::of(&rounds, "a");
        for (of_round, us) in [
            (0.0, 0.0),
            (0.5, 251.0),
            (1.0, 502.0),
            (4.5, 1_552.0),
            (8.0, 2_602.0),
            (260.0, 4_107.0),
            (1_024.0, 11_224.0),
        ] {
            assert!((cost.at(of_round) - us).abs() < 1e-6, "{of_round}: {us}");
        }
        assert!((cost.each_us() - 10.0).abs() < 1e-9, "{cost:?}");
        let single = Cost::of(&rounds, "b");
        assert_eq!((single.at(1.0), single.each_us()), (7.0, 0.0));
        assert_eq!(Cost::of(&rounds, "c").at(3.0), 0.0);
    }

    #[test]
    fn a_straight_saga_is_the_sum_of_its_parts() {
        // 8 batches, 7 outputs and the cart, 10 inserts, 5 updates, one transaction;
        // payment's two batches have one output.
        let alone = costs().of_saga(&Shape::straight(1));
        let rows = 10.0 * 4.0 + 5.0 * 5.0;
        let rounds = 6.0 * (201.0 + 110.0) + 2.0 * (201.0 + 55.0);
        let all = rounds + 8.0 * 0.5 + 10.0 + rows + 1_000.0;
        assert!((alone - all).abs() < 1e-6, "{alone} {all}");
        let many = costs().of_saga(&Shape::straight(100));
        let all = 8.0 / 100.0 * 300.0 + 7.0 * 11.5 + 10.5 + rows + 10.0;
        assert!((many - all).abs() < 1e-6, "{many} {all}");
    }

    #[test]
    fn a_run_is_taken_as_it_was_and_in_large_batches() {
        let work = Work {
            batch_inputs: 16.0,
            inputs_per_saga: 4.0,
            outputs_per_saga: 4.0,
            rows_inserted_per_saga: 5.0,
            rows_updated_per_saga: 3.0,
            kafka_transactions_per_saga: 0.25,
            ..Work::default()
        };
        let usage = Usage {
            services: [("orchestrator".to_owned(), work)].into(),
            ..Usage::default()
        };
        let floor = Floor {
            raw: vec![],
            record_bytes: 500.0,
            costs: costs(),
            least: vec![],
        };
        let each = 4.0 * 11.5 + 10.5 + 20.0 + 15.0;
        let least = floor.least_of(&usage);
        assert!((least.least_us - (0.25 * 300.0 + 250.0 + each)).abs() < 1e-6);
        // 32 times larger batches: 32 times fewer of them, and of transactions.
        let large = (0.25 * 300.0 + 250.0) / 32.0 + each;
        assert!((least.least_in_large_batches_us - large).abs() < 1e-6);
    }
}
