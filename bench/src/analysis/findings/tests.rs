use super::*;
use crate::{
    analysis::testing::{Plant, model_load, objectives, out_of_memory},
    evidence::series::Quantity,
    report::{Options, build},
};

/// The primary bottleneck of a planted run.
fn primary_of(plant: Plant) -> Option<Class> {
    let report = Plant::report(&[plant]);
    report.conclusion.primary_bottleneck
}

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
    assert_eq!(primary_of(plant), Some(Class::ThrottledCpu));
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
    assert_eq!(primary_of(plant), Some(Class::Capacity));
}

#[test]
fn a_slow_tokenizer_is_named() {
    let plant = Plant::with(|plant| plant.tokenize = 400.0);
    assert_eq!(primary_of(plant), Some(Class::Tokenisation));
}

#[test]
fn a_first_request_that_waits_for_the_model_is_a_cold_start() {
    assert_eq!(
        primary_of(Plant::with(|plant| plant.cold = 3_000.0)),
        Some(Class::ColdStart)
    );
}

#[test]
fn a_model_that_is_loaded_for_the_first_question_is_a_cold_start() {
    let (mut run, evidence) = Plant::run(&[Plant::default()]);
    run.first_answer = Some(5_000_000);
    let report = build(&run, &evidence, &Options::default());
    assert_eq!(report.conclusion.primary_bottleneck, Some(Class::ColdStart));
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
        primary_of(Plant::with(|plant| plant.way_out = 60.0)),
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
    assert_eq!(primary_of(plant), Some(Class::MemoryBandwidth));
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
    assert_eq!(primary_of(plant), Some(Class::Compute));
}

#[test]
fn slow_tokens_with_nothing_used_are_overhead() {
    let plant = Plant::with(|plant| plant.tpot = 150.0);
    assert_eq!(primary_of(plant), Some(Class::Overhead));
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

#[test]
fn the_first_requests_together_show_a_cold_start() {
    let (mut run, evidence) = Plant::run(&[Plant::default()]);
    let requests = &mut run.scenarios[0].requests;
    requests.sort_by_key(|one| one.sent);
    for request in requests.iter_mut().take(5).skip(1) {
        let late = request.tokens.iter().map(|time| time + 3_000_000);
        request.tokens = late.collect();
        request.finished += 3_000_000;
    }
    let report = build(&run, &evidence, &Options::default());
    let found = report
        .findings
        .iter()
        .find(|one| one.class == Class::ColdStart);
    assert_eq!(found.unwrap().share_of, "the first requests' mean TTFT");
    let start = report.cold_start.unwrap();
    assert!(
        start.early > 2_400_000 && start.first < 100_000,
        "{start:?}"
    );
}

#[test]
fn a_cold_start_tells_how_long_the_model_took_to_load_where_the_server_says_it() {
    let cold = |gauges: Vec<(Quantity, f64)>| {
        let report = Plant::report(&[Plant::with(|plant| {
            plant.cold = 3_000.0;
            plant.gauges.extend(gauges);
        })]);
        let loaded = report.findings[0].evidence.iter();
        let mut loaded = loaded.filter(|proof| proof.what == "the model was loaded");
        loaded.next().map(|proof| proof.value.clone())
    };
    let told = cold(vec![(Quantity::LoadSeconds, 2.5)]);
    assert_eq!(told.as_deref(), Some("before the first scrape, in 2.50 s"));
    assert_eq!(cold(vec![]), None);
}

/// The report of a healthy run with these ends.
fn with_ends(ends: Vec<crate::evidence::ends::ContainerEnd>) -> crate::report::Report {
    let at = |users| Plant {
        users,
        ..Plant::default()
    };
    let (run, mut evidence) = Plant::run(&[at(4), at(8)]);
    evidence.container_ends = Some(ends);
    let options = Options {
        objectives: objectives(),
        ..Options::default()
    };
    build(&run, &evidence, &options)
}

#[test]
fn a_server_that_was_ended_for_lack_of_memory_is_the_primary_bottleneck() {
    let crashed = crate::evidence::ends::ContainerEnd {
        reason: "Error".to_owned(),
        exit_code: 1,
        ..out_of_memory(10_000_000)
    };
    let report = with_ends(vec![crashed, out_of_memory(70_000_000)]);
    let first = &report.findings[0];
    assert_eq!(
        (first.class, first.severity, first.confidence),
        (Class::OutOfMemory, Severity::Critical, Confidence::High)
    );
    assert_eq!(
        report.conclusion.primary_bottleneck,
        Some(Class::OutOfMemory)
    );
    assert_eq!((first.scenario.as_str(), first.share), ("8 users", 0.5));
    let told = &first.evidence[0].value;
    assert!(
        told.contains("70 s after the run had begun, under 8 users"),
        "{told}"
    );
    assert!(first.evidence.iter().any(|one| one.what == "memory limit"));
}

#[test]
fn a_server_that_was_ended_for_another_reason_or_a_sidecar_is_no_lack_of_memory() {
    let crashed = crate::evidence::ends::ContainerEnd {
        reason: "Error".to_owned(),
        ..out_of_memory(10_000_000)
    };
    let sidecar = crate::evidence::ends::ContainerEnd {
        container: "prometheus".to_owned(),
        ..out_of_memory(10_000_000)
    };
    let report = with_ends(vec![crashed, sidecar]);
    let out = |one: &Finding| one.class == Class::OutOfMemory;
    assert!(!report.findings.iter().any(out), "{:?}", report.findings);
}

#[test]
fn a_cold_start_is_shown_by_where_the_time_of_the_last_start_went() {
    let (run, mut evidence) = Plant::run(&[Plant::with(|plant| plant.cold = 4_000.0)]);
    evidence.model_load = Some(model_load(&run));
    let report = build(&run, &evidence, &Options::default());
    let found = report
        .findings
        .iter()
        .find(|one| one.class == Class::ColdStart);
    let shown = found.unwrap().evidence.last().unwrap();
    assert_eq!(
        (shown.value.as_str(), shown.source.as_str()),
        (
            "12.00 s, before the run: download 6.00 s, reading the weights 3.00 s, warm-up 1.00 s, in none of these 2.00 s",
            "traces"
        )
    );
}
