//! What people read in a report, section by section.
use super::*;
use crate::{
    analysis::{
        advice::Recommendation,
        comparison::{AGAIN, DEPLOYMENT, OtherMachine, Side, compare_repeated},
        cost::Price,
        testing::{Plant, model_load, objectives, out_of_memory},
    },
    evidence::{model_load::MODEL_LOAD, series::Quantity},
    record::SamplePrompt,
    report::{Format, Options, build, conclusion, render},
};

/// Two levels of load, of which the heavier one queues for so many milliseconds.
fn levels(queue: f64, tpot: f64) -> [Plant; 2] {
    [4, 8].map(|users| {
        Plant::with(|plant| {
            (plant.users, plant.tpot) = (users, tpot);
            plant.queue = if users == 8 { queue } else { 1.0 };
            plant.deployment.engine.max_batch_size = 1;
            plant
                .gauges
                .retain(|(what, _)| !matches!(what, Quantity::Running | Quantity::Waiting));
            plant
                .gauges
                .extend([(Quantity::Running, 1.0), (Quantity::Waiting, 7.0)]);
        })
    })
}

fn options() -> Options {
    Options {
        objectives: objectives(),
        ..Options::default()
    }
}

fn planted(queue: f64, tpot: f64) -> Report {
    let (run, evidence) = Plant::run(&levels(queue, tpot));
    build(&run, &evidence, &options())
}

/// A report of `first`, beside which `changed` was measured under a name, and `last` at the end.
fn beside(first: &Report, name: &str, changed: &Report, last: &Report) -> Report {
    let mut report = first.clone();
    let side = |name: &str, report: &Report| {
        let again = (name != AGAIN).then_some(last.levels.as_slice());
        let before = Side {
            name: DEPLOYMENT,
            workload: &first.run.workload,
            levels: &first.levels,
        };
        let after = Side {
            name,
            workload: &first.run.workload,
            levels: &report.levels,
        };
        compare_repeated(before, again, after).unwrap()
    };
    report.comparisons = vec![side(name, changed), side(AGAIN, last)];
    report
}

fn markdown(report: &Report) -> String {
    render(report, Format::Md).unwrap()
}

/// What stands under a heading, up to the next of its kind.
fn part<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(heading).unwrap();
    let end = rest.find("\n### ").unwrap_or(rest.len());
    &rest[..end]
}

/// The first recommendation that a change of the spec would do.
fn with_patch(report: &Report) -> &Recommendation {
    let mut all = report.recommendations.iter();
    all.find(|one| one.patch.is_some()).unwrap()
}

#[test]
fn a_drift_of_the_deployment_comes_before_what_was_measured_beside_it() {
    let first = planted(3_000.0, 20.0);
    let drifted = beside(
        &first,
        "q4",
        &planted(3_000.0, 25.0),
        &planted(3_000.0, 30.0),
    );
    let text = markdown(&drifted);
    let measured = part(&text, "### 7.1 Before vs After");
    let callout = measured.trim_start().lines().next().unwrap();
    assert!(
        callout.contains("The deployment itself changed"),
        "{callout}"
    );
    assert!(callout.contains("other words"), "{callout}");
    assert!(measured.contains("within the deployment's own drift"));
    assert!(text.contains("TL;DR") && text.contains("Measured: q4"));
    let steady = beside(&first, "q4", &planted(3_000.0, 25.0), &first);
    let text = markdown(&steady);
    assert!(part(&text, "### 7.1 Before vs After").contains("did not differ for certain"));
}

#[test]
fn a_change_on_another_machine_has_no_verdict_and_may_be_tried_again() {
    let (first, last) = (planted(3_000.0, 20.0), planted(3_000.0, 20.0));
    let id = with_patch(&first).id.clone();
    let mut report = beside(&first, &id, &planted(1.0, 20.0), &last);
    let other = |of_other_kind| OtherMachine {
        of_other_kind,
        text: "it ran on b, the deployment on a".to_owned(),
    };
    let compared = report.comparisons[0].clone();
    report.comparisons[0] = compared.clone().on(Some(other(false)));
    let text = markdown(&report);
    let measured = part(&text, "### 7.1 Before vs After");
    assert!(
        measured.contains("it ran on b, the deployment on a."),
        "{measured}"
    );
    assert!(measured.contains("better"), "{measured}");
    report.comparisons[0] = compared.on(Some(other(true)));
    let text = markdown(&report);
    let measured = part(&text, "### 7.1 Before vs After");
    assert!(
        measured.contains("no verdict: on a machine of another kind"),
        "{measured}"
    );
    assert!(
        measured.contains("not known: on another machine"),
        "{measured}"
    );
    assert!(!text.contains("Tried, and not better"), "{text}");
    assert!(conclusion::summary(&report).contains("cannot be judged"));
}

#[test]
fn the_first_lines_say_what_each_change_came_to() {
    let first = planted(3_000.0, 20.0);
    let worse = beside(&first, "slow", &planted(3_000.0, 60.0), &first);
    let summary = conclusion::summary(&worse);
    assert!(
        summary.contains("Measured: slow is worse in TPOT Avg"),
        "{summary}"
    );
    let same = beside(&first, "same", &first, &first);
    let summary = conclusion::summary(&same);
    assert!(
        summary.contains("Measured: same made no certain difference."),
        "{summary}"
    );
}

#[test]
fn a_recommendation_that_was_tried_in_vain_is_not_the_first_thing_to_do() {
    let first = planted(3_000.0, 20.0);
    let recommended = with_patch(&first).clone();
    let said = |report: &Report| conclusion::summary(report);
    assert!(
        said(&first).contains("First thing to do"),
        "{}",
        said(&first)
    );
    let tried = beside(&first, &recommended.id, &planted(3_000.0, 60.0), &first);
    let title = &recommended.title[1..];
    assert!(!said(&tried).contains(title), "{}", said(&tried));
    let text = markdown(&tried);
    let [section, actions] =
        ["## 6. Optimization", "### 9.2"].map(|heading| text.split(heading).nth(1).unwrap());
    assert!(
        section.contains("It was tried, and did not hold"),
        "{section}"
    );
    assert!(section.contains("Measured under 8 users"), "{section}");
    assert!(actions.contains("Tried, and not better"), "{actions}");
    let held = beside(&first, &recommended.id, &planted(1.0, 20.0), &first);
    let text = markdown(&held);
    assert!(
        text.contains("It was tried: it is better in TTFT P50"),
        "{text}"
    );
    assert!(part(&text, "### 9.1").contains("measured: it is better in"));
}

#[test]
fn what_a_change_saves_is_told_where_a_price_is_known_and_the_gain_is_certain() {
    let first = planted(3_000.0, 20.0);
    let mut report = beside(&first, "fast", &planted(1.0, 10.0), &first);
    assert!(part(&markdown(&report), "### 7.2").contains("No price was given"));
    report.price = Some(Price {
        per_hour: 1.0,
        currency: "USD".to_owned(),
    });
    let text = markdown(&report);
    let costs = part(&text, "### 7.2");
    let row = costs
        .lines()
        .find(|line| line.contains("| fast | 8 users |") && line.contains("USD"));
    let saving = row.unwrap().split('|').nth(5).unwrap().trim();
    let saving: f64 = saving.trim_end_matches(" USD").parse().unwrap();
    assert!(saving > 100.0 && saving < 730.0, "{saving}");
    assert!(costs.contains("fast: positive"), "{costs}");
    // More pods have another price.
    report.benchmark = Some(serde_json::json!({
        "variants": [{"name": "fast", "patch": {"replicas": 2}}],
    }));
    let text = markdown(&report);
    assert!(part(&text, "### 7.2").contains("another machine"));
    assert!(part(&text, "### 7.1").contains("\"replicas\": 2"));
}

#[test]
fn alerts_have_the_thresholds_of_the_deployment_and_stand_only_with_one() {
    let mut report = planted(1.0, 20.0);
    let spec = report.deployment.as_mut().unwrap();
    spec["alerts"]["timeToFirstTokenP95"]["threshold"] = "7s".into();
    spec["alerts"]["memoryUtilization"]["enabled"] = false.into();
    let text = markdown(&report);
    let alerts = part(&text, "### 8.2");
    assert!(alerts.contains("TTFT P95 &gt; 7s for 5m"), "{alerts}");
    assert!(alerts.contains("switched off"), "{alerts}");
    report.deployment = None;
    let text = markdown(&report);
    let alerts = part(&text, "### 8.2");
    assert!(!alerts.contains("CandlepowerMemoryHigh"), "{alerts}");
}

#[test]
fn a_bottleneck_has_symptoms_against_targets_and_an_impact_in_figures() {
    let text = markdown(&planted(3_000.0, 20.0));
    let section = part(&text, "### 4.2");
    for said in [
        "**Symptoms**:",
        "(target: ≤ 1.00 s, missed)",
        "CPU usage: 1.60 of 2.00 cores",
        "Throughput: limited to",
        "cannot bear 8 users within the objectives; 4 users",
        "Acceptable: what else was checked",
        "Tokenisation of prompts: at most",
    ] {
        assert!(section.contains(said), "{said}: {section}");
    }
}

#[test]
fn the_load_that_a_server_ran_out_of_memory_under_is_told_and_that_none_did() {
    let (run, mut evidence) = Plant::run(&levels(1.0, 20.0));
    let said = |evidence: &crate::evidence::Evidence| {
        let text = markdown(&build(&run, evidence, &options()));
        let breaking = part(&text, "### 5.3 Breaking Points and Scalability").to_owned();
        let second = part(&text, "### 5.2").to_owned();
        (breaking, second)
    };
    assert!(
        said(&evidence)
            .0
            .contains("Out of memory: not known, because ends of containers are read")
    );
    evidence.container_ends = Some(vec![]);
    assert!(said(&evidence).0.contains("Out of memory: none."));
    evidence.container_ends = Some(vec![out_of_memory(run.scenarios[1].started + 9_000_000)]);
    let (breaking, second) = said(&evidence);
    assert!(
        breaking.contains("Out of memory: first under 8 users"),
        "{breaking}"
    );
    assert!(
        breaking.contains("a server was ended for lack of memory"),
        "{breaking}"
    );
    assert!(
        second.contains("Container server of pod tiny-1: OOMKilled, exit status 137"),
        "{second}"
    );
}

#[test]
fn where_the_time_of_the_last_start_went_is_told_or_why_it_is_not_known() {
    let (run, mut evidence) = Plant::run(&[Plant::default()]);
    let said = |evidence: &crate::evidence::Evidence| {
        let text = markdown(&build(&run, evidence, &options()));
        part(&text, "### 3.2 Resource Utilization").to_owned()
    };
    assert!(!said(&evidence).contains("Last Start"));
    evidence.lacks(MODEL_LOAD, "Jaeger has none");
    assert!(said(&evidence).contains("Where its time went is not known: Jaeger has none."));
    evidence.model_load = Some(model_load(&run));
    let section = said(&evidence);
    assert!(
        section.contains("It began at 2025-11-24T15:59:00Z, took 12.00 s and had ended"),
        "{section}"
    );
    assert!(
        section.contains("| download | 6.00 s | 50.0 % |"),
        "{section}"
    );
}

#[test]
fn everything_that_is_printed_as_not_known_has_its_reason() {
    let mut report = planted(1.0, 20.0);
    report.machine = Some(crate::evidence::facts::Machine::default());
    report.missing.clear();
    let text = markdown(&report);
    assert!(part(&text, "### 1.3").contains("no GPU: the model runs on the CPU"));
    let missing = part(&text, "### 10.4");
    for what in [
        "operating system",
        "storage",
        "version of what keeps the traces",
    ] {
        assert!(missing.contains(what), "{what}: {missing}");
    }
    assert!(!missing.contains("Everything that the report asks for"));
    report.model.as_mut().unwrap().device = Some("cuda".to_owned());
    let text = markdown(&report);
    assert!(part(&text, "### 1.3").contains("| GPU | not known |"));
}

#[test]
fn document_control_names_its_owner_and_how_final_it_is() {
    let mut report = planted(1.0, 20.0);
    let control = |report: &Report| part(&markdown(report), "### 10.5").to_owned();
    assert!(control(&report).contains("Owner: not named"));
    assert!(control(&report).contains("Status: Final"));
    report.author = Some("Ada".to_owned());
    report.run.stopped = Some("interrupted".to_owned());
    assert!(control(&report).contains("Owner: Ada"));
    assert!(control(&report).contains("Status: Draft"));
}

#[test]
fn sample_prompts_are_shown_by_their_lengths_and_long_ones_by_their_beginning() {
    let (mut run, evidence) = Plant::run(&levels(1.0, 20.0));
    let text = |run: &crate::record::Run| {
        let report = build(run, &evidence, &options());
        render(&report, Format::Md).unwrap()
    };
    assert!(text(&run).contains("The run kept none of them."));
    let sample = |tokens, words| SamplePrompt {
        tokens,
        text: format!("Continue:{}", " time".repeat(words)),
    };
    run.prompts = vec![sample(12, 2), sample(128, 118)];
    let text = text(&run);
    // 9 signs, 38 words of 5, and one sign more.
    let cut = format!("| 128 | Continue:{} … |", " time".repeat(38));
    for part in ["| 12 | Continue: time time |", &cut] {
        assert!(text.contains(part), "{part}: {text}");
    }
}
