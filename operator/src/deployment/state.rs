//! Metrics about each resource, read from the cache when they are asked for: what a fleet's board
//! needs, without kube-state-metrics. Labels come from resources, never from requests.
use super::{Guarded, caches::resource_name, figures::restarts};
use candlepower_api::{
    deployment::LLMDeployment,
    names::{conditions, operator_metrics as names},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, runtime::reflector::Store};
use prometheus::{
    GaugeVec, IntCounterVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

const CONDITIONS: [&str; 6] = [
    conditions::READY,
    conditions::SCHEDULED,
    conditions::MODEL_LOADED,
    conditions::FITS_MEMORY,
    conditions::SPEC_SUPPORTED,
    conditions::OBSERVABILITY_READY,
];
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];
const SEVERITY: &str = "severity";

/// The state of all resources.
pub(super) struct State {
    caches: Vec<(Store<Guarded>, Store<Pod>)>,
    descriptions: Vec<Desc>,
}

/// One reading of all series.
struct Series {
    info: GaugeVec,
    condition: GaugeVec,
    replicas: GaugeVec,
    restarts: IntCounterVec,
    time_to_ready: GaugeVec,
    alert_firing: GaugeVec,
}

impl State {
    /// The state of the resources and pods in these caches.
    pub(super) fn new(
        caches: Vec<(Store<Guarded>, Store<Pod>)>,
    ) -> Result<Self, prometheus::Error> {
        let descriptions = Series::new()?
            .all()
            .into_iter()
            .flat_map(|series| series.desc().into_iter().cloned())
            .collect();
        Ok(Self {
            caches,
            descriptions,
        })
    }
}

impl Collector for State {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(series) = Series::new() else {
            return Vec::new();
        };
        for (resources, pods) in &self.caches {
            for guarded in resources.state() {
                if let Ok(resource) = &guarded.0 {
                    series.add(resource);
                }
            }
            for pod in pods.state() {
                series.add_pod(&pod);
            }
        }
        series
            .all()
            .into_iter()
            .flat_map(Collector::collect)
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }
}

impl Series {
    fn new() -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, more: &[&str]| {
            let mut labels = vec![names::LABEL_NAMESPACE, names::LABEL_LLM_DEPLOYMENT];
            labels.extend(more);
            GaugeVec::new(Opts::new(name, help), &labels)
        };
        Ok(Self {
            info: gauge(
                names::INFO,
                "Always 1: what is served, in its labels.",
                &[
                    "model",
                    "precision",
                    "device",
                    "image",
                    "metrics",
                    "tracing",
                ],
            )?,
            condition: gauge(
                names::CONDITION,
                "1 for the status that the condition has, 0 for the others.",
                &[names::LABEL_CONDITION, names::LABEL_STATUS],
            )?,
            replicas: gauge(
                names::REPLICAS,
                "Pods that are wanted, and pods that serve.",
                &[names::LABEL_STATE],
            )?,
            restarts: IntCounterVec::new(
                Opts::new(
                    names::RESTARTS,
                    "How often the pod's server was started again.",
                ),
                &[
                    names::LABEL_NAMESPACE,
                    names::LABEL_LLM_DEPLOYMENT,
                    names::LABEL_POD,
                ],
            )?,
            time_to_ready: gauge(
                names::TIME_TO_READY,
                "Seconds until the resource became Ready, since it was made or changed, or was Ready no more.",
                &[],
            )?,
            alert_firing: gauge(
                names::ALERT_FIRING,
                "1 while the operator sees the alert fire.",
                &[names::LABEL_ALERT, SEVERITY],
            )?,
        })
    }

    fn all(&self) -> [&dyn Collector; 6] {
        [
            &self.info,
            &self.condition,
            &self.replicas,
            &self.restarts,
            &self.time_to_ready,
            &self.alert_firing,
        ]
    }

    fn add_pod(&self, pod: &Pod) {
        let (Some(name), Some(restarts)) = (resource_name(pod), restarts::of(pod)) else {
            return;
        };
        let namespace = pod.namespace().unwrap_or_default();
        self.restarts
            .with_label_values(&[namespace.as_str(), name, &pod.name_any()])
            .inc_by(u64::try_from(restarts).unwrap_or_default());
    }

    fn add(&self, resource: &LLMDeployment) {
        let (namespace, name) = (
            resource.namespace().unwrap_or_default(),
            resource.name_any(),
        );
        let set = |series: &GaugeVec, more: &[&str], value: f64| {
            let mut labels = vec![namespace.as_str(), name.as_str()];
            labels.extend(more);
            series.with_label_values(&labels).set(value);
        };
        let status = resource.status.clone().unwrap_or_default();
        let model = status.model.as_ref();
        let collected = status.observability.as_ref();
        set(
            &self.info,
            &[
                model.map(|model| model.name.as_str()).unwrap_or_default(),
                model
                    .map(|model| model.precision.as_str())
                    .unwrap_or_default(),
                model.map(|model| model.device.as_str()).unwrap_or_default(),
                status.image.as_deref().unwrap_or_default(),
                &collected
                    .map(|collected| format!("{:?}", collected.metrics))
                    .unwrap_or_default(),
                &collected
                    .map(|collected| format!("{:?}", collected.tracing))
                    .unwrap_or_default(),
            ],
            1.0,
        );
        for condition in CONDITIONS {
            let has = status.conditions.iter().find(|has| has.type_ == condition);
            for value in STATUSES {
                let is = has.map_or(value == "Unknown", |has| has.status == value);
                let labels = [condition, &value.to_lowercase()];
                set(&self.condition, &labels, f64::from(u8::from(is)));
            }
        }
        let desired = resource.wanted_replicas();
        set(&self.replicas, &["desired"], f64::from(desired));
        set(&self.replicas, &["ready"], f64::from(status.ready_replicas));
        if let Some(took) = status.startup.as_ref().and_then(|startup| startup.took) {
            set(&self.time_to_ready, &[], took.as_std().as_secs_f64());
        }
        for alert in status.alerts.iter().flat_map(|alerts| &alerts.firing) {
            set(&self.alert_firing, &[alert, severity(resource, alert)], 1.0);
        }
    }
}

/// How urgent the alert is, as the resource or the rules say.
fn severity(resource: &LLMDeployment, alert: &str) -> &'static str {
    use candlepower_api::{deployment::Severity, names::alerts};
    let thresholds = &resource.spec.alerts;
    let severity = match alert {
        alerts::TIME_TO_FIRST_TOKEN_HIGH => thresholds.time_to_first_token_p95.severity,
        alerts::MEMORY_HIGH => thresholds.memory_utilization.severity,
        alerts::ERROR_RATE_HIGH => thresholds.error_rate.severity,
        alerts::THROUGHPUT_LOW => thresholds.throughput.severity,
        alerts::NOT_READY | alerts::NOT_SERVING | alerts::CRASH_LOOPING => Severity::Critical,
        _ => Severity::Warning,
    };
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing;
    use prometheus::TextEncoder;
    use serde_json::json;

    fn text(resource: &LLMDeployment) -> String {
        let series = Series::new().unwrap();
        series.add(resource);
        encoded(&series)
    }

    fn encoded(series: &Series) -> String {
        let families: Vec<_> = series
            .all()
            .into_iter()
            .flat_map(Collector::collect)
            .filter(|family| !family.get_metric().is_empty())
            .collect();
        TextEncoder::new().encode_to_string(&families).unwrap()
    }

    #[test]
    fn ready_but_nothing_serves_can_be_seen_without_kube_state_metrics() {
        let mut resource = testing::resource(json!({"replicas": 2}));
        resource.status = Some(
            serde_json::from_value(json!({
                "readyReplicas": 0,
                "conditions": [{"type": "Ready", "status": "True", "reason": "AllPodsReady",
                    "message": "", "lastTransitionTime": testing::NOW}],
                "startup": {"began": testing::NOW, "took": "12500ms"},
                "alerts": {"firing": ["CandlepowerErrorRateHigh", "CandlepowerCrashLooping"]},
            }))
            .unwrap(),
        );
        let text = text(&resource);
        for line in [
            "candlepower_llmdeployment_condition{condition=\"Ready\",llmdeployment=\"tiny\",namespace=\"team\",status=\"true\"} 1",
            "candlepower_llmdeployment_condition{condition=\"Ready\",llmdeployment=\"tiny\",namespace=\"team\",status=\"false\"} 0",
            "candlepower_llmdeployment_condition{condition=\"Scheduled\",llmdeployment=\"tiny\",namespace=\"team\",status=\"unknown\"} 1",
            "candlepower_llmdeployment_replicas{llmdeployment=\"tiny\",namespace=\"team\",state=\"desired\"} 2",
            "candlepower_llmdeployment_replicas{llmdeployment=\"tiny\",namespace=\"team\",state=\"ready\"} 0",
            "candlepower_llmdeployment_time_to_ready_seconds{llmdeployment=\"tiny\",namespace=\"team\"} 12.5",
            "candlepower_llmdeployment_alert_firing{alert=\"CandlepowerErrorRateHigh\",llmdeployment=\"tiny\",namespace=\"team\",severity=\"critical\"} 1",
            "candlepower_llmdeployment_alert_firing{alert=\"CandlepowerCrashLooping\",llmdeployment=\"tiny\",namespace=\"team\",severity=\"critical\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn each_pod_s_restarts_are_counted_and_other_pods_are_not() {
        let series = Series::new().unwrap();
        let looping = testing::pod_in(json!({"waiting": {}}), json!({}), 7);
        let mut pod = (*looping.pod).clone();
        series.add_pod(&pod);
        assert_eq!(encoded(&series), "", "a pod of nobody");
        pod.metadata.labels =
            Some([("candlepower.dev/llmdeployment".into(), "tiny".into())].into());
        series.add_pod(&pod);
        let text = encoded(&series);
        let line = "candlepower_llmdeployment_restarts_total{llmdeployment=\"tiny\",namespace=\"team\",pod=\"tiny-1\"} 7";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("# TYPE candlepower_llmdeployment_restarts_total counter"));
    }
}
