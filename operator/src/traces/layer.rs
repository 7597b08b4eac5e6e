//! Takes the spans of `tracing` that are for the collector, and hands each one on when it ends. Nothing here waits: a
//! span that does not fit the queue is counted and lost.
use super::{
    STATUS_DESCRIPTION, TARGET,
    span::{Ids, Recorded, Value, is_sampled},
};
use candlepower_api::names::spans as names;
use prometheus::IntCounter;
use std::{fmt, time::SystemTime};
use tokio::sync::mpsc::Sender;
use tracing::{
    Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::{FilterFn, filter_fn},
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

/// The span that kube-rs opens around each reconcile, and the field that says why there is one.
const RECONCILING: &str = "reconciling object";
const REASON: &str = "object.reason";

/// Records spans.
#[derive(Debug)]
pub(crate) struct SpanLayer {
    ids: Ids,
    /// Share of reconciles that are recorded, 0 to 1.
    ratio: f64,
    ended: Sender<Recorded>,
    dropped: IntCounter,
}

impl SpanLayer {
    pub(super) fn new(ratio: f64, ended: Sender<Recorded>, dropped: IntCounter) -> Self {
        Self {
            ids: Ids::default(),
            ratio,
            ended,
            dropped,
        }
    }

    /// The span as it begins; nothing where it is outside of a reconcile, or in one that is not recorded.
    fn begin<S>(&self, span: &SpanRef<'_, S>) -> Option<Recorded>
    where
        S: for<'lookup> LookupSpan<'lookup>,
    {
        let parent = span.parent();
        if span.name() == names::RECONCILE {
            let trace_id = self.ids.trace();
            if !is_sampled(trace_id, self.ratio) {
                return None;
            }
            let mut root = Recorded::root(names::RECONCILE, trace_id, self.ids.span());
            if let Some(trigger) = parent.and_then(|parent| trigger(&parent)) {
                root.set(names::TRIGGER, Value::Text(trigger));
            }
            return Some(root);
        }
        let parent = parent?;
        let extensions = parent.extensions();
        let parent = extensions.get::<Recorded>()?;
        Some(parent.child(span.name(), self.ids.span()))
    }
}

fn trigger<S>(reconciling: &SpanRef<'_, S>) -> Option<String>
where
    S: for<'lookup> LookupSpan<'lookup>,
{
    let extensions = reconciling.extensions();
    extensions.get::<Trigger>().map(|trigger| trigger.0.clone())
}

/// The spans that [`SpanLayer`] is to see.
pub(crate) fn filter() -> FilterFn {
    let is_for_us: fn(&Metadata<'_>) -> bool =
        |it| it.is_span() && (it.target() == TARGET || it.name() == RECONCILING);
    filter_fn(is_for_us).with_max_level_hint(LevelFilter::INFO)
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if span.name() == RECONCILING {
            let mut trigger = Trigger::default();
            attributes.record(&mut trigger);
            span.extensions_mut().replace(trigger);
        } else if let Some(mut recorded) = self.begin(&span) {
            attributes.record(&mut recorded);
            span.extensions_mut().replace(recorded);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(recorded) = span.extensions_mut().get_mut::<Recorded>() {
            values.record(recorded);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let recorded = span.extensions_mut().remove::<Recorded>();
        if let Some(recorded) = recorded {
            let ended = Recorded {
                end: SystemTime::now(),
                ..recorded
            };
            if self.ended.try_send(ended).is_err() {
                self.dropped.inc();
            }
        }
    }
}

/// Why there is a reconcile.
#[derive(Clone, Debug, Default)]
struct Trigger(String);

impl Visit for Trigger {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == REASON {
            self.0 = format!("{value:?}");
        }
    }
}

impl Visit for Recorded {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), Value::Integer(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record_i64(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), Value::Flag(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == STATUS_DESCRIPTION {
            self.error = Some(value.to_owned());
        } else {
            self.set(field.name(), Value::Text(value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::Error, traces};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{api::ObjectMeta, runtime::controller::Action};
    use tokio::sync::mpsc::{self, Receiver};
    use tracing_subscriber::layer::SubscriberExt;

    /// What is recorded of `work`, in the order in which it ended, with room for `most` spans, and what was lost.
    fn recorded(ratio: f64, most: usize, work: impl FnOnce()) -> (Receiver<Recorded>, u64) {
        let (ended, spans) = mpsc::channel(most);
        let dropped = IntCounter::new("dropped", "Lost.").unwrap();
        let layer = SpanLayer::new(ratio, ended, dropped.clone());
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter()));
        tracing::subscriber::with_default(subscriber, work);
        (spans, dropped.get())
    }

    fn object() -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some("tiny".to_owned()),
            namespace: Some("team".to_owned()),
            generation: Some(3),
            ..ObjectMeta::default()
        };
        ConfigMap {
            metadata,
            ..ConfigMap::default()
        }
    }

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn a_reconcile_is_a_trace_that_says_what_of_why_and_how_it_ended() {
        let (mut spans, _) = recorded(1.0, 10, || {
            let reconciling =
                tracing::info_span!("reconciling object", object.reason = %"object updated");
            let reconcile = reconciling.in_scope(|| traces::reconcile(&object()));
            let building = reconcile.in_scope(traces::build);
            building.in_scope(|| tracing::info!("an event is no span"));
            drop(building);
            traces::ended(&reconcile, &Ok(Action::await_change()));
        });
        let build = spans.try_recv().unwrap();
        let root = spans.try_recv().unwrap();
        assert!(spans.try_recv().is_err());
        assert_eq!((root.name, root.parent_id), ("reconcile", None));
        assert_eq!(
            (build.name, build.parent_id, build.trace_id),
            ("build", Some(root.span_id), root.trace_id)
        );
        assert!(root.start <= build.start && build.end <= root.end);
        assert_eq!(
            root.attributes,
            [
                ("candlepower.reconcile.trigger", text("object updated")),
                ("candlepower.object.kind", text("ConfigMap")),
                ("k8s.namespace.name", text("team")),
                ("candlepower.object.name", text("tiny")),
                ("candlepower.object.generation", Value::Integer(3)),
                ("candlepower.reconcile.outcome", text("settled")),
            ]
        );
        assert_eq!(root.error, None);
    }

    #[test]
    fn a_reconcile_that_failed_says_why() {
        let (mut spans, _) = recorded(1.0, 10, || {
            let reconcile = traces::reconcile(&object());
            traces::ended(&reconcile, &Err(Error::Incomplete("uid")));
        });
        let root = spans.try_recv().unwrap();
        assert_eq!(root.error.as_deref(), Some("the resource has no uid"));
        for (attribute, value) in [
            ("error.type", "internal"),
            ("candlepower.reconcile.outcome", "failed"),
        ] {
            assert!(root.attributes.contains(&(attribute, text(value))));
        }
    }

    #[test]
    fn outside_of_a_recorded_reconcile_nothing_is_recorded() {
        let work = || {
            traces::build();
            let reconcile = traces::reconcile(&object());
            reconcile.in_scope(traces::build);
        };
        let names = |ratio| {
            let (mut spans, dropped) = recorded(ratio, 10, work);
            assert_eq!(dropped, 0);
            std::iter::from_fn(|| spans.try_recv().ok())
                .map(|span| span.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(1.0), ["build", "reconcile"]);
        assert!(names(0.0).is_empty());
    }

    #[test]
    fn what_does_not_fit_the_queue_is_counted_and_waits_for_nothing() {
        let (mut spans, dropped) = recorded(1.0, 2, || {
            for _ in 0..5 {
                traces::reconcile(&object());
            }
        });
        assert!(spans.try_recv().is_ok() && spans.try_recv().is_ok());
        assert!(spans.try_recv().is_err());
        assert_eq!(dropped, 3);
    }
}
