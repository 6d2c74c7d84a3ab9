//! Export of spans by OTLP over HTTP, where an endpoint is configured.

use std::time::Duration;

use anyhow::Context;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider,
};

use crate::TelemetryArgs;

/// Limit of one request to the collector.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
/// Spans that wait for export; further ones are dropped rather than kept.
const QUEUE_SPANS: usize = 16_384;

/// The exporter, to be flushed at the end.
pub(crate) struct Traces(Option<SdkTracerProvider>);

/// Sets the process's tracer provider. Must be called outside an asynchronous
/// context: the exporter's client blocks, in a thread of its own.
///
/// # Errors
/// The client cannot be built.
pub(crate) fn install(service: &'static str, args: &TelemetryArgs) -> anyhow::Result<Traces> {
    let Some(endpoint) = &args.otlp_endpoint else {
        return Ok(Traces(None));
    };
    let client = reqwest::blocking::Client::builder()
        .timeout(EXPORT_TIMEOUT)
        .build()
        .context("the client for OTLP cannot be built")?;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_endpoint(traces_url(endpoint))
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .with_context(|| format!("--otlp-endpoint {endpoint} cannot be used"))?;
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(
            BatchConfigBuilder::default()
                .with_max_queue_size(QUEUE_SPANS)
                .with_max_export_batch_size(2_048)
                .with_scheduled_delay(Duration::from_secs(1))
                .build(),
        )
        .build();
    let resource = Resource::builder()
        .with_service_name(format!("checkout-{service}"))
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
        args.trace_sample_ratio,
    )));
    let provider = SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_resource(resource)
        .with_sampler(sampler)
        .build();
    opentelemetry::global::set_tracer_provider(provider.clone());
    Ok(Traces(Some(provider)))
}

impl Traces {
    /// Exports what is left, within `limit`.
    pub(crate) fn flush(self, limit: Duration) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown_with_timeout(limit)
        {
            tracing::warn!(%error, "spans were lost: the collector did not take them in time");
        }
    }
}

/// The collector's path for spans, unless the endpoint names it already.
fn traces_url(endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    if endpoint.ends_with("/v1/traces") {
        endpoint.to_owned()
    } else {
        format!("{endpoint}/v1/traces")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_for_spans_is_added_once() {
        for endpoint in [
            "http://collector:4318",
            "http://collector:4318/",
            "http://collector:4318/v1/traces",
        ] {
            assert_eq!(traces_url(endpoint), "http://collector:4318/v1/traces");
        }
    }

    #[test]
    fn nothing_is_exported_without_an_endpoint() {
        let traces = install(
            "order",
            &TelemetryArgs {
                otlp_endpoint: None,
                trace_sample_ratio: 1.0,
                gauge_interval_ms: 1_000,
            },
        )
        .unwrap();
        assert!(traces.0.is_none());
        traces.flush(Duration::from_secs(1));
    }
}
