use super::*;
use crate::{
    analysis::testing::{Plant, objectives},
    evidence::series::Quantity,
    report::{Options, build},
};

/// Sets a gauge or a counter of the server.
fn set(all: &mut Vec<(Quantity, f64)>, quantity: Quantity, value: f64) {
    all.retain(|(other, _)| *other != quantity);
    all.push((quantity, value));
}

#[test]
fn a_healthy_run_has_no_bottleneck() {
    let report = Plant::report(&[Plant::default()]);
    assert_eq!(
        report.conclusion.primary_bottleneck, None,
        "{:#?}",
        report.findings
    );
    assert!(
        report
            .conclusion
            .summary
            .contains("No bottleneck was found")
    );
}

#[test]
fn a_cpu_limit_that_stops_threads_is_named() {
    let plant = Plant::with(|plant| {
        plant.tpot = 80.0;
        set(&mut plant.gauges, Quantity::CpuLimit, 0.5);
        set(&mut plant.counters, Quantity::CpuSeconds, 0.5);
        set(&mut plant.counters, Quantity::ThrottledPeriods, 9.5);
        set(&mut plant.counters, Quantity::ThrottledSeconds, 1.4);
    });
    assert_eq!(plant.primary(), Some(Class::ThrottledCpu));
}

#[test]
fn a_batch_of_one_makes_requests_queue_and_the_cause_says_so() {
    let plant = Plant::with(|plant| {
        plant.queue = 4_000.0;
        plant.deployment.engine.max_batch_size = 1;
        set(&mut plant.gauges, Quantity::Running, 1.0);
        set(&mut plant.gauges, Quantity::Waiting, 7.0);
    });
    let report = Plant::report(&[plant]);
    let first = &report.findings[0];
    assert_eq!(
        (first.class, first.severity),
        (Class::Queueing, Severity::Critical)
    );
    assert!(first.cause.contains("all 1 places"), "{}", first.cause);
}

#[test]
fn a_wait_for_company_makes_requests_queue_and_the_cause_says_so() {
    let plant = Plant::with(|plant| {
        plant.queue = 600.0;
        plant.deployment.engine.max_batch_wait = "600ms".parse().unwrap();
    });
    let report = Plant::report(&[plant]);
    assert_eq!(report.conclusion.primary_bottleneck, Some(Class::Queueing));
    assert!(report.findings[0].cause.contains("for company"));
}

#[test]
fn a_full_kv_cache_is_named_instead_of_the_queue_that_it_causes() {
    let plant = Plant::with(|plant| {
        plant.queue = 3_000.0;
        set(&mut plant.gauges, Quantity::Running, 2.0);
        set(&mut plant.gauges, Quantity::Waiting, 6.0);
        set(&mut plant.gauges, Quantity::KvCacheUsage, 0.97);
    });
    let report = Plant::report(&[plant]);
    assert_eq!(
        report.conclusion.primary_bottleneck,
        Some(Class::KvCachePressure)
    );
    assert!(
        report
            .findings
            .iter()
            .all(|one| one.class != Class::Queueing)
    );
}

#[test]
fn requests_that_still_wait_when_the_window_ends_count_by_their_number() {
    let report = Plant::report(&[Plant::with(|plant| {
        plant.seconds = 9;
        plant.prefill = 5_000.0;
        // The first ones found a place at once, and only they have ended.
        plant.queue = 500.0;
        set(&mut plant.gauges, Quantity::Running, 4.0);
        set(&mut plant.gauges, Quantity::Waiting, 5.0);
        set(&mut plant.gauges, Quantity::KvCacheUsage, 0.98);
    })]);
    let first = &report.findings[0];
    assert_eq!(
        (first.class, first.severity, first.share_of.as_str()),
        (
            Class::KvCachePressure,
            Severity::Critical,
            "the requests' time"
        )
    );
}

#[test]
fn weights_that_fill_the_memory_are_named() {
    let plant = Plant::with(|plant| set(&mut plant.gauges, Quantity::MemoryLimit, 120e6));
    assert_eq!(plant.primary(), Some(Class::Capacity));
}

#[test]
fn a_slow_tokenizer_is_named() {
    let plant = Plant::with(|plant| plant.tokenize = 400.0);
    assert_eq!(plant.primary(), Some(Class::Tokenisation));
}

#[test]
fn time_lost_before_the_server_is_upstream() {
    let plant = Plant::with(|plant| {
        plant.way_in = 700.0;
        set(&mut plant.gauges, Quantity::Running, 3.0);
    });
    let report = Plant::report(&[plant]);
    let first = &report.findings[0];
    assert_eq!(
        (first.class, first.confidence),
        (Class::Upstream, Confidence::High)
    );
}

#[test]
fn means_of_different_requests_are_no_loss_while_all_are_inside_the_server() {
    let report = Plant::report(&[Plant::with(|plant| {
        plant.way_in = 20_000.0;
        let all = f64::from(plant.users);
        set(&mut plant.gauges, Quantity::Running, all);
    })]);
    let classes: Vec<_> = report.findings.iter().map(|one| one.class).collect();
    assert!(!classes.contains(&Class::Upstream), "{classes:?}");
}

#[test]
fn tokens_that_are_taken_slowly_are_a_slow_client() {
    assert_eq!(
        Plant::with(|plant| plant.way_out = 60.0).primary(),
        Some(Class::SlowClient)
    );
}

#[test]
fn a_first_token_that_is_taken_as_slowly_as_the_others_is_not_upstream() {
    let report = Plant::report(&[Plant::with(|plant| {
        plant.way_in = 70.0;
        plant.way_out = 60.0;
    })]);
    let classes: Vec<_> = report.findings.iter().map(|one| one.class).collect();
    assert!(classes.contains(&Class::SlowClient), "{classes:?}");
    assert!(!classes.contains(&Class::Upstream), "{classes:?}");
}

#[test]
fn a_load_generator_that_lags_voids_the_verdict() {
    // The median's limit is 500 ms, which is missed by less than the lag.
    let report = Plant::report(&[Plant::with(|plant| {
        plant.prefill = 500.0;
        plant.generator.lag_p99 = 150_000;
    })]);
    assert_eq!(
        report.conclusion.primary_bottleneck,
        Some(Class::OverloadedGenerator)
    );
    assert_eq!(report.conclusion.outcome, crate::report::Outcome::Void);
}

#[test]
fn a_generator_without_cpu_to_spare_voids_the_verdict_however_small_its_lag_is() {
    // Met or missed: less load than was asked for says nothing about either.
    for prefill in [60.0, 2_500.0] {
        let report = Plant::report(&[Plant::with(|plant| {
            plant.prefill = prefill;
            plant.generator.cpu_cores = 1.9;
        })]);
        let first = &report.findings[0];
        assert_eq!(
            (first.class, first.severity, first.share_of.as_str()),
            (Class::OverloadedGenerator, Severity::Critical, "its CPU")
        );
        assert!(first.cause.contains("used up its CPU"), "{}", first.cause);
        assert_eq!(report.conclusion.outcome, crate::report::Outcome::Void);
    }
}

#[test]
fn a_generator_with_cpu_to_spare_is_no_finding() {
    let report = Plant::report(&[Plant::with(|plant| plant.generator.cpu_cores = 1.7)]);
    assert_eq!(report.conclusion.primary_bottleneck, None);
    assert_eq!(report.conclusion.outcome, crate::report::Outcome::Met);
}

#[test]
fn a_lag_that_changes_no_verdict_leaves_them_alone() {
    let outcome = |prefill| {
        let report = Plant::report(&[Plant::with(|plant| {
            plant.prefill = prefill;
            plant.generator.lag_p99 = 150_000;
        })]);
        assert_ne!(
            report.conclusion.primary_bottleneck,
            Some(Class::OverloadedGenerator)
        );
        report.conclusion.outcome
    };
    assert_eq!(outcome(60.0), crate::report::Outcome::Met);
    assert_eq!(outcome(2_500.0), crate::report::Outcome::Missed);
}

#[test]
fn slow_tokens_with_all_bandwidth_used_are_bound_by_memory() {
    let plant = Plant::with(|plant| {
        plant.tpot = 150.0;
        plant.weights = 1_200_000_000;
    });
    assert_eq!(plant.primary(), Some(Class::MemoryBandwidth));
}

#[test]
fn slow_tokens_with_all_arithmetic_used_are_bound_by_compute() {
    let plant = Plant::with(|plant| {
        plant.tpot = 150.0;
        plant.prefill = 900.0;
        plant.weights = 1_200_000_000;
        plant.bandwidth = 100e9;
        plant.flops = 400e9;
    });
    assert_eq!(plant.primary(), Some(Class::Compute));
}

#[test]
fn slow_tokens_with_nothing_used_are_overhead() {
    let plant = Plant::with(|plant| plant.tpot = 150.0);
    assert_eq!(plant.primary(), Some(Class::Overhead));
}

#[test]
fn what_was_not_exported_is_not_found() {
    let (run, _) = Plant::run(&[Plant::with(|plant| plant.queue = 4_000.0)]);
    let options = Options {
        objectives: objectives(),
        ..Options::default()
    };
    let report = build(&run, &crate::evidence::Evidence::default(), &options);
    assert_eq!(report.findings, []);
    assert!(report.conclusion.summary.contains("names no bottleneck"));
}

#[test]
fn every_finding_has_figures_and_their_sources() {
    let report = Plant::report(&[Plant::with(|plant| {
        plant.queue = 4_000.0;
        plant.tokenize = 900.0;
        plant.way_out = 90.0;
    })]);
    assert!(report.findings.len() >= 3);
    for finding in &report.findings {
        assert!(!finding.evidence.is_empty(), "{finding:?}");
        assert!((0.0..=1.0).contains(&finding.share), "{finding:?}");
    }
}

#[test]
fn more_than_all_arithmetic_is_no_sign_of_anything() {
    let plant = Plant::with(|plant| {
        plant.tpot = 150.0;
        plant.prefill = 900.0;
        plant.weights = 1_200_000_000;
        plant.bandwidth = 100e9;
        plant.flops = 40e9;
    });
    let report = Plant::report(&[plant]);
    assert!(report.roofline.as_ref().unwrap().levels[0].mfu.unwrap() > 1.0);
    assert!(
        !report
            .findings
            .iter()
            .any(|one| one.class == Class::Compute)
    );
    let text = crate::report::render(&report, crate::report::Format::Md).unwrap();
    assert!(text.contains("| above 100 % |"), "{text}");
    assert!(text.contains("did more than the peak"), "{text}");
}

#[test]
fn more_than_all_bandwidth_is_no_sign_of_anything_either() {
    let plant = Plant::with(|plant| {
        plant.tpot = 150.0;
        plant.weights = 1_200_000_000;
        plant.bandwidth = 4e9;
    });
    let report = Plant::report(&[plant]);
    assert!(report.roofline.as_ref().unwrap().levels[0].mbu.unwrap() > 1.0);
    let bound = |one: &Finding| one.class == Class::MemoryBandwidth;
    assert!(!report.findings.iter().any(bound), "{:?}", report.findings);
    let text = crate::report::render(&report, crate::report::Format::Md).unwrap();
    assert!(text.contains("| above 100 % |"), "{text}");
}

/// Slow tokens, and a queue that takes most of a TTFT which is met all the same.
fn slow_tokens_behind_a_short_queue(plant: &mut Plant) {
    plant.queue = 160.0;
    plant.tpot = 150.0;
    plant.weights = 1_200_000_000;
}

#[test]
fn what_makes_the_first_token_late_is_no_reason_for_slow_ones_after_it() {
    let report = Plant::report(&[Plant::with(slow_tokens_behind_a_short_queue)]);
    let found = |class| report.findings.iter().find(|one| one.class == class);
    let queueing = found(Class::Queueing).unwrap();
    assert!(queueing.share > 0.6, "{queueing:?}");
    assert_eq!(queueing.severity, Severity::Moderate);
    let bandwidth = found(Class::MemoryBandwidth).unwrap();
    assert_eq!(bandwidth.severity, Severity::Critical);
    assert_eq!(
        report.conclusion.primary_bottleneck,
        Some(Class::MemoryBandwidth)
    );
}

#[test]
fn a_queue_that_misses_the_first_tokens_objective_is_critical() {
    let report = Plant::report(&[Plant::with(|plant| {
        slow_tokens_behind_a_short_queue(plant);
        plant.queue = 3_000.0;
    })]);
    let first = &report.findings[0];
    assert_eq!(
        (first.class, first.severity),
        (Class::Queueing, Severity::Critical)
    );
}

#[test]
fn full_memory_and_a_late_generator_do_not_explain_slow_tokens() {
    let report = Plant::report(&[Plant::with(|plant| {
        plant.tpot = 150.0;
        plant.weights = 1_200_000_000;
        plant.generator.lag_p99 = 12_000;
        set(&mut plant.gauges, Quantity::MemoryLimit, 1_500e6);
    })]);
    let found = |class| report.findings.iter().find(|one| one.class == class);
    assert!(found(Class::Capacity).is_some(), "{:?}", report.findings);
    assert!(found(Class::OverloadedGenerator).is_some());
    let bandwidth = found(Class::MemoryBandwidth).unwrap();
    assert_eq!(bandwidth.severity, Severity::Critical);
}

/// The report of a plant whose server has two pods.
fn of_two_pods(change: impl FnOnce(&mut Plant)) -> crate::report::Report {
    let (run, mut evidence) = Plant::run(&[Plant::with(change)]);
    evidence.replicas = 2;
    let options = Options {
        objectives: objectives(),
        ..Options::default()
    };
    build(&run, &evidence, &options)
}

fn waiting_with(places: i32, running: f64, plant: &mut Plant) {
    plant.queue = 4_000.0;
    plant.deployment.engine.max_batch_size = places;
    set(&mut plant.gauges, Quantity::Running, running);
    set(&mut plant.gauges, Quantity::Waiting, 4.0);
}

#[test]
fn the_places_of_two_pods_are_twice_those_of_one() {
    let half = of_two_pods(|plant| waiting_with(4, 4.0, plant));
    let cause = &half.findings[0].cause;
    assert!(cause.contains("come faster than"), "{cause}");
    let full = of_two_pods(|plant| waiting_with(2, 4.0, plant));
    let cause = &full.findings[0].cause;
    assert!(
        cause.contains("all 4 places of the batches of 2 pods"),
        "{cause}"
    );
}

#[test]
fn a_full_cache_is_the_reason_only_while_the_batches_of_all_pods_have_places() {
    let pressed = |places| {
        let report = of_two_pods(|plant| {
            waiting_with(places, 4.0, plant);
            set(&mut plant.gauges, Quantity::KvCacheUsage, 0.97);
        });
        report.findings[0].class
    };
    assert_eq!(pressed(4), Class::KvCachePressure);
    assert_eq!(pressed(2), Class::Queueing);
}

#[test]
fn the_weights_of_one_pod_are_in_the_memory_of_one_pod() {
    // Two limits of 120 MB, and 100 MB of weights in each.
    let limits = |plant: &mut Plant| set(&mut plant.gauges, Quantity::MemoryLimit, 240e6);
    let report = of_two_pods(limits);
    let capacity = |one: &&Finding| one.class == Class::Capacity;
    let found = report.findings.iter().find(capacity).unwrap();
    assert!((found.share - 100.0 / 120.0).abs() < 0.01, "{found:?}");
    let one = Plant::report(&[Plant::with(limits)]);
    assert!(one.findings.iter().all(|one| one.class != Class::Capacity));
}

#[test]
fn the_cpu_limit_of_two_pods_is_told_as_that_of_each() {
    let report = of_two_pods(|plant| {
        set(&mut plant.gauges, Quantity::CpuLimit, 1.0);
        set(&mut plant.counters, Quantity::CpuSeconds, 1.0);
        set(&mut plant.counters, Quantity::ThrottledPeriods, 9.5);
        set(&mut plant.counters, Quantity::ThrottledSeconds, 1.4);
    });
    let cause = &report.findings[0].cause;
    assert!(cause.contains("0.50 cores in each pod"), "{cause}");
}
