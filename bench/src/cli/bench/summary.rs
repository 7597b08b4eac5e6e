//! The end of a run in figures: a table, the verdicts, and the exit code.
use super::words::{amount, knee_in_words, load_in_words, milliseconds};
use crate::{
    cli::text::{Paint, table},
    figures::Figures,
    knee,
    load::health,
    objectives::{Metric, Objective, Verdict, goodput, judge},
    record::{AppliedLoad, Knee, Run, ScenarioRun},
};
use serde::Serialize;
use std::process::ExitCode;

/// An objective was missed.
const MISSED: u8 = 3;
/// There is no verdict.
const NO_VERDICT: u8 = 4;

/// What the table's words mean.
const FORMULAS: &str = "\
TTFT: first token's time - request sent (with --rate and --replay: - request due).  E2E: last byte - the same.
TPOT: (last token - first token) / (output tokens - 1), mean.  TOK/S: output tokens that arrived inside the window / window.
GOODPUT: answers per second within the objectives of TTFT and TPOT.  Latencies: requests that began inside the window.
";

/// The figures of a run and what they say.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    scenarios: Vec<ScenarioSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    knee: Option<Knee>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ScenarioSummary {
    name: String,
    load: AppliedLoad,
    figures: Figures,
    #[serde(skip_serializing_if = "Option::is_none")]
    goodput: Option<f64>,
    verdicts: Vec<Judged>,
    /// Why these figures say less about the target than about the load generator.
    generator_problems: Vec<String>,
    /// Whether they may have changed a verdict.
    #[serde(skip)]
    is_void: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Judged {
    #[serde(flatten)]
    verdict: Verdict,
    met: Option<bool>,
}

/// What the exit code says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    /// Every objective was met, or none was given.
    Met,
    /// One was missed.
    Missed,
    /// Something could not be judged.
    NoVerdict,
}

impl Summary {
    /// Of a run that went on to its end, or that somebody ended before it: no verdict then, whatever
    /// its figures say of a part of the load.
    pub(super) fn of(run: &Run, objectives: &[Objective], is_interrupted: bool) -> Self {
        let scenarios = run.scenarios.iter();
        let scenarios: Vec<_> = scenarios
            .map(|scenario| ScenarioSummary::of(scenario, objectives))
            .collect();
        Self {
            outcome: if is_interrupted {
                Outcome::NoVerdict
            } else {
                outcome(&scenarios, run, objectives)
            },
            scenarios,
            knee: run.knee.clone(),
            stopped: run.stopped.clone(),
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        match self.outcome {
            Outcome::Met => ExitCode::SUCCESS,
            Outcome::Missed => ExitCode::from(MISSED),
            Outcome::NoVerdict => ExitCode::from(NO_VERDICT),
        }
    }

    pub(super) fn text(&self, run: &Run, paint: Paint) -> String {
        let mut text = format!(
            "{}  model {}\nprompts: {}\nanswers: {}\n\n",
            run.url, run.model, run.prompt_lengths, run.output_lengths
        );
        let rows: Vec<_> = self.scenarios.iter().map(ScenarioSummary::row).collect();
        text += &table(HEAD, &rows);
        text += "\n";
        text += FORMULAS;
        for scenario in &self.scenarios {
            text += &scenario.remarks(paint);
        }
        if let Some(knee) = &self.knee {
            text.extend(["\n", &knee_in_words(knee), "\n"]);
        }
        if let Some(why) = &self.stopped {
            text.extend(["\nended early: ", why, "\n"]);
        }
        text
    }
}

fn outcome(scenarios: &[ScenarioSummary], run: &Run, objectives: &[Objective]) -> Outcome {
    if let Some(knee) = &run.knee {
        return match knee::met(run, knee, objectives) {
            Some(true) => Outcome::Met,
            Some(false) => Outcome::Missed,
            None => Outcome::NoVerdict,
        };
    }
    let outcomes: Vec<_> = scenarios.iter().map(ScenarioSummary::outcome).collect();
    if outcomes.contains(&Outcome::Missed) {
        Outcome::Missed
    } else if outcomes.is_empty() || outcomes.contains(&Outcome::NoVerdict) || run.stopped.is_some()
    {
        Outcome::NoVerdict
    } else {
        Outcome::Met
    }
}

const HEAD: [&str; 12] = [
    "SCENARIO", "LOAD", "OK", "FAILED", "REQ/S", "TOK/S", "TTFT-P50", "TTFT-P95", "TTFT-P99",
    "TPOT", "E2E-P95", "GOODPUT",
];

impl ScenarioSummary {
    fn of(scenario: &ScenarioRun, objectives: &[Objective]) -> Self {
        let figures = Figures::of(scenario);
        let judged = |verdict: Verdict| Judged {
            met: verdict.met(),
            verdict,
        };
        let verdicts = judge(&figures, objectives);
        let generator_problems = health::problems(&scenario.generator);
        Self {
            name: scenario.name.clone(),
            load: scenario.load.clone(),
            is_void: !generator_problems.is_empty()
                && !health::leaves_verdicts(&scenario.generator, &verdicts),
            verdicts: verdicts.into_iter().map(judged).collect(),
            figures,
            goodput: (!objectives.is_empty()).then(|| goodput(scenario, objectives)),
            generator_problems,
            stopped: scenario.stopped.clone(),
        }
    }

    fn outcome(&self) -> Outcome {
        let all = |met: Option<bool>| self.verdicts.iter().all(|one| one.met == met);
        let any = |met: Option<bool>| self.verdicts.iter().any(|one| one.met == met);
        if self.is_void {
            Outcome::NoVerdict
        } else if any(Some(false)) {
            Outcome::Missed
        } else if self.figures.succeeded > 0 && all(Some(true)) {
            Outcome::Met
        } else {
            Outcome::NoVerdict
        }
    }

    fn row(&self) -> [String; 12] {
        let figures = &self.figures;
        let time = |micros: Option<f64>| micros.map_or("-".to_owned(), milliseconds);
        let ttft = |metric| {
            let figure = judge(figures, &[Objective { metric, limit: 0.0 }]);
            let figure = figure.first().and_then(|one| one.figure(milliseconds));
            figure.unwrap_or_else(|| "-".to_owned())
        };
        [
            self.name.clone(),
            load_in_words(&self.load),
            figures.succeeded.to_string(),
            figures.failed.to_string(),
            format!("{:.2}", figures.requests_per_second),
            format!("{:.1}", figures.output_tokens_per_second),
            ttft(Metric::TtftP50),
            ttft(Metric::TtftP95),
            ttft(Metric::TtftP99),
            time(figures.tpot.map(|tpot| tpot.mean)),
            time(figures.e2e.map(|e2e| e2e.p95 as f64)),
            self.goodput
                .map_or("-".to_owned(), |rate| format!("{rate:.2}/s")),
        ]
    }

    fn remarks(&self, paint: Paint) -> String {
        let mut lines = Vec::new();
        for judged in &self.verdicts {
            let objective = judged.verdict.objective;
            let limit = amount(objective.metric, objective.limit);
            let word = match judged.met {
                Some(true) => paint.verdict(true, "met"),
                Some(false) => paint.verdict(false, "missed"),
                None => "no figure".to_owned(),
            };
            let figure = judged
                .verdict
                .figure(|value| amount(objective.metric, value));
            let figure = figure.unwrap_or_else(|| "-".to_owned());
            lines.push(format!(
                "{word}: {} {figure}, limit {limit}",
                objective.metric
            ));
        }
        for (class, count) in &self.figures.errors {
            lines.push(format!("{count} requests failed: {class:?}"));
        }
        if self.figures.cancelled > 0 {
            let cut = self.figures.cancelled;
            lines.push(format!("{cut} requests were cut off by the scenario's end"));
        }
        if let Some(least) = self.figures.ttft_more_than {
            lines.push(format!(
                "{} of them still waited for their first token; they count in percentiles of TTFT by how long they had",
                least.waiting
            ));
        }
        if self.figures.without_usage > 0 {
            lines.push("tokens are pieces of text: the target reports no usage".to_owned());
        }
        for problem in &self.generator_problems {
            lines.push(if self.is_void {
                let text = format!("no verdict: the load generator was the bottleneck: {problem}");
                paint.verdict(false, &text)
            } else {
                format!("the load generator was late, which changes no verdict: {problem}")
            });
        }
        if lines.is_empty() {
            return String::new();
        }
        format!("\n{}\n  {}\n", paint.bold(&self.name), lines.join("\n  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        figures::tests::{request, scenario},
        knee::tests::{hopeless, searched},
        record::{GeneratorHealth, RequestRecord},
    };

    fn run(scenarios: Vec<ScenarioRun>) -> Run {
        Run {
            started_at: 0,
            url: "http://a".to_owned(),
            model: "m".to_owned(),
            workload: candlepower_api::benchmark::Workload::default(),
            texts: 0,
            prompt_lengths: "exact".to_owned(),
            output_lengths: "enforced".to_owned(),
            first_answer: None,
            generator: String::new(),
            stopped: None,
            knee: None,
            prompts: vec![],
            scenarios,
        }
    }

    fn summary(run: &Run, objectives: &[&str]) -> Summary {
        let objectives: Vec<_> = objectives.iter().map(|one| one.parse().unwrap()).collect();
        Summary::of(run, &objectives, false)
    }

    fn good() -> ScenarioRun {
        scenario((0, 1_000_000), vec![request(0, 0, &[50_000, 70_000])])
    }

    #[test]
    fn the_outcome_says_whether_every_objective_was_met() {
        let run = run(vec![good()]);
        assert_eq!(summary(&run, &[]).outcome, Outcome::Met);
        assert_eq!(summary(&run, &["ttft-p95=60ms"]).outcome, Outcome::Met);
        let both = ["ttft-p95=60ms", "tpot=1ms"];
        assert_eq!(summary(&run, &both).outcome, Outcome::Missed);
    }

    #[test]
    fn without_success_and_with_a_busy_generator_there_is_no_verdict() {
        let nothing = run(vec![scenario((0, 1_000_000), vec![])]);
        assert_eq!(summary(&nothing, &[]).outcome, Outcome::NoVerdict);
        let busy = ScenarioRun {
            generator: GeneratorHealth {
                lag_p99: 50_000,
                ..GeneratorHealth::default()
            },
            ..good()
        };
        let busy = run(vec![busy]);
        let summary = summary(&busy, &["tpot=1ms"]);
        assert_eq!(summary.outcome, Outcome::NoVerdict);
        let text = summary.text(&busy, Paint::off());
        assert!(
            text.contains("the load generator was the bottleneck"),
            "{text}"
        );
    }

    #[test]
    fn what_waited_longer_than_its_limit_missed_it_although_it_was_never_answered() {
        let cut = |wait| RequestRecord {
            finished: wait,
            output_tokens: None,
            outcome: crate::record::Outcome::Cancelled,
            ..request(0, 0, &[])
        };
        let waited = run(vec![scenario((0, 1_000_000), vec![cut(30_500_000); 20])]);
        let summary = summary(&waited, &["ttft-p95=1s"]);
        assert_eq!(summary.outcome, Outcome::Missed);
        let text = summary.text(&waited, Paint::off());
        assert!(
            text.contains("missed: ttft-p95 > 30.4 s, limit 1000.0 ms"),
            "{text}"
        );
        assert!(text.contains("20 of them still waited"), "{text}");
        let patient = Summary::of(&waited, &["ttft-p95=1m".parse().unwrap()], false);
        assert_eq!(
            patient.outcome,
            Outcome::NoVerdict,
            "it may still have met that"
        );
    }

    #[test]
    fn a_run_that_somebody_ended_has_no_verdict() {
        let mut ended = run(vec![good()]);
        ended.stopped = Some("the run was interrupted".to_owned());
        for objective in ["ttft-p95=60ms", "tpot=1ms"] {
            let objectives = [objective.parse().unwrap()];
            let summary = Summary::of(&ended, &objectives, true);
            assert_eq!(summary.outcome, Outcome::NoVerdict, "{objective}");
        }
    }

    #[test]
    fn a_search_succeeds_where_some_load_met_the_objectives() {
        let outcome = |(run, _): (Run, _)| summary(&run, &["ttft-p95=1s"]).outcome;
        assert_eq!(outcome(searched()), Outcome::Met);
        assert_eq!(outcome(hopeless()), Outcome::Missed);
    }

    #[test]
    fn the_text_has_the_figures_their_formulas_and_the_verdicts() {
        let run = run(vec![good()]);
        let text = summary(&run, &["ttft-p95=60ms", "tpot=1ms"]).text(&run, Paint::off());
        for part in [
            "SCENARIO  LOAD",
            "50.0 ms",
            "TTFT: first token's time - request sent",
            "met: ttft-p95 50.0 ms, limit 60.0 ms",
            "missed: tpot 20.0 ms, limit 1.0 ms",
            "prompts: exact",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
