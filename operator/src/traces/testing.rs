//! Spans for tests of what makes them.
use super::{
    SpanLayer, filter,
    span::{Recorded, Value},
};
use candlepower_api::names::spans as names;
use prometheus::IntCounter;
use tokio::sync::mpsc::{self, Receiver};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{Layer, layer::SubscriberExt};

/// Records the spans of this thread.
pub(crate) struct Recording {
    spans: Receiver<Recorded>,
    _default: DefaultGuard,
}

impl Recording {
    pub(crate) fn begin() -> Self {
        let (ended, spans) = mpsc::channel(100);
        let dropped = IntCounter::new("dropped", "Lost.").unwrap();
        let layer = SpanLayer::new(1.0, ended, dropped).with_filter(filter());
        let subscriber = tracing_subscriber::registry().with(layer);
        Self {
            spans,
            _default: tracing::subscriber::set_default(subscriber),
        }
    }

    /// What has ended, the last one first: names, those that they are below, and the statuses that they tell.
    pub(crate) fn ended(mut self) -> Vec<(&'static str, Option<&'static str>, Option<i64>)> {
        let mut spans: Vec<_> = std::iter::from_fn(|| self.spans.try_recv().ok()).collect();
        spans.reverse();
        let name_of = |id| {
            let found = spans.iter().find(|span| span.span_id == id);
            found.map(|span| span.name)
        };
        let status = |span: &Recorded| {
            span.attributes.iter().find_map(|(key, value)| match value {
                Value::Integer(status) if *key == names::HTTP_STATUS => Some(*status),
                _ => None,
            })
        };
        spans
            .iter()
            .map(|span| (span.name, span.parent_id.and_then(name_of), status(span)))
            .collect()
    }
}
