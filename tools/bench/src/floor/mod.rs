//! What the parts cost by themselves, and from that the least processor time of a saga.
//!
//! - `kafka`: records through this client and broker, in rounds; bare transactions.
//! - `database`: bare transactions that move a progress row, insert or update rows.
//! - `least`: what a saga costs at least.

mod database;
mod kafka;
mod least;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::Context;
use contracts::{Codec, Message, RecordType};
use serde::{Deserialize, Serialize};
use stack::{Installation, Progress, Stack};

use crate::cli::FloorOptions;
use crate::processes::{LOAD, Looker, spent_us};
pub(crate) use least::{Cost, Least, Shape};

/// Records or rows of a round: one alone, what some tens and some hundreds of sagas in
/// flight make, and as many as are handled at once.
const ROUNDS: [usize; 4] = [1, 8, 64, 512];
/// Not counted at the beginning of each measurement.
const WARM_UP: Duration = Duration::from_millis(500);
/// Before anything is counted: a cold broker is half as fast.
const FIRST_WARM_UP: Duration = Duration::from_secs(3);

/// What [`Raw::what`] says of Kafka.
const RECORDS: &str = "records through Kafka";
const TRANSACTION: &str = "Kafka transactions";

/// One kind of work, done again and again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Raw {
    pub(crate) what: String,
    /// Records or rows of a round.
    pub(crate) of_round: usize,
    pub(crate) rounds_per_second: f64,
    /// Median of a round.
    pub(crate) round_ms: f64,
    /// Processor time of a round: of Kafka or PostgreSQL, and of this program.
    pub(crate) part_us: f64,
    pub(crate) client_us: f64,
}

/// What was measured of the parts alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Floor {
    pub(crate) raw: Vec<Raw>,
    /// Mean size of a saga's records with key and headers, in bytes.
    pub(crate) record_bytes: f64,
    pub(crate) costs: Costs,
    /// Of a saga that goes straight through, by inputs a batch.
    pub(crate) least: Vec<(usize, f64)>,
}

/// Processor time of the parts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// Records produced and consumed.
    pub(crate) records: Cost,
    /// A transaction that moves a progress row with outputs in it.
    pub(crate) progress: Cost,
    /// A transaction that inserts rows.
    pub(crate) inserts: Cost,
    /// A transaction that updates rows.
    pub(crate) updates: Cost,
    /// A Kafka transaction of one record.
    pub(crate) transaction_us: f64,
    /// Writing and reading one record's Avro.
    pub(crate) codec_us: f64,
}

/// Measures everything on parts that have nothing else to do.
///
/// # Errors
/// When Kafka or PostgreSQL cannot be used.
pub(crate) async fn measure(
    stack: &Stack,
    options: &FloorOptions,
    progress: &Progress,
) -> anyhow::Result<Floor> {
    let installation = stack.new_installation("floor", options.partitions).await?;
    let codec = Codec::connect(
        &installation.registry(),
        installation.topics(),
        RecordType::ALL,
    )
    .await?;
    let length = Duration::from_secs(options.seconds);
    let task = progress.task("the parts alone");
    task.update("Avro and Kafka");
    let meter = Meter::new(stack, length, "kafka");
    let own = installation.clone();
    // It blocks its thread, and whoever interrupts us shall not wait for it.
    let blocking = tokio::task::spawn_blocking(move || without_database(meter, &own, &codec));
    let Alone {
        mut raw,
        codec_us,
        record_bytes,
    } = blocking.await.context("the measuring thread")??;

    let mut meter = Meter::new(stack, length, "postgres");
    for kind in database::Kind::ALL {
        let mut rows = database::Rows::open(&installation, *kind, record_bytes).await?;
        for of_round in ROUNDS {
            task.update(format!("PostgreSQL: {}, {of_round} a round", kind.name()));
            rows.prepare(of_round).await?;
            raw.push(meter.run_async(kind.name(), of_round, &mut rows).await?);
        }
    }
    task.done("measured");

    let cost = |what: &str| Cost::of(&raw, what);
    let costs = Costs {
        records: cost(RECORDS),
        progress: cost(database::Kind::Progress.name()),
        inserts: cost(database::Kind::Insert.name()),
        updates: cost(database::Kind::Update.name()),
        transaction_us: cost(TRANSACTION).at(1.0),
        codec_us,
    };
    let least = ROUNDS
        .iter()
        .map(|inputs| (*inputs, costs.of_saga(&Shape::straight(*inputs))))
        .collect();
    Ok(Floor {
        raw,
        record_bytes,
        costs,
        least,
    })
}

/// What needs no database.
struct Alone {
    raw: Vec<Raw>,
    codec_us: f64,
    record_bytes: f64,
}

fn without_database(
    mut meter: Meter,
    installation: &Installation,
    codec: &Codec,
) -> anyhow::Result<Alone> {
    let samples = samples()?;
    let codec_us = codec_us(codec, &samples, meter.length)?;
    let records = kafka::records(codec, &samples)?;
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    let record_bytes =
        records.iter().map(kafka::Ready::bytes).sum::<usize>() as f64 / records.len().max(1) as f64;
    let mut raw = Vec::new();
    let mut rounds = kafka::Rounds::open(installation, records)?;
    Meter::warm_up(FIRST_WARM_UP, &mut || rounds.round(64))?;
    for of_round in ROUNDS {
        raw.push(meter.run(RECORDS, of_round, &mut || rounds.round(of_round))?);
    }
    let mut transactions = kafka::Transactions::open(installation, &samples, codec)?;
    raw.push(meter.run(TRANSACTION, 1, &mut || transactions.round())?);
    Ok(Alone {
        raw,
        codec_us,
        record_bytes,
    })
}

/// The records of a saga that goes straight through, in their order.
fn samples() -> anyhow::Result<Vec<Message>> {
    let mix = crate::cli::Mix {
        out_of_stock: 0,
        declined: 0,
    };
    let cart = crate::carts::Carts::new(1, mix, 1, crate::cli::Ids::Random).draw();
    let rules = flow::Rules::default();
    let now = cart.occurred_at;
    let mut all = Vec::new();
    let mut saga = None;
    let mut next = Some(Message::from(cart));
    while let Some(message) = next.take() {
        let input = flow::Input::of(&message).context("a record that is no input of a saga")?;
        let turn = flow::next(saga, &input, now, &rules, flow::Brakes::default());
        saga = turn.saga;
        all.push(message);
        for sent in turn.messages {
            next = least::answer(&sent);
            all.push(sent);
        }
    }
    Ok(all)
}

/// Processor time of writing and reading one record.
fn codec_us(codec: &Codec, samples: &[Message], length: Duration) -> anyhow::Result<f64> {
    let mut value = Vec::new();
    let begin = Instant::now();
    let mut records = 0.0;
    while begin.elapsed() < length {
        for message in samples {
            value.clear();
            codec.encode_into(message, &mut value)?;
            let read = codec.decode_now(message.record_type().topic(), Some(&value));
            std::hint::black_box(read.context("the codec does not know its own schema")??);
            records += 1.0;
        }
    }
    Ok(begin.elapsed().as_secs_f64() * 1e6 / records)
}

/// Repeats rounds and reads the processes' clocks.
struct Meter {
    looker: Looker,
    length: Duration,
    part: &'static str,
}

/// A round that waits for the database.
trait Round {
    async fn round(&mut self) -> anyhow::Result<()>;
}

impl Meter {
    fn new(stack: &Stack, length: Duration, part: &'static str) -> Self {
        Self {
            looker: Looker::new(stack, None),
            length,
            part,
        }
    }

    fn warm_up(
        length: Duration,
        round: &mut dyn FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < length {
            round()?;
        }
        Ok(())
    }

    fn run(
        &mut self,
        what: &str,
        of_round: usize,
        round: &mut dyn FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Raw> {
        Self::warm_up(WARM_UP, round)?;
        let before = self.looker.look();
        let mut took = Vec::new();
        let begin = Instant::now();
        while begin.elapsed() < self.length {
            let round_begin = Instant::now();
            round()?;
            took.push(round_begin.elapsed());
        }
        let seconds = begin.elapsed().as_secs_f64();
        Ok(self.raw(what, of_round, &before, seconds, took))
    }

    async fn run_async(
        &mut self,
        what: &str,
        of_round: usize,
        round: &mut impl Round,
    ) -> anyhow::Result<Raw> {
        let begin = Instant::now();
        while begin.elapsed() < WARM_UP {
            round.round().await?;
        }
        let before = self.looker.look();
        let mut took = Vec::new();
        let begin = Instant::now();
        while begin.elapsed() < self.length {
            let round_begin = Instant::now();
            round.round().await?;
            took.push(round_begin.elapsed());
        }
        let seconds = begin.elapsed().as_secs_f64();
        Ok(self.raw(what, of_round, &before, seconds, took))
    }

    fn raw(
        &mut self,
        what: &str,
        of_round: usize,
        before: &crate::processes::Processes,
        seconds: f64,
        mut took: Vec<Duration>,
    ) -> Raw {
        let after = self.looker.look();
        took.sort_unstable();
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        let rounds = took.len().max(1) as f64;
        let median = took.get(took.len() / 2).copied().unwrap_or_default();
        Raw {
            what: what.to_owned(),
            of_round,
            rounds_per_second: rounds / seconds,
            round_ms: median.as_secs_f64() * 1e3,
            part_us: spent_us(before, &after, self.part) / rounds,
            client_us: spent_us(before, &after, LOAD) / rounds,
        }
    }
}

impl Floor {
    /// The tables for people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "the parts alone, records of {:.0} bytes; processor time in µs\n\
             {:<28} {:>9} {:>10} {:>10} {:>9} {:>9} {:>9} {:>10}",
            self.record_bytes,
            "what",
            "a round",
            "rounds/s",
            "each/s",
            "p50 ms",
            "part",
            "client",
            "each"
        );
        for raw in &self.raw {
            #[allow(clippy::cast_precision_loss, reason = "at most some hundreds")]
            let of_round = raw.of_round as f64;
            let _ = writeln!(
                text,
                "{:<28} {:>9} {:>10.0} {:>10.0} {:>9.2} {:>9.0} {:>9.0} {:>10.1}",
                raw.what,
                raw.of_round,
                raw.rounds_per_second,
                raw.rounds_per_second * of_round,
                raw.round_ms,
                raw.part_us,
                raw.client_us,
                (raw.part_us + raw.client_us) / of_round
            );
        }
        let costs = &self.costs;
        let _ = writeln!(
            text,
            "\none more of a round: record {:.1}, output in a progress row {:.1}, row inserted {:.1}, updated {:.1}; Avro of a record {:.2}",
            costs.records.each_us(),
            costs.progress.each_us(),
            costs.inserts.each_us(),
            costs.updates.each_us(),
            costs.codec_us
        );
        let least: Vec<String> = self
            .least
            .iter()
            .map(|(inputs, us)| format!("{us:.0} at {inputs} inputs a batch"))
            .collect();
        let _ = writeln!(
            text,
            "least of a saga that goes straight through: {}",
            least.join(", ")
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_a_whole_saga() {
        let names: Vec<_> = samples()
            .unwrap()
            .iter()
            .map(|message| message.record_type().name())
            .collect();
        assert_eq!(
            names,
            [
                "CartCheckedOut",
                "ReserveInventory",
                "InventoryReserved",
                "AuthorizePayment",
                "PaymentAuthorized",
                "CreateOrder",
                "OrderRecorded",
                "OrderCreated"
            ]
        );
    }
}
