//! A trace: the spans of one request.
use candlepower_api::names::spans::LOAD_MODEL;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One timed operation.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Span {
    /// Its id, unique within the trace.
    pub id: String,
    /// The span that caused it.
    pub parent: Option<String>,
    /// The operation.
    pub name: String,
    /// Start, in nanoseconds since 1970.
    pub start: u64,
    /// End, in nanoseconds since 1970.
    pub end: u64,
}

/// The deployment whose server made a span, as its resource attributes say.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Origin {
    /// The namespace, where the attributes say it.
    pub namespace: Option<String>,
    /// The `LLMDeployment`.
    pub deployment: String,
}

/// The spans of one request.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Trace {
    /// Its id, in hexadecimal.
    pub id: String,
    /// All spans, in no particular order.
    pub spans: Vec<Span>,
    /// The deployments that took part; empty where servers did not say.
    pub origins: BTreeSet<Origin>,
    /// The models that its spans ask for.
    pub models: BTreeSet<String>,
}

impl Trace {
    /// The first span that nothing else in the trace caused.
    pub fn root(&self) -> Option<&Span> {
        let ids: BTreeSet<_> = self.spans.iter().map(|span| span.id.as_str()).collect();
        let known = |parent: &String| ids.contains(parent.as_str());
        let roots = self
            .spans
            .iter()
            .filter(|span| !span.parent.as_ref().is_some_and(known));
        roots.min_by_key(|span| (span.parent.is_some(), span.start))
    }

    /// Nanoseconds from the root's start to its end.
    pub fn duration(&self) -> u64 {
        self.root()
            .map_or(0, |root| root.end.saturating_sub(root.start))
    }

    /// Whether it is a request's, rather than that of a model's load.
    pub fn is_request(&self) -> bool {
        self.root().is_some_and(|root| root.name != LOAD_MODEL)
    }

    /// Whether a deployment took part: by resource attributes, or else by the model's name.
    pub fn belongs_to(&self, namespace: &str, deployment: &str, model: &str) -> bool {
        if self.origins.is_empty() {
            return self.models.contains(model);
        }
        self.origins.iter().any(|origin| {
            origin.deployment == deployment
                && origin.namespace.as_deref().unwrap_or(namespace) == namespace
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(origin: Option<(Option<&str>, &str)>, model: &str) -> Trace {
        let origin = origin.map(|(namespace, deployment)| Origin {
            namespace: namespace.map(ToOwned::to_owned),
            deployment: deployment.to_owned(),
        });
        Trace {
            origins: origin.into_iter().collect(),
            models: [model.to_owned()].into(),
            ..Trace::default()
        }
    }

    #[test]
    fn attributes_decide_whose_a_trace_is_whatever_its_model_is_called() {
        let ours = trace(Some((Some("team"), "tiny")), "other");
        assert!(ours.belongs_to("team", "tiny", "m"));
        assert!(!ours.belongs_to("team", "other", "other"));
        assert!(!ours.belongs_to("elsewhere", "tiny", "m"));
        assert!(trace(Some((None, "tiny")), "m").belongs_to("team", "tiny", "m"));
    }

    #[test]
    fn without_attributes_the_models_name_decides() {
        assert!(trace(None, "m").belongs_to("team", "tiny", "m"));
        assert!(!trace(None, "other").belongs_to("team", "tiny", "m"));
    }

    #[test]
    fn the_root_is_the_span_without_a_parent_or_else_with_an_unknown_one() {
        let span = |id: &str, parent: Option<&str>, start| Span {
            id: id.to_owned(),
            parent: parent.map(ToOwned::to_owned),
            name: id.to_owned(),
            start,
            end: 10,
        };
        let root = |spans: &[Span]| {
            let spans = spans.to_vec();
            let trace = Trace {
                spans,
                ..Trace::default()
            };
            trace.root().map(|root| root.id.clone())
        };
        let all = [
            span("b", Some("a"), 1),
            span("lost", Some("x"), 0),
            span("a", None, 1),
        ];
        assert_eq!(root(&all).as_deref(), Some("a"));
        assert_eq!(root(&all[..2]).as_deref(), Some("lost"));
    }
}
