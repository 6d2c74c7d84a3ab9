//! What processes, databases, clients and logs used during the measured time of a run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use stack::{Service, Stack};

use crate::memory::{Course, Moment};
use crate::processes::{Looker, Processes, spent_us};
use crate::scrape;
use crate::side::Side;
use crate::traffic::{self, Rates, Traffic};

/// Of all processes of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Used {
    /// Processor time of one saga, in microseconds.
    pub(crate) cpu_us_per_saga: f64,
    /// Of the largest process, at the end, in MiB.
    pub(crate) memory_mib: f64,
    /// The same when the measured time began.
    #[serde(default)]
    pub(crate) memory_first_mib: f64,
    /// The most that was seen of it.
    #[serde(default)]
    pub(crate) memory_max_mib: f64,
    /// How fast it grew; absent where the run was too short to tell.
    #[serde(default)]
    pub(crate) memory_mib_per_minute: Option<f64>,
}

/// Of one service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Work {
    /// Inputs of a batch, on average.
    pub(crate) batch_inputs: f64,
    /// Inputs of one saga.
    pub(crate) inputs_per_saga: f64,
    /// Of all inputs, the share of each instance.
    pub(crate) instance_shares: Vec<f64>,
    /// Records published for one saga.
    pub(crate) outputs_per_saga: f64,
    /// Committed database transactions of one saga.
    pub(crate) transactions_per_saga: f64,
    /// Round trips to the database of one saga.
    pub(crate) trips_per_saga: f64,
    /// Rows inserted for one saga.
    pub(crate) rows_inserted_per_saga: f64,
    /// Rows updated for one saga, those of the message loop's progress not counted.
    pub(crate) rows_updated_per_saga: f64,
    /// Kafka transactions of one saga.
    pub(crate) kafka_transactions_per_saga: f64,
    /// Requests to Kafka of one saga.
    pub(crate) kafka_requests_per_saga: f64,
    /// Bytes exchanged with Kafka for one saga, both directions.
    pub(crate) kafka_bytes_per_saga: f64,
}

/// Of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// By process: kafka, postgres, registry, each service, and this program.
    pub(crate) processes: BTreeMap<String, Used>,
    /// By service.
    pub(crate) services: BTreeMap<String, Work>,
    /// Requests to Kafka of one saga by type, of all services and this program.
    #[serde(default)]
    pub(crate) kafka_requests_per_saga: BTreeMap<String, f64>,
    /// Bytes exchanged with Kafka for one saga, by all services and this program.
    #[serde(default)]
    pub(crate) kafka_bytes_per_saga: f64,
    /// Write-ahead log of one saga, in bytes.
    pub(crate) wal_bytes_per_saga: f64,
    /// Growth of the topics' logs of one saga, in bytes.
    pub(crate) log_bytes_per_saga: f64,
    /// Memory over the measured time.
    #[serde(default)]
    pub(crate) memory: Vec<Moment>,
}

impl Usage {
    /// Processor time of one saga, all together but the registry.
    pub(crate) fn cpu_us_per_saga(&self) -> f64 {
        self.processes
            .iter()
            .filter(|(name, _)| *name != "registry")
            .map(|(_, used)| used.cpu_us_per_saga)
            .sum()
    }

    /// All requests of one saga, and those of the services among them.
    pub(crate) fn kafka_requests(&self) -> (f64, f64) {
        let all = self.kafka_requests_per_saga.values().sum();
        let services = self
            .services
            .values()
            .map(|work| work.kafka_requests_per_saga)
            .sum();
        (all, services)
    }
}

/// Counters of one service, over its instances.
#[derive(Debug, Clone, Default)]
struct Counters {
    /// By instance.
    inputs: Vec<f64>,
    batches: f64,
    outputs: f64,
    trips: f64,
    kafka_transactions: f64,
    transactions: f64,
    inserted: f64,
    updated: f64,
}

/// Readings at one moment; two of them make a [`Usage`].
pub(crate) struct Reading {
    at: Instant,
    processes: Processes,
    counters: BTreeMap<String, Counters>,
    traffic: Traffic,
    wal_bytes: i64,
    log_bytes: u64,
}

impl Reading {
    /// Reads everything now.
    pub(crate) async fn take(
        stack: &Stack,
        side: &Side,
        looker: &mut Looker,
    ) -> anyhow::Result<Self> {
        let mut reading = Self {
            at: Instant::now(),
            processes: looker.look(),
            counters: BTreeMap::new(),
            traffic: side.driver.traffic(),
            wal_bytes: 0,
            log_bytes: topic_bytes(stack.folder(), &side.installation.topic_prefix),
        };
        reading.databases(side).await?;
        reading.metrics(side).await?;
        Ok(reading)
    }

    /// Memory at this moment, so long after another.
    pub(crate) fn moment(&self, begin: &Self) -> Moment {
        let seconds = self.at.saturating_duration_since(begin.at).as_secs_f64();
        Moment::new(seconds, &self.processes)
    }

    /// Since this reading.
    pub(crate) fn seconds(&self) -> f64 {
        self.at.elapsed().as_secs_f64()
    }

    /// What was used since an earlier reading, by so many sagas; `memory` is of the
    /// time between.
    pub(crate) fn since(&self, before: &Self, sagas: u64, memory: Vec<Moment>) -> Usage {
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        let per_saga = |amount: f64| amount / sagas.max(1) as f64;
        let seconds = self.at.saturating_duration_since(before.at).as_secs_f64();
        let requests = |rates: &Rates| per_saga(rates.requests.values().sum::<f64>() * seconds);
        let processes = self.processes.keys().map(|name| {
            let course = Course::of(name, &memory);
            let used = Used {
                cpu_us_per_saga: per_saga(spent_us(&before.processes, &self.processes, name)),
                memory_mib: course.map_or(0.0, |course| course.last_mib),
                memory_first_mib: course.map_or(0.0, |course| course.first_mib),
                memory_max_mib: course.map_or(0.0, |course| course.max_mib),
                memory_mib_per_minute: course.and_then(|course| course.mib_per_minute),
            };
            (name.clone(), used)
        });
        let services = self.counters.iter().map(|(name, now)| {
            let then = before.counters.get(name).cloned().unwrap_or_default();
            let batches = now.batches - then.batches;
            let by_instance: Vec<f64> = now
                .inputs
                .iter()
                .zip(then.inputs.iter().chain(std::iter::repeat(&0.0)))
                .map(|(now, then)| now - then)
                .collect();
            let inputs: f64 = by_instance.iter().sum();
            let share = |of: &f64| of / inputs.max(1.0);
            let rates = traffic::rates(&before.traffic, &self.traffic, &format!("{name}/"));
            let work = Work {
                batch_inputs: if batches > 0.0 { inputs / batches } else { 0.0 },
                inputs_per_saga: per_saga(inputs),
                instance_shares: by_instance.iter().map(share).collect(),
                outputs_per_saga: per_saga(now.outputs - then.outputs),
                transactions_per_saga: per_saga(now.transactions - then.transactions),
                trips_per_saga: per_saga(now.trips - then.trips),
                rows_inserted_per_saga: per_saga(now.inserted - then.inserted),
                rows_updated_per_saga: per_saga(now.updated - then.updated),
                kafka_transactions_per_saga: per_saga(
                    now.kafka_transactions - then.kafka_transactions,
                ),
                kafka_requests_per_saga: requests(&rates),
                kafka_bytes_per_saga: per_saga(rates.bytes * seconds),
            };
            (name.clone(), work)
        });
        let all = traffic::rates(&before.traffic, &self.traffic, "");
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        let grown = (
            (self.wal_bytes - before.wal_bytes) as f64,
            self.log_bytes.saturating_sub(before.log_bytes) as f64,
        );
        Usage {
            processes: processes.collect(),
            services: services.collect(),
            kafka_requests_per_saga: all
                .requests
                .iter()
                .map(|(kind, rate)| (kind.clone(), per_saga(rate * seconds)))
                .filter(|(_, requests)| *requests > 0.0)
                .collect(),
            kafka_bytes_per_saga: per_saga(all.bytes * seconds),
            wal_bytes_per_saga: per_saga(grown.0),
            log_bytes_per_saga: per_saga(grown.1),
            memory,
        }
    }

    async fn databases(&mut self, side: &Side) -> anyhow::Result<()> {
        let sql = "SELECT xact_commit, (pg_current_wal_lsn() - '0/0'::pg_lsn)::int8 AS wal,
                          (SELECT COALESCE(sum(n_tup_ins) FILTER (WHERE relname <> 'progress'), 0)::int8
                           FROM pg_stat_user_tables) AS inserted,
                          (SELECT COALESCE(sum(n_tup_upd) FILTER (WHERE relname <> 'progress'), 0)::int8
                           FROM pg_stat_user_tables) AS updated
                   FROM pg_stat_database WHERE datname = current_database()";
        for service in Service::ALL {
            let client = side.installation.connect(*service).await?;
            let row = client.query_one(sql, &[]).await.context(sql)?;
            #[allow(clippy::cast_precision_loss, reason = "figures for people")]
            let number = |column| row.try_get::<_, i64>(column).map(|count| count as f64);
            let counters = self.of(*service);
            counters.transactions = number("xact_commit")?;
            counters.inserted = number("inserted")?;
            counters.updated = number("updated")?;
            self.wal_bytes = self.wal_bytes.max(row.try_get("wal")?);
        }
        Ok(())
    }

    async fn metrics(&mut self, side: &Side) -> anyhow::Result<()> {
        for (number, instance) in side.services.instances.iter().enumerate() {
            let url = format!("{}/metrics", instance.http_url()?);
            let text = reqwest::get(&url)
                .await
                .and_then(reqwest::Response::error_for_status)
                .with_context(|| url.clone())?
                .text()
                .await?;
            let counters = self.of(instance.service);
            counters
                .inputs
                .push(scrape::sum(&text, "saga_batch_inputs_sum"));
            counters.batches += scrape::sum(&text, "saga_batch_inputs_count");
            counters.outputs += scrape::sum(&text, "saga_outputs_total");
            counters.trips += scrape::sum(&text, "saga_database_trips_total");
            counters.kafka_transactions += scrape::sum(&text, "saga_transaction_seconds_count");
            let name = format!("{}/{number}", instance.service);
            self.traffic.extend(traffic::of_instance(&name, &text));
        }
        Ok(())
    }

    fn of(&mut self, service: Service) -> &mut Counters {
        self.counters.entry(service.name().to_owned()).or_default()
    }
}

/// Bytes in the folders of an installation's partitions, below a broker's folder.
fn topic_bytes(folder: &Path, prefix: &str) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| {
            let name = entry.file_name();
            match name.to_string_lossy().starts_with(prefix) {
                true => log_bytes(&entry.path()),
                false => topic_bytes(&entry.path(), prefix),
            }
        })
        .sum()
}

/// Index files are preallocated; only the log itself grows with the records.
fn log_bytes(partition: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(partition) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "log"))
        .filter_map(|entry| entry.metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::{LOAD, Seen};

    fn reading(at: Instant, cpu_us: u64, inputs: [f64; 2]) -> Reading {
        let counters = Counters {
            inputs: inputs.into(),
            batches: inputs.iter().sum::<f64>() / 4.0,
            ..Counters::default()
        };
        let seen = Seen {
            cpu_us,
            memory_mib: 20.0,
        };
        Reading {
            at,
            processes: [("order".to_owned(), seen), (LOAD.to_owned(), seen)].into(),
            counters: [("order".to_owned(), counters)].into(),
            traffic: Traffic::new(),
            wal_bytes: 0,
            log_bytes: 0,
        }
    }

    #[test]
    fn figures_are_of_one_saga() {
        let now = Instant::now();
        let before = reading(now, 1_000_000, [60.0, 40.0]);
        let after = reading(
            now + std::time::Duration::from_secs(8),
            3_000_000,
            [360.0, 140.0],
        );
        let memory = vec![before.moment(&before), after.moment(&before)];
        assert!((memory[1].seconds - 8.0).abs() < 1e-9);
        let usage = after.since(&before, 200, memory);
        let order = &usage.services["order"];
        assert_eq!((order.batch_inputs, order.inputs_per_saga), (4.0, 2.0));
        assert_eq!(order.instance_shares, [0.75, 0.25]);
        assert!((usage.processes["order"].cpu_us_per_saga - 10_000.0).abs() < 1e-9);
        assert!((usage.cpu_us_per_saga() - 20_000.0).abs() < 1e-9);
        assert!((usage.processes["order"].memory_max_mib - 20.0).abs() < 1e-9);
    }

    #[test]
    fn only_logs_of_the_prefix_count() {
        let folder = tempfile::tempdir().unwrap();
        for (partition, file, bytes) in [
            ("kafka/data/one.orders-0", "0.log", 10),
            ("kafka/data/one.orders-0", "0.index", 100),
            ("kafka/data/two.orders-0", "0.log", 1_000),
        ] {
            let path = folder.path().join(partition);
            std::fs::create_dir_all(&path).unwrap();
            std::fs::write(path.join(file), vec![0; bytes]).unwrap();
        }
        assert_eq!(topic_bytes(folder.path(), "one."), 10);
    }
}
