//! Gauges read from the database.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, anyhow};
use deadpool_postgres::Pool;
use metrics::{Label, gauge};
use tokio::time::timeout;
use tokio_postgres::Row;

/// A gauge whose values are the rows of a query.
#[derive(Clone, Copy, Debug)]
pub struct GaugeQuery {
    /// The metric's name.
    pub name: &'static str,
    /// What it says, for `# HELP`.
    pub help: &'static str,
    /// Names of the labels; each is a `text` column, in this order, before the
    /// value, a `bigint`. The values of a label must be few.
    pub labels: &'static [&'static str],
    /// The query. It is cut off after 5 seconds.
    pub sql: &'static str,
}

/// Limit of one query, also where the server itself is silent.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Share of the time that may be spent in the queries: one part in this.
const REST_FACTOR: u32 = 20;

/// Runs the queries for ever, `interval` apart, or farther apart where they are slow.
pub(crate) async fn watch(pool: Pool, queries: Vec<GaugeQuery>, interval: Duration) {
    let mut known = HashSet::new();
    for query in &queries {
        metrics::describe_gauge!(query.name, query.help);
    }
    loop {
        let started = tokio::time::Instant::now();
        for query in &queries {
            let values = timeout(READ_TIMEOUT, read(&pool, query))
                .await
                .unwrap_or_else(|_| Err(anyhow!("no answer within {READ_TIMEOUT:?}")));
            match values {
                Ok(values) => publish(query.name, values, &mut known),
                Err(error) => tracing::warn!(
                    gauge = query.name,
                    error = format!("{error:#}"),
                    "a gauge was not read"
                ),
            }
        }
        tokio::time::sleep(interval.max(started.elapsed().saturating_mul(REST_FACTOR))).await;
    }
}

async fn read(pool: &Pool, query: &GaugeQuery) -> anyhow::Result<Vec<(Vec<Label>, i64)>> {
    let client = pool.get().await?;
    let statement = client.prepare_cached(query.sql).await?;
    let rows = client.query(&statement, &[]).await?;
    rows.iter().map(|row| value(query, row)).collect()
}

fn value(query: &GaugeQuery, row: &Row) -> anyhow::Result<(Vec<Label>, i64)> {
    let mut labels = Vec::with_capacity(query.labels.len());
    for (column, name) in query.labels.iter().enumerate() {
        let value: String = row.try_get(column).context(*name)?;
        labels.push(Label::new(*name, value));
    }
    let value = row.try_get(query.labels.len()).context("the value")?;
    Ok((labels, value))
}

/// Sets the values read; those of an earlier reading that are gone now become 0.
fn publish(
    name: &'static str,
    values: Vec<(Vec<Label>, i64)>,
    known: &mut HashSet<(&'static str, Vec<Label>)>,
) {
    let mut gone: HashSet<_> = known.iter().filter(|(n, _)| *n == name).cloned().collect();
    for (labels, value) in values {
        gone.remove(&(name, labels.clone()));
        gauge!(name, labels.clone()).set(value as f64);
        known.insert((name, labels));
    }
    for (name, labels) in gone {
        gauge!(name, labels).set(0.0);
    }
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_value_that_is_gone_becomes_zero() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let state = |name: &'static str| vec![Label::new("state", name)];
        metrics::with_local_recorder(&recorder, || {
            let mut known = HashSet::new();
            let first = vec![(state("OPEN"), 3), (state("SHUT"), 1)];
            publish("doors", first, &mut known);
            publish("rooms", vec![(vec![], 7)], &mut known);
            publish("doors", vec![(state("OPEN"), 2)], &mut known);
            let text = recorder.handle().render();
            for line in [
                r#"doors{state="OPEN"} 2"#,
                r#"doors{state="SHUT"} 0"#,
                "rooms 7",
            ] {
                assert!(text.contains(line), "{text}");
            }
        });
    }
}
