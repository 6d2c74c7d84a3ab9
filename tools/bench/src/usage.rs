//! What processes, databases and logs used during the measured time of a run.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use stack::{PartKind, Service, Stack};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::side::Side;

/// Of all processes of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Used {
    /// Processor time of one saga, in microseconds.
    pub(crate) cpu_us_per_saga: f64,
    /// Of the largest process, at the end, in MiB.
    pub(crate) memory_mib: f64,
}

/// Of one service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Work {
    /// Inputs of a batch, on average.
    pub(crate) batch_inputs: f64,
    /// Committed database transactions of one saga.
    pub(crate) transactions_per_saga: f64,
    /// Round trips to the database of one saga.
    #[serde(default)]
    pub(crate) trips_per_saga: f64,
}

/// Of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// By process: kafka, postgres, registry, each service, and this program.
    pub(crate) processes: BTreeMap<String, Used>,
    /// By service.
    pub(crate) services: BTreeMap<String, Work>,
    /// Write-ahead log of one saga, in bytes.
    pub(crate) wal_bytes_per_saga: f64,
    /// Growth of the topics' logs of one saga, in bytes.
    pub(crate) log_bytes_per_saga: f64,
}

/// Readings at one moment; two of them make a [`Usage`].
pub(crate) struct Reading {
    cpu_ms: BTreeMap<String, u64>,
    memory: BTreeMap<String, u64>,
    transactions: BTreeMap<String, i64>,
    wal_bytes: i64,
    log_bytes: u64,
    batches: BTreeMap<String, (f64, f64)>,
    trips: BTreeMap<String, f64>,
}

impl Reading {
    /// Reads everything now.
    pub(crate) async fn take(
        stack: &Stack,
        side: &Side,
        system: &mut System,
    ) -> anyhow::Result<Self> {
        let mut reading = Self {
            cpu_ms: BTreeMap::new(),
            memory: BTreeMap::new(),
            transactions: BTreeMap::new(),
            wal_bytes: 0,
            log_bytes: 0,
            batches: BTreeMap::new(),
            trips: BTreeMap::new(),
        };
        reading.processes(stack, side, system);
        reading.databases(side).await?;
        reading.log_bytes = topic_bytes(stack.folder(), &side.installation.topic_prefix);
        reading.metrics(side).await?;
        Ok(reading)
    }

    /// What was used since an earlier reading, by so many sagas.
    pub(crate) fn since(&self, before: &Self, sagas: u64) -> Usage {
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        let per_saga = |amount: f64| amount / sagas.max(1) as f64;
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        let processes = self.cpu_ms.iter().map(|(name, cpu_ms)| {
            let spent = cpu_ms.saturating_sub(before.cpu_ms.get(name).copied().unwrap_or(0));
            let used = Used {
                cpu_us_per_saga: per_saga(spent as f64 * 1_000.0),
                memory_mib: self.memory.get(name).copied().unwrap_or(0) as f64 / f64::from(1 << 20),
            };
            (name.clone(), used)
        });
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        let services = self.batches.iter().map(|(name, (inputs, batches))| {
            let (inputs_before, batches_before) =
                before.batches.get(name).copied().unwrap_or_default();
            let made = batches - batches_before;
            let committed = self.transactions.get(name).copied().unwrap_or(0)
                - before.transactions.get(name).copied().unwrap_or(0);
            let work = Work {
                batch_inputs: if made > 0.0 {
                    (inputs - inputs_before) / made
                } else {
                    0.0
                },
                transactions_per_saga: per_saga(committed as f64),
                trips_per_saga: per_saga(
                    self.trips.get(name).unwrap_or(&0.0) - before.trips.get(name).unwrap_or(&0.0),
                ),
            };
            (name.clone(), work)
        });
        #[allow(clippy::cast_precision_loss, reason = "figures for people")]
        Usage {
            processes: processes.collect(),
            services: services.collect(),
            wal_bytes_per_saga: per_saga((self.wal_bytes - before.wal_bytes) as f64),
            log_bytes_per_saga: per_saga(self.log_bytes.saturating_sub(before.log_bytes) as f64),
        }
    }

    fn processes(&mut self, stack: &Stack, side: &Side, system: &mut System) {
        let mut roots: BTreeMap<Pid, String> = BTreeMap::new();
        for part in stack.parts() {
            let name = match part.kind {
                PartKind::Kafka => "kafka",
                PartKind::Registry => "registry",
                PartKind::Postgres => "postgres",
            };
            if let Some(pid) = part.process.as_ref().and_then(|process| process.pid()) {
                roots.insert(Pid::from_u32(pid), name.to_owned());
            }
        }
        for instance in &side.services.instances {
            if let Some(pid) = instance.process.pid() {
                roots.insert(Pid::from_u32(pid), instance.service.name().to_owned());
            }
        }
        roots.insert(Pid::from_u32(std::process::id()), "load".to_owned());
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, kind);
        for (pid, process) in system.processes() {
            // Threads are listed as well; their time is in their process's.
            if process.thread_kind().is_some() {
                continue;
            }
            // A PostgreSQL connection is a child of the server.
            let parent = || process.parent().and_then(|parent| roots.get(&parent));
            if let Some(name) = roots.get(pid).or_else(parent) {
                *self.cpu_ms.entry(name.clone()).or_default() += process.accumulated_cpu_time();
                let memory = self.memory.entry(name.clone()).or_default();
                *memory = process.memory().max(*memory);
            }
        }
    }

    async fn databases(&mut self, side: &Side) -> anyhow::Result<()> {
        let sql = "SELECT xact_commit, (pg_current_wal_lsn() - '0/0'::pg_lsn)::int8 AS wal \
                   FROM pg_stat_database WHERE datname = current_database()";
        for service in Service::ALL {
            let client = side.installation.connect(*service).await?;
            let row = client.query_one(sql, &[]).await.context(sql)?;
            self.transactions
                .insert(service.name().to_owned(), row.try_get("xact_commit")?);
            self.wal_bytes = self.wal_bytes.max(row.try_get("wal")?);
        }
        Ok(())
    }

    async fn metrics(&mut self, side: &Side) -> anyhow::Result<()> {
        for instance in &side.services.instances {
            let url = format!("{}/metrics", instance.http_url()?);
            let text = reqwest::get(&url)
                .await
                .and_then(reqwest::Response::error_for_status)
                .with_context(|| url.clone())?
                .text()
                .await?;
            let of = self
                .batches
                .entry(instance.service.name().to_owned())
                .or_default();
            of.0 += value(&text, "saga_batch_inputs_sum");
            of.1 += value(&text, "saga_batch_inputs_count");
            *self
                .trips
                .entry(instance.service.name().to_owned())
                .or_default() += value(&text, "saga_database_trips_total");
        }
        Ok(())
    }
}

/// The sum of a metric's samples in Prometheus' text format.
fn value(text: &str, name: &str) -> f64 {
    text.lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with([' ', '{']))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
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

    #[test]
    fn samples_of_a_metric_are_added_up_and_others_left_out() {
        let text =
            "# HELP a_sum x\na_sum{type=\"b\"} 2\na_sum{type=\"c\"} 3.5\na_sum_of 9\na_sum 1\n";
        assert!((value(text, "a_sum") - 6.5).abs() < 1e-9);
        assert!(value(text, "b").abs() < 1e-9);
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
