//! The Prometheus recorder, what is known at start, and its upkeep.

use std::time::Duration;

use anyhow::Context;
use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// For `…_seconds`: half a millisecond to half a minute.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// For counts, such as batch sizes.
const COUNTS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_000.0, 2_000.0, 10_000.0,
];
/// For `…_bytes`: 256 bytes to 16 MiB.
const BYTES: &[f64] = &[
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// How often histograms are folded into their buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts recording metrics for the whole process.
///
/// # Errors
/// A recorder was installed before.
pub(crate) fn install(service: &'static str) -> anyhow::Result<PrometheusHandle> {
    let handle = builder()?
        .install_recorder()
        .context("metrics cannot be recorded")?;
    metrics::describe_gauge!("build_info", "1, with the version as a label");
    gauge!("build_info", "service" => service, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics::describe_gauge!(
        "process_start_time_seconds",
        metrics::Unit::Seconds,
        "When the process started, since the Unix epoch"
    );
    gauge!("process_start_time_seconds").set(jiff::Timestamp::now().as_second() as f64);
    Ok(handle)
}

fn builder() -> anyhow::Result<PrometheusBuilder> {
    // Every histogram has fixed buckets: summaries cannot be added up over instances.
    PrometheusBuilder::new()
        .set_buckets(COUNTS)
        .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS))
        .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_bytes".into()), BYTES))
        .context("metrics cannot be recorded")
}

/// Bounds the memory of histograms between two scrapes. Runs until it is dropped.
pub(crate) async fn upkeep(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        handle.run_upkeep();
    }
}

#[cfg(test)]
mod tests {
    use metrics::histogram;

    use super::*;

    #[test]
    fn histograms_have_buckets_by_their_unit() {
        let recorder = builder().unwrap().build_recorder();
        let text = metrics::with_local_recorder(&recorder, || {
            histogram!("trip_seconds").record(0.002);
            histogram!("batch_records").record(300.0);
            histogram!("output_bytes").record(5_000.0);
            recorder.handle().render()
        });
        for line in [
            r#"trip_seconds_bucket{le="0.0025"} 1"#,
            r#"batch_records_bucket{le="256"} 0"#,
            r#"batch_records_bucket{le="512"} 1"#,
            r#"output_bytes_bucket{le="16384"} 1"#,
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
