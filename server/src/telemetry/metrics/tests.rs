//! What `/metrics` holds before and after requests, steps and loading.
use super::*;
use crate::http::error::ErrorKind;

fn line(text: &str, series: &str) -> String {
    text.lines()
        .find(|line| line.starts_with(series))
        .unwrap_or_else(|| panic!("{series} is missing in\n{text}"))
        .to_owned()
}

#[test]
fn every_error_and_reason_is_there_at_zero_from_the_start() {
    let text = Metrics::new().unwrap().render().unwrap();
    for kind in ErrorKind::ALL {
        let series = format!(
            "llm_request_errors_total{{error_type=\"{}\",fault=\"{}\"}}",
            kind.as_str(),
            kind.fault()
        );
        assert!(line(&text, &series).ends_with(" 0"));
    }
    for reason in ["stop", "length", "abort"] {
        let series = format!("llm_request_success_total{{finished_reason=\"{reason}\"}}");
        assert!(line(&text, &series).ends_with(" 0"));
    }
}

/// As Prometheus' `increase()` needs it, which sees nothing of the first step of a new series. Those
/// of cgroup and GPUs are read from files and devices that may not be there.
#[test]
fn every_counter_that_a_dashboard_asks_for_is_there_from_the_start() {
    let metrics = Metrics::new().unwrap();
    let (text, open) = (
        metrics.render().unwrap(),
        metrics.render_openmetrics().unwrap(),
    );
    let folder = "../dashboards";
    let mut counters = std::collections::BTreeSet::new();
    for board in std::fs::read_dir(folder).unwrap() {
        let board = std::fs::read_to_string(board.unwrap().path()).unwrap();
        let words = board.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let asked = words.filter(|word| word.starts_with("llm_") && word.ends_with("_total"));
        counters.extend(asked.map(str::to_owned));
    }
    counters.retain(|name| !name.starts_with("llm_container_"));
    for name in [
        names::TRACE_EXPORT_FAILURES,
        names::TRACE_SPANS_DROPPED,
        names::REQUEST_ERRORS,
        names::REQUEST_SUCCESS,
    ] {
        assert!(counters.contains(name), "{name} is on no dashboard");
    }
    for name in counters {
        for text in [&text, &open] {
            let zero = |line: &str| {
                let sample = line.strip_prefix(&name)?;
                let (labels, value) = sample.rsplit_once(' ')?;
                let whole = labels.is_empty() || labels.starts_with('{');
                (whole && matches!(value, "0" | "0.0")).then_some(())
            };
            assert!(text.lines().any(|line| zero(line).is_some()), "{name}");
        }
    }
}

#[test]
fn an_exemplar_in_every_bucket_still_fits_a_scrape() {
    let metrics = Metrics::new().unwrap();
    for histogram in metrics.requests.traced() {
        let mut value = 0.000_012_345_678;
        while value < 10_000.0 {
            histogram.observe(value, Some("0af7651916cd43dd8448eb211c80319c"));
            value *= 1.1;
        }
    }
    let text = metrics.render_openmetrics().unwrap();
    let exemplars = text.matches("# {trace_id=").count();
    let edges = buckets::TIME_TO_FIRST_TOKEN.len()
        + 2 * buckets::TOKEN_GAP.len()
        + 5 * buckets::REQUEST_SECONDS.len();
    assert_eq!(exemplars, edges + 8, "each edge's bucket and the last");
    assert!(text.len() <= 64 * 1024, "{} bytes", text.len());
}

#[test]
fn a_step_moves_gauges_and_histograms_and_idleness_only_gauges() {
    let metrics = Metrics::new().unwrap();
    let busy = StepSummary {
        rows: 20,
        sequences: 3,
        running: 3,
        waiting: 2,
        kv_used_tokens: 25,
        kv_total_tokens: 100,
        prompt_tokens: 40,
        cached_prompt_tokens: 32,
    };
    metrics.step(&busy);
    let text = metrics.render().unwrap();
    assert!(line(&text, "llm_num_requests_running").ends_with(" 3"));
    assert!(line(&text, "llm_num_requests_waiting").ends_with(" 2"));
    assert!(line(&text, "llm_kv_cache_usage_perc").ends_with(" 0.25"));
    assert!(line(&text, "llm_iteration_tokens_total_sum").ends_with(" 20"));
    assert!(line(&text, "llm_prefix_cache_queries_total").ends_with(" 40"));
    assert!(line(&text, "llm_prefix_cache_hits_total").ends_with(" 32"));
    metrics.step(&StepSummary {
        kv_total_tokens: 100,
        ..StepSummary::default()
    });
    let text = metrics.render().unwrap();
    assert!(line(&text, "llm_num_requests_running").ends_with(" 0"));
    assert!(line(&text, "llm_kv_cache_usage_perc").ends_with(" 0"));
    assert!(line(&text, "llm_batch_size_count").ends_with(" 1"));
}

#[test]
fn what_is_admitted_shows_while_its_step_is_computed() {
    let metrics = Metrics::new().unwrap();
    metrics.admitted(&StepSummary {
        running: 4,
        waiting: 4,
        kv_used_tokens: 64,
        kv_total_tokens: 128,
        rows: 512,
        ..StepSummary::default()
    });
    let text = metrics.render().unwrap();
    assert!(line(&text, "llm_num_requests_running").ends_with(" 4"));
    assert!(line(&text, "llm_kv_cache_usage_perc").ends_with(" 0.5"));
    assert!(line(&text, "llm_batch_size_count").ends_with(" 0"));
}

#[test]
fn the_engine_is_busy_from_before_a_step_until_it_is_idle() {
    let metrics = Metrics::new().unwrap();
    let busy = || metrics.busy.total(Instant::now());
    assert_eq!(busy(), Duration::ZERO);
    metrics.before_step();
    let first = busy();
    std::thread::sleep(Duration::from_millis(2));
    assert!(busy() > first, "within the step");
    metrics.step(&StepSummary {
        running: 1,
        ..StepSummary::default()
    });
    let between = busy();
    std::thread::sleep(Duration::from_millis(2));
    assert!(busy() > between, "between steps");
    metrics.step(&StepSummary::default());
    assert_eq!(busy(), busy(), "idle");
}

#[test]
fn a_loaded_model_shows_in_labels_and_gauges() {
    let metrics = Metrics::new().unwrap();
    assert!(line(&metrics.render().unwrap(), "llm_model_loaded").ends_with(" 0"));
    let model = LoadedModel {
        name: "smol".into(),
        architecture: "llama".into(),
        precision: "q4_1".into(),
        device: "cpu".into(),
        backend: "kernels".into(),
        context_length: 2048,
        weights_bytes: 1000,
        kv_cache_bytes: 0,
        kv_bytes_per_token: Some(23_040),
    };
    metrics.model_loaded(&model, "abc", Duration::from_millis(1500));
    let text = metrics.render().unwrap();
    assert!(line(&text, "llm_model_loaded").ends_with(" 1"));
    let info = line(&text, "llm_model_info{");
    for label in [
        "model_name=\"smol\"",
        "architecture=\"llama\"",
        "precision=\"q4_1\"",
        "backend=\"kernels\"",
        "revision=\"abc\"",
    ] {
        assert!(info.contains(label), "{info}");
    }
    assert!(line(&text, "llm_model_load_duration_seconds").ends_with(" 1.5"));
    assert!(line(&text, "llm_model_kv_cache_bytes_per_token").ends_with(" 23040"));
}
