//! One span a message handled, so that a trace shows every hop of a saga.

use contracts::TraceContext;
use opentelemetry::global::{self, BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer,
};
use opentelemetry::{Context, KeyValue};

/// Makes the spans; without export it only makes their ids.
pub(crate) struct Spans {
    tracer: Option<BoxedTracer>,
}

/// The span of one input.
pub(crate) struct MessageSpan {
    /// What the messages it causes continue.
    pub(crate) context: TraceContext,
    exported: Option<BoxedSpan>,
}

impl Spans {
    pub(crate) fn new(export: bool) -> Self {
        Self {
            tracer: export.then(|| global::tracer("checkout-saga")),
        }
    }

    /// Starts the span of an input that continues `parent`, or a trace.
    pub(crate) fn start(&self, name: &'static str, parent: Option<TraceContext>) -> MessageSpan {
        let Some(tracer) = &self.tracer else {
            return MessageSpan {
                context: parent.map_or_else(TraceContext::new_root, |parent| parent.child()),
                exported: None,
            };
        };
        let builder = tracer
            .span_builder(name)
            .with_kind(SpanKind::Consumer)
            .with_attributes([KeyValue::new("messaging.system", "kafka")]);
        let context = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(SpanContext::new(
                TraceId::from_bytes(parent.trace_id),
                SpanId::from_bytes(parent.span_id),
                TraceFlags::new(parent.flags),
                true,
                TraceState::NONE,
            ))
        });
        let span = tracer.build_with_context(builder, &context);
        let own = span.span_context();
        MessageSpan {
            context: TraceContext {
                trace_id: own.trace_id().to_bytes(),
                span_id: own.span_id().to_bytes(),
                flags: own.trace_flags().to_u8(),
            },
            exported: Some(span),
        }
    }
}

impl MessageSpan {
    /// Ends the span; `error` says why the input was refused.
    pub(crate) fn end(&mut self, cart: Option<String>, error: Option<&str>) {
        if let Some(span) = &mut self.exported {
            if let Some(cart) = cart {
                span.set_attribute(KeyValue::new("checkout.cart_id", cart));
            }
            if let Some(error) = error {
                span.set_status(Status::error(error.to_owned()));
            }
            span.end();
        }
    }
}
