//! What is chosen in each situation, round by round, with a clock of the tests' own.
#![allow(
    clippy::needless_pass_by_value,
    reason = "literals read better without a reference"
)]
use super::*;
use crate::deployment::{figures::Reading, testing};
use candlepower_api::deployment::LLMDeploymentSpec;
use k8s_openapi::jiff::SignedDuration;
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// A resource whose pods run one request and let one wait, and what its Deployment asks for.
struct World {
    spec: LLMDeploymentSpec,
    autoscaler: Autoscaler,
    start: Instant,
    replicas: i32,
}

/// Requests that run and wait in each pod that answers.
type Pods<'a> = &'a [(f64, f64)];

impl World {
    fn new(limits: Value, replicas: i32) -> Self {
        let mut limits = limits;
        limits["scaleDownStabilization"] = json!("60s");
        let spec = json!({"engine": {"maxBatchSize": 1}, "autoscaling": limits});
        Self {
            spec: testing::resource(spec).spec,
            autoscaler: Autoscaler::default(),
            start: Instant::now(),
            replicas,
        }
    }

    /// A round at this second; the Deployment has what was chosen by the next one.
    fn round(&mut self, second: u64, demand: &Demand) -> Decision {
        let limits = self.spec.autoscaling.clone().unwrap();
        let seen = Seen {
            demand,
            current: self.replicas,
            told: None,
            lasts: demand.unread > 0,
        };
        let now = self.start + Duration::from_secs(second);
        let decision = self.autoscaler.decide(&self.spec, &limits, &seen, now);
        self.replicas = decision.replicas;
        decision
    }

    /// The numbers that are chosen at these seconds, when the pods have these requests.
    fn rounds(&mut self, rounds: &[(u64, Pods<'_>)]) -> Vec<i32> {
        let rounds = rounds.iter();
        rounds
            .map(|(second, pods)| self.round(*second, &demand(pods)).replicas)
            .collect()
    }
}

fn demand(pods: Pods<'_>) -> Demand {
    Demand {
        pods: pods
            .iter()
            .map(|(running, waiting)| PodLoad {
                running: *running,
                waiting: *waiting,
            })
            .collect(),
        ..Demand::default()
    }
}

fn up_to(max: i32) -> Value {
    json!({"minReplicas": 1, "maxReplicas": max})
}

const IDLE: (f64, f64) = (0.0, 0.0);
const BUSY: (f64, f64) = (1.0, 1.0);

#[test]
fn load_brings_pods_at_once_and_says_why() {
    let mut world = World::new(up_to(5), 1);
    let decision = world.round(0, &demand(&[(1.0, 4.0)]));
    assert_eq!(decision.replicas, 3);
    assert_eq!(decision.reason, "LoadRose");
    assert_eq!(
        decision.message,
        "3 pods instead of 1: 4 requests wait and 1 runs on 1 pod, and a pod holds 2"
    );
}

#[test]
fn pods_go_once_they_were_not_needed_for_a_whole_window() {
    let mut world = World::new(up_to(5), 1);
    let chosen = world.rounds(&[
        (0, &[(1.0, 4.0)]),
        (30, &[BUSY, BUSY, IDLE]),
        (59, &[IDLE, IDLE, IDLE]),
        // Three were needed at 0 s, two at 30 s, none since.
        (60, &[IDLE, IDLE, IDLE]),
        (89, &[IDLE, IDLE]),
        (90, &[IDLE, IDLE]),
    ]);
    assert_eq!(chosen, [3, 3, 3, 2, 2, 1]);
}

#[test]
fn the_reason_of_the_last_change_stays_while_nothing_changes() {
    let mut world = World::new(up_to(5), 1);
    let rose = world.round(0, &demand(&[(1.0, 2.0)]));
    assert_eq!(world.round(30, &demand(&[BUSY, BUSY])), rose);
    world.round(89, &demand(&[IDLE, IDLE]));
    let fell = world.round(90, &demand(&[IDLE, IDLE]));
    assert_eq!(fell.reason, "LoadFell");
    assert_eq!(
        fell.message,
        "1 pod instead of 2: more were not needed in the last 1m; 0 requests wait and 0 run on 2 pods"
    );
}

#[test]
fn a_short_peak_brings_no_pods_where_peaks_are_to_be_sat_out() {
    let limits = json!({"minReplicas": 1, "maxReplicas": 5, "scaleUpStabilization": "60s"});
    let mut world = World::new(limits, 1);
    let peak: Pods<'_> = &[(1.0, 9.0)];
    let lasting: Pods<'_> = &[(1.0, 2.0)];
    let chosen = world.rounds(&[
        (0, &[IDLE]),
        (80, &[IDLE]),
        (90, peak),
        (100, &[IDLE]),
        (110, lasting),
        (150, peak),
        (159, lasting),
        (170, lasting),
    ]);
    assert_eq!(chosen, [1, 1, 1, 1, 1, 1, 1, 2], "the least of the window");
}

#[test]
fn without_figures_no_pod_goes() {
    let mut world = World::new(up_to(5), 3);
    let silent = Demand {
        unread: 1,
        ..demand(&[IDLE, IDLE])
    };
    let nobody = demand(&[]);
    for second in [0, 300, 600] {
        let decision = world.round(second, &silent);
        assert_eq!(
            (decision.replicas, decision.reason.as_str()),
            (3, "FiguresMissing")
        );
        assert_eq!(world.round(second + 10, &nobody).replicas, 3);
    }
    // The window begins anew with the first figures.
    assert_eq!(world.round(660, &demand(&[IDLE; 3])).replicas, 3);
    let decision = world.round(670, &demand(&[IDLE; 3]));
    assert_eq!(
        (decision.replicas, decision.reason.as_str()),
        (1, "LoadFell")
    );
}

#[test]
fn a_silent_pod_does_not_keep_others_from_coming() {
    let mut world = World::new(up_to(5), 2);
    let demand = Demand {
        unread: 1,
        ..demand(&[(1.0, 5.0)])
    };
    assert_eq!(world.round(0, &demand).replicas, 3);
}

#[test]
fn the_limits_hold_and_what_they_keep_back_is_told() {
    let mut world = World::new(up_to(2), 1);
    let rose = world.round(0, &demand(&[(1.0, 9.0)]));
    assert_eq!((rose.replicas, rose.reason.as_str()), (2, "LoadRose"));
    let kept = world.round(30, &demand(&[(1.0, 4.0), (1.0, 4.0)]));
    assert_eq!((kept.replicas, kept.reason.as_str()), (2, "AtMaximum"));
    assert_eq!(
        kept.message,
        "2 pods, as maxReplicas allows: the requests of the last 1m would have needed 5"
    );
    world.round(60, &demand(&[BUSY, BUSY]));
    assert_eq!(world.round(91, &demand(&[BUSY, BUSY])).reason, "Enough");
}

#[test]
fn other_limits_move_the_number_and_are_told_as_the_cause() {
    let mut world = World::new(up_to(2), 4);
    let decision = world.round(0, &demand(&[IDLE; 4]));
    assert_eq!(decision.replicas, 2);
    assert_eq!(
        (decision.reason.as_str(), decision.message.as_str()),
        (
            "LimitsChanged",
            "2 pods instead of 4: minReplicas is 1 and maxReplicas is 2"
        )
    );
}

#[test]
fn a_new_operator_goes_on_with_the_pods_that_are_there() {
    let mut world = World::new(up_to(5), 4);
    assert_eq!(world.rounds(&[(0, &[IDLE; 4]), (59, &[IDLE; 4])]), [4, 4]);
    assert_eq!(world.rounds(&[(60, &[IDLE; 4])]), [1]);
}

/// What a reconcile makes of a resource with limits from 1 to 5.
struct Reconciled {
    deployment: Option<i32>,
    decided: Option<Decision>,
    told: Option<AutoscalingStatus>,
}

impl Reconciled {
    fn observed(&self) -> Observed {
        let deployment = self.deployment.map(|replicas| {
            let deployment = json!({
                "metadata": {"name": "tiny"},
                "spec": {"replicas": replicas, "selector": {}, "template": {}},
            });
            Arc::new(serde_json::from_value(deployment).unwrap())
        });
        Observed {
            previous: LLMDeploymentStatus {
                autoscaling: self.told.clone(),
                ..LLMDeploymentStatus::default()
            },
            deployments: deployment.into_iter().collect(),
            reading: self.decided.clone().map(|decided| Reading {
                scale: Some(decided),
                ..Reading::default()
            }),
            ..Observed::default()
        }
    }

    fn replicas(&self) -> i32 {
        let resource = testing::resource(json!({"autoscaling": up_to(5)}));
        replicas(&resource, &self.observed())
    }

    fn status(&self) -> AutoscalingStatus {
        let resource = testing::resource(json!({"autoscaling": up_to(5)}));
        let later = testing::now() + SignedDuration::from_secs(60);
        status(&resource, &self.observed(), later).unwrap()
    }
}

fn told(replicas: i32, reason: &str) -> AutoscalingStatus {
    AutoscalingStatus {
        desired_replicas: replicas,
        reason: reason.to_owned(),
        message: "as it was then".to_owned(),
        last_scale_time: Some(testing::NOW.to_owned()),
    }
}

fn rose(replicas: i32) -> Decision {
    Decision::new(replicas, "LoadRose", "as it is now".to_owned())
}

#[test]
fn before_the_first_figures_the_deployment_keeps_its_number() {
    let seen = |deployment, told| Reconciled {
        deployment,
        decided: None,
        told,
    };
    assert_eq!(seen(None, None).replicas(), 1, "a new resource");
    assert_eq!(seen(Some(3), None).replicas(), 3);
    assert_eq!(seen(Some(3), Some(told(3, "LoadRose"))).replicas(), 3);
    assert_eq!(seen(None, Some(told(3, "LoadRose"))).replicas(), 3);
    let status = seen(Some(3), Some(told(3, "LoadRose"))).status();
    assert_eq!(status, told(3, "LoadRose"), "nothing is written");
}

#[test]
fn limits_act_before_the_pods_are_asked_again() {
    let lowered = Reconciled {
        deployment: Some(9),
        decided: Some(rose(9)),
        told: Some(told(9, "LoadRose")),
    };
    let status = lowered.status();
    assert_eq!(lowered.replicas(), 5);
    assert_eq!(
        (status.desired_replicas, status.reason.as_str()),
        (5, "LimitsChanged")
    );
    assert_ne!(status.last_scale_time.as_deref(), Some(testing::NOW));
}

#[test]
fn only_another_number_or_reason_changes_the_status() {
    let seen = |decided, before| {
        let seen = Reconciled {
            deployment: Some(2),
            decided: Some(decided),
            told: Some(before),
        };
        seen.status()
    };
    assert_eq!(seen(rose(2), told(2, "LoadRose")), told(2, "LoadRose"));
    let kept = seen(rose(2), told(2, "Enough"));
    assert_eq!(kept.message, "as it is now");
    assert_eq!(kept.last_scale_time.as_deref(), Some(testing::NOW));
    let moved = seen(rose(3), told(2, "LoadRose"));
    assert_eq!(
        moved.last_scale_time.as_deref(),
        Some("2026-01-01T12:01:00Z")
    );
}

#[test]
fn without_autoscaling_the_number_is_the_specs() {
    for replicas in [0, 1, 4] {
        let resource = testing::resource(json!({"replicas": replicas}));
        let observed = Reconciled {
            deployment: Some(2),
            decided: Some(rose(3)),
            told: Some(told(3, "LoadRose")),
        }
        .observed();
        assert_eq!(super::replicas(&resource, &observed), replicas);
        assert_eq!(status(&resource, &observed, testing::now()), None);
    }
}
