//! Metrics about each resource, read from the cache when they are asked for: what a fleet's board
//! needs, without kube-state-metrics. Labels come from resources, never from requests.
use super::{Guarded, figures::restarts};
use crate::{
    exposition::{Family, Kind, Series},
    metrics::Source,
    watches::{Cache, Pod},
};
use candlepower_api::{
    deployment::{LLMDeployment, LLMDeploymentStatus, status::ObservabilityStatus},
    names::{conditions, operator_metrics as names},
    server_config::LoadedModel,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::runtime::reflector::Store;
use std::sync::Arc;

const CONDITIONS: [&str; 6] = [
    conditions::READY,
    conditions::SCHEDULED,
    conditions::MODEL_LOADED,
    conditions::FITS_MEMORY,
    conditions::SPEC_SUPPORTED,
    conditions::OBSERVABILITY_READY,
];
/// As conditions and series name them.
const STATUSES: [(&str, &str); 3] = [("True", "true"), ("False", "false"), ("Unknown", "unknown")];
const SEVERITY: &str = "severity";

/// The series of the resources and pods in these caches.
pub(super) fn source(caches: Vec<(Store<Guarded>, Cache<Pod>)>) -> Source {
    Box::new(move || {
        let resources = caches.iter().flat_map(|(resources, _)| resources.state());
        let resources: Arc<[_]> = resources.collect();
        let pods: Arc<[_]> = caches.iter().flat_map(|(_, pods)| pods.all()).collect();
        let of_resources = FAMILIES.map(|family| family.parts(&resources));
        Box::new(
            of_resources
                .into_iter()
                .flatten()
                .chain(RESTARTS.parts(&pods)),
        )
    })
}

const FAMILIES: [Family<Guarded>; 5] = [
    Family {
        name: names::INFO,
        help: "Always 1: what is served, in its labels.",
        kind: Kind::Gauge,
        add: |resource, series| with(resource, series, info),
    },
    Family {
        name: names::CONDITION,
        help: "1 for the status that the condition has, 0 for the others.",
        kind: Kind::Gauge,
        add: |resource, series| with(resource, series, condition),
    },
    Family {
        name: names::REPLICAS,
        help: "Pods that are wanted, and pods that serve.",
        kind: Kind::Gauge,
        add: |resource, series| with(resource, series, replicas),
    },
    Family {
        name: names::TIME_TO_READY,
        help: "Seconds until the resource became Ready, since it was made or changed, or was Ready no more.",
        kind: Kind::Gauge,
        add: |resource, series| with(resource, series, time_to_ready),
    },
    Family {
        name: names::ALERT_FIRING,
        help: "1 while the operator sees the alert fire.",
        kind: Kind::Gauge,
        add: |resource, series| with(resource, series, alert_firing),
    },
];

const RESTARTS: Family<Pod> = Family {
    name: names::RESTARTS,
    help: "How often the pod's server was started again.",
    kind: Kind::Counter,
    add: |pod, series| {
        if let (Some(name), Some(restarts)) = (pod.deployment.as_deref(), restarts::of(pod)) {
            let labels = [
                (names::LABEL_LLM_DEPLOYMENT, name),
                (names::LABEL_NAMESPACE, &pod.namespace),
                (names::LABEL_POD, &pod.name),
            ];
            series.add(&labels, restarts.into());
        }
    },
};

/// A resource that can be read.
struct Read<'a> {
    resource: &'a LLMDeployment,
    status: Option<&'a LLMDeploymentStatus>,
    /// Which one it is.
    labels: [(&'a str, &'a str); 2],
}

fn with(resource: &Guarded, series: &mut Series, add: fn(&Read<'_>, &mut Series)) {
    let Ok(resource) = &resource.0 else { return };
    let metadata = &resource.metadata;
    let read = Read {
        resource,
        status: resource.status.as_ref(),
        labels: [
            (
                names::LABEL_LLM_DEPLOYMENT,
                metadata.name.as_deref().unwrap_or_default(),
            ),
            (
                names::LABEL_NAMESPACE,
                metadata.namespace.as_deref().unwrap_or_default(),
            ),
        ],
    };
    add(&read, series);
}

fn info(read: &Read<'_>, series: &mut Series) {
    let model = read.status.and_then(|status| status.model.as_ref());
    let of_model = |part: fn(&LoadedModel) -> &str| model.map(part).unwrap_or_default();
    let collected = read.status.and_then(|status| status.observability.as_ref());
    let of_collected =
        |part: fn(&ObservabilityStatus) -> String| collected.map(part).unwrap_or_default();
    let image = read.status.and_then(|status| status.image.as_deref());
    let [name, namespace] = read.labels;
    let labels = [
        ("device", of_model(|model| &model.device)),
        ("image", image.unwrap_or_default()),
        name,
        ("metrics", &of_collected(|it| format!("{:?}", it.metrics))),
        ("model", of_model(|model| &model.name)),
        namespace,
        ("precision", of_model(|model| &model.precision)),
        ("tracing", &of_collected(|it| format!("{:?}", it.tracing))),
    ];
    series.add(&labels, 1.0);
}

fn condition(read: &Read<'_>, series: &mut Series) {
    let [name, namespace] = read.labels;
    let conditions = read.status.map(|status| status.conditions.as_slice());
    for condition in CONDITIONS {
        let mut all = conditions.unwrap_or_default().iter();
        let has = all.find(|has: &&Condition| has.type_ == condition);
        for (value, label) in STATUSES {
            let is = has.map_or(value == "Unknown", |has| has.status == value);
            let labels = [
                (names::LABEL_CONDITION, condition),
                name,
                namespace,
                (names::LABEL_STATUS, label),
            ];
            series.add(&labels, f64::from(u8::from(is)));
        }
    }
}

fn replicas(read: &Read<'_>, series: &mut Series) {
    let [name, namespace] = read.labels;
    let ready = read.status.map_or(0, |status| status.ready_replicas);
    for (state, number) in [
        ("desired", read.resource.wanted_replicas()),
        ("ready", ready),
    ] {
        let labels = [name, namespace, (names::LABEL_STATE, state)];
        series.add(&labels, number.into());
    }
}

fn time_to_ready(read: &Read<'_>, series: &mut Series) {
    let startup = read.status.and_then(|status| status.startup.as_ref());
    if let Some(took) = startup.and_then(|startup| startup.took) {
        series.add(&read.labels, took.as_std().as_secs_f64());
    }
}

fn alert_firing(read: &Read<'_>, series: &mut Series) {
    let [name, namespace] = read.labels;
    let alerts = read.status.and_then(|status| status.alerts.as_ref());
    for alert in alerts.into_iter().flat_map(|alerts| &alerts.firing) {
        let labels = [
            (names::LABEL_ALERT, alert.as_str()),
            name,
            namespace,
            (SEVERITY, severity(read.resource, alert)),
        ];
        series.add(&labels, 1.0);
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
    use crate::{deployment::testing, guard::Guard, watches::holding};
    use kube::runtime::{reflector, watcher::Event};
    use serde_json::json;

    fn text(resource: Option<LLMDeployment>, pod: Option<Pod>) -> String {
        let (store, mut writer) = reflector::store();
        if let Some(resource) = resource {
            writer.apply_watcher_event(&Event::Apply(Guard(Ok(resource))));
        }
        source(vec![(store, holding(pod))])().collect()
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
        let text = text(Some(resource), None);
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
        let looping = testing::pod_in(json!({"waiting": {}}), json!({}), 7);
        let mut pod = (*looping.pod).clone();
        assert_eq!(text(None, Some(pod.clone())), "", "a pod of nobody");
        pod.deployment = Some("tiny".into());
        let text = text(None, Some(pod));
        let line = "candlepower_llmdeployment_restarts_total{llmdeployment=\"tiny\",namespace=\"team\",pod=\"tiny-1\"} 7";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("# TYPE candlepower_llmdeployment_restarts_total counter"));
    }
}
