//! When each alert holds and fires.
use super::*;
use crate::deployment::{
    figures::{histogram::Histogram, snapshot::Counters},
    testing,
};
use candlepower_api::names::buckets;
use serde_json::json;

fn names(spec: serde_json::Value, window: &Window) -> Vec<&'static str> {
    let resource = testing::resource(spec);
    holding(&resource, window, testing::now())
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

fn slow_window() -> Window {
    let mut first_token = Histogram::new(buckets::TIME_TO_FIRST_TOKEN);
    for le in [
        "5", "7.5", "10", "20", "40", "80", "160", "640", "2560", "+Inf",
    ] {
        first_token.set(le, 10);
    }
    Window {
        counted: Counters {
            first_token,
            tokens: 100.0,
            succeeded: 90.0,
            failed_by_server: 10.0,
            ..Counters::zero()
        },
        tokens_per_second: 2.0,
        busy: 0.5,
        memory: Some(0.95),
        ..Window::of([])
    }
}

#[test]
fn the_four_alerts_hold_above_their_thresholds() {
    let held = names(json!({}), &slow_window());
    assert_eq!(
        held,
        [
            alerts::TIME_TO_FIRST_TOKEN_HIGH,
            alerts::MEMORY_HIGH,
            alerts::ERROR_RATE_HIGH,
            alerts::THROUGHPUT_LOW
        ]
    );
}

#[test]
fn an_alert_that_is_switched_off_or_allows_more_does_not_hold() {
    let spec = json!({"alerts": {
        "timeToFirstTokenP95": {"threshold": "30s"},
        "memoryUtilization": {"threshold": "100%"},
        "errorRate": {"enabled": false},
        "throughput": {"threshold": 3},
    }});
    assert_eq!(names(spec, &slow_window()), Vec::<&str>::new());
}

#[test]
fn an_idle_server_raises_nothing_even_with_thresholds_of_zero() {
    let spec = json!({"alerts": {"errorRate": {"threshold": "0%"}}});
    assert_eq!(names(spec, &Window::of([])), Vec::<&str>::new());
}

#[test]
fn requests_without_tokens_a_full_queue_and_lost_spans_hold() {
    let window = Window {
        stuck: true,
        counted: Counters {
            queue_full: 1.0,
            spans_lost: 1.0,
            ..Counters::zero()
        },
        ..Window::of([])
    };
    assert_eq!(
        names(json!({}), &window),
        [
            alerts::NOT_SERVING,
            alerts::QUEUE_FULL,
            alerts::TRACE_EXPORT_FAILING
        ]
    );
}

#[test]
fn an_alert_fires_only_after_it_has_held_without_a_break() {
    let mut pending = Pending::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let hold = || vec![(alerts::MEMORY_HIGH, Duration::from_secs(60))];
    assert!(pending.update(at(0), hold()).is_empty());
    assert!(pending.update(at(59), hold()).is_empty());
    assert_eq!(pending.update(at(60), hold()), [alerts::MEMORY_HIGH]);
    assert!(pending.update(at(61), vec![]).is_empty());
    assert!(pending.update(at(62), hold()).is_empty(), "it begins anew");
}

#[test]
fn an_alert_that_fired_before_the_operator_was_restarted_goes_on_while_it_holds() {
    let hold = || vec![(alerts::MEMORY_HIGH, Duration::from_secs(60))];
    let mut pending = Pending::after(status(vec![alerts::MEMORY_HIGH.to_owned()], "").as_ref());
    let start = Instant::now();
    assert_eq!(pending.update(start, hold()), [alerts::MEMORY_HIGH]);
    assert!(pending.update(start, vec![]).is_empty());
    assert!(pending.update(start, hold()).is_empty(), "it begins anew");
}

#[test]
fn the_table_shows_one_alert_and_how_many_more() {
    let told = |firing: &[&str]| {
        let firing = firing.iter().map(|name| (*name).to_owned()).collect();
        status(firing, "").map(|told| told.summary)
    };
    assert_eq!(told(&[]), None);
    assert_eq!(told(&[alerts::QUEUE_FULL]).unwrap(), "QueueFull");
    assert_eq!(
        told(&[alerts::MEMORY_HIGH, alerts::QUEUE_FULL]).unwrap(),
        "MemoryHigh +1"
    );
}

#[test]
fn a_resource_that_has_been_unready_for_long_is_told() {
    let mut resource = testing::resource(json!({}));
    let unready = |since: &str| {
        serde_json::from_value(json!({"conditions": [{
            "type": "Ready", "status": "False", "reason": "CrashLoop", "message": "",
            "lastTransitionTime": since,
        }]}))
        .unwrap()
    };
    resource.status = Some(unready("2026-01-01T11:49:00Z"));
    assert_eq!(unready_for(&resource), Some(Duration::ZERO));
    resource.status = Some(unready("2026-01-01T11:59:00Z"));
    assert_eq!(unready_for(&resource), None);
}

fn unready_for(resource: &LLMDeployment) -> Option<Duration> {
    unready(resource, testing::now())
}

#[test]
fn a_resource_that_is_ready_in_name_only_is_told_once_that_lasts() {
    let ready = |replicas: i32, serve: i32| {
        let mut resource = testing::resource(json!({"replicas": replicas}));
        resource.status = Some(
            serde_json::from_value(json!({"readyReplicas": serve, "conditions": [{
                "type": "Ready", "status": "True", "reason": "AllPodsReady", "message": "",
                "lastTransitionTime": "2026-01-01T11:00:00Z",
            }]}))
            .unwrap(),
        );
        unready_for(&resource)
    };
    assert_eq!(ready(2, 0), Some(UNREADY));
    assert_eq!(ready(2, 2), None);
    assert_eq!(ready(0, 0), None, "nothing is wanted");
}

#[test]
fn a_server_that_ends_again_and_again_is_told_at_once() {
    let window = Window {
        crash_looping: true,
        ..Window::of([])
    };
    let held = holding(&testing::resource(json!({})), &window, testing::now());
    assert_eq!(held, [(alerts::CRASH_LOOPING, Duration::ZERO)]);
}

#[test]
fn a_status_says_where_the_runbooks_are() {
    let told = status(vec![alerts::QUEUE_FULL.to_owned()], "https://wiki.example").unwrap();
    assert_eq!(told.runbooks_url.as_deref(), Some("https://wiki.example"));
}

/// Requests that succeeded and failed.
fn ended(succeeded: f64, failed_by_server: f64) -> Window {
    Window {
        counted: Counters {
            succeeded,
            failed_by_server,
            ..Counters::zero()
        },
        ..Window::of([])
    }
}

fn remembered(memory: f64) -> Window {
    Window {
        memory: Some(memory),
        ..Window::of([])
    }
}

/// The first token came within the first edge of the histogram.
fn at_once() -> Window {
    let mut window = Window::of([]);
    for edge in buckets::TIME_TO_FIRST_TOKEN {
        window.counted.first_token.set(&edge.to_string(), 1);
    }
    window.counted.first_token.set("+Inf", 1);
    window
}

fn slow(tokens_per_second: f64) -> Window {
    Window {
        tokens_per_second,
        busy: 1.0,
        ..Window::of([])
    }
}

/// The same ends as in the rules' tests for promtool.
#[test]
fn thresholds_at_their_ends_are_strict() {
    let cases = [
        ("errorRate", "0%", ended(999.0, 1.0), true),
        ("errorRate", "0%", ended(999.0, 0.0), false),
        ("errorRate", "100%", ended(0.0, 10.0), false),
        ("errorRate", "99%", ended(0.0, 10.0), true),
        ("memoryUtilization", "0%", remembered(0.001), true),
        ("memoryUtilization", "0%", remembered(0.0), false),
        ("memoryUtilization", "100%", remembered(1.0), false),
        ("memoryUtilization", "99%", remembered(1.0), true),
        ("timeToFirstTokenP95", "0s", at_once(), true),
        ("timeToFirstTokenP95", "0s", Window::of([]), false),
        ("timeToFirstTokenP95", "1s", at_once(), false),
    ];
    for (alert, threshold, window, holds) in cases {
        let mut spec = json!({"alerts": {"throughput": {"enabled": false}}});
        spec["alerts"][alert] = json!({"threshold": threshold});
        let held = names(spec, &window);
        assert_eq!(!held.is_empty(), holds, "{alert} of {threshold}: {held:?}");
    }
    for (threshold, tokens_per_second, holds) in [(0, 0.0, false), (5, 5.0, false), (5, 4.9, true)]
    {
        let spec = json!({"alerts": {"throughput": {"threshold": threshold}}});
        let held = names(spec, &slow(tokens_per_second));
        assert_eq!(!held.is_empty(), holds, "{threshold} tokens/s: {held:?}");
    }
}
