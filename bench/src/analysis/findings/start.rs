//! The first request of a run against the later ones.
use super::{Class, Confidence, Finding, Proof, Severity, Source, proof};
use crate::{
    analysis::model_load::ModelLoad,
    evidence::{Evidence, series::Quantity},
    figures::{succeeded, ttft},
    record::{RequestRecord, Run},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The first request of a run has to be so many times slower than the usual one,
const TIMES: f64 = 5.0;
/// and by so many seconds.
const SECONDS: f64 = 0.5;
/// So many requests are the first ones; all of them wait where a model is loaded when it is asked for.
const EARLY: usize = 5;

/// How the first requests fared.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ColdStart {
    /// The scenario that it was part of, or came before.
    pub scenario: String,
    /// Its TTFT from when it was due, or the time of its whole answer of one token, in microseconds.
    pub first: u64,
    /// The mean TTFT of the first five requests from when they were due, in microseconds; 0 in reports of
    /// earlier versions.
    #[serde(default)]
    pub early: u64,
    /// The median TTFT of the same scenario's later half, in microseconds.
    pub steady: u64,
    /// Whether the model was loaded while the run went on.
    pub loaded_meanwhile: bool,
    /// Seconds that loading took, as the server says.
    pub load_seconds: Option<f64>,
}

/// Compares the run's first requests with the later half of the first scenario. The warm-up counts here,
/// and so does the first question before it: where a model is loaded when it is asked for, that question
/// waited for it.
pub fn cold_start(run: &Run, evidence: &Evidence) -> Option<ColdStart> {
    let scenario = run.scenarios.first()?;
    let good = |one: &&RequestRecord| succeeded(one) && !one.tokens.is_empty();
    let waited = |one: &RequestRecord| Some(one.tokens.first()?.saturating_sub(one.due));
    let mut requests: Vec<_> = scenario.requests.iter().filter(good).collect();
    requests.sort_by_key(|one| one.sent);
    let first = requests.first()?;
    let mut later: Vec<_> = requests[requests.len() / 2..]
        .iter()
        .skip(usize::from(requests.len() < 2))
        .filter_map(|one| ttft(one, scenario.began(one)))
        .collect();
    later.sort_unstable();
    let early = requests.iter().take(EARLY);
    let early = early.filter_map(|one| waited(one));
    let early = early.sum::<u64>() / requests.len().min(EARLY) as u64;
    let loaded = evidence.series(Quantity::ModelLoaded);
    let loaded = loaded.is_some_and(|series| {
        series
            .points
            .windows(2)
            .any(|pair| pair[0].1 == 0.0 && pair[1].1 > 0.0)
    });
    let seconds = evidence.series(Quantity::LoadSeconds);
    Some(ColdStart {
        scenario: scenario.name.clone(),
        first: run.first_answer.unwrap_or_default().max(waited(first)?),
        early,
        steady: *later.get(later.len() / 2)?,
        loaded_meanwhile: loaded,
        load_seconds: seconds.and_then(|series| Some(series.points.last()?.1)),
    })
}

pub(super) fn finding(start: &ColdStart, load: Option<&ModelLoad>) -> Option<Finding> {
    let [first, early, steady] =
        [start.first, start.early, start.steady].map(|micros| micros as f64 / 1e6);
    let slowest = first.max(early);
    if slowest < TIMES * steady || slowest - steady < SECONDS {
        return None;
    }
    let mut evidence: Vec<Proof> = vec![
        proof(
            "TTFT of the first request",
            format!("{first:.2} s"),
            Source::Client,
        ),
        proof(
            "TTFT of the first five requests, on average",
            format!("{early:.2} s"),
            Source::Client,
        ),
        proof(
            "median TTFT later on",
            format!("{steady:.3} s"),
            Source::Client,
        ),
    ];
    let when = if start.loaded_meanwhile {
        "during the run"
    } else {
        "before the first scrape"
    };
    let took = start.load_seconds.filter(|seconds| *seconds > 0.0);
    let took = took.map(|seconds| format!("{when}, in {seconds:.2} s"));
    let known = took.or_else(|| start.loaded_meanwhile.then(|| when.to_owned()));
    evidence.extend(known.map(|value| proof("the model was loaded", value, Source::Metrics)));
    evidence.extend(load.map(told));
    Some(Finding {
        class: Class::ColdStart,
        severity: Severity::Moderate,
        confidence: if start.loaded_meanwhile {
            Confidence::High
        } else {
            Confidence::Medium
        },
        scenario: start.scenario.clone(),
        share: 1.0 - steady / slowest,
        share_of: if first >= early {
            "the first request's TTFT"
        } else {
            "the first requests' mean TTFT"
        }
        .to_owned(),
        cause: "the first requests waited until the model was in memory and warm".to_owned(),
        evidence,
    })
}

/// Where the time of the last start went.
fn told(load: &ModelLoad) -> Proof {
    let seconds = |nanos: u64| format!("{:.2} s", nanos as f64 / 1e9);
    let parts = load.parts().into_iter();
    let parts: Vec<_> = parts
        .map(|(name, nanos)| format!("{name} {}", seconds(nanos)))
        .collect();
    let when = if load.during_run {
        "during the run"
    } else {
        "before the run"
    };
    let value = format!(
        "{}, {when}: {}",
        seconds(load.root.duration),
        parts.join(", ")
    );
    proof("the model's last start", value, Source::Traces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::testing::{Plant, model_load},
        report::{Options, build},
    };

    #[test]
    fn a_first_request_that_waits_for_the_model_is_a_cold_start() {
        assert_eq!(
            Plant::with(|plant| plant.cold = 3_000.0).primary(),
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
}
