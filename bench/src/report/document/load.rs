//! Section 5: every scenario, and where the load became too much.
use super::{
    Block, Cell, Mark, Section, findings::sentence, label, list, pictures, resources, table, text,
};
use crate::{
    analysis::level::Level,
    objectives::Metric,
    record::AppliedLoad,
    report::{gaps, model::Report, plot, words},
};

pub(super) fn section(report: &Report) -> Section {
    let levels = report.levels.iter().enumerate();
    let levels = levels.map(|(place, level)| {
        let before = place.checked_sub(1).map(|_| &report.levels[0]);
        scenario(&format!("5.{}", place + 1), level, before)
    });
    Section::new("5", "Load Testing Results")
        .with([all(report), resources::of_all(report)])
        .with(pictures(plot::loads(report)))
        .with(pictures(plot::timeline(report)))
        .under(levels)
        .under([breaking_points(report, report.levels.len() + 1)])
}

/// One row for each scenario.
fn all(report: &Report) -> Block {
    let rows = report.levels.iter().map(|level| {
        let figures = &level.figures;
        [
            level.name.as_str().into(),
            level.load_text().into(),
            words::ttft(level, Metric::TtftP50).into(),
            words::ttft(level, Metric::TtftP95).into(),
            words::or_not(figures.tpot.map(|tpot| tpot.mean), words::micros).into(),
            words::tokens_per_second(figures.output_tokens_per_second).into(),
            format!("{:.2}/s", level.goodput).into(),
            words::or_not(figures.error_rate, words::percent).into(),
        ]
    });
    table(
        "All scenarios",
        [
            "Scenario",
            "Load",
            "TTFT P50",
            "TTFT P95",
            "TPOT Avg",
            "Throughput",
            "Goodput",
            "Errors",
        ],
        rows,
    )
}

fn scenario(number: &str, level: &Level, baseline: Option<&Level>) -> Section {
    let title = format!("{} ({})", level.name, level.load_text());
    let mut section = Section::new(number, &title).with([
        label("Configuration"),
        configuration(level),
        label("Results"),
        results(level),
    ]);
    if let Some(baseline) = baseline {
        section = section.with([
            label("Performance Degradation"),
            list(degradation(baseline, level)),
        ]);
    }
    section = section.with([label("Errors"), errors(level)]);
    section = section.with(ended(level));
    section.with([label("Observations"), list(observations(level))])
}

fn configuration(level: &Level) -> Block {
    let spawn = match &level.load {
        AppliedLoad::Users { users, spawn_rate } => {
            vec![
                format!("Users: {users}"),
                format!("Spawn Rate: {spawn_rate}/s"),
            ]
        }
        AppliedLoad::Arrivals { process, rate } => {
            vec![format!("Arrivals: {rate} requests/s on average, {process}")]
        }
    };
    let window = format!(
        "Duration: {} measured",
        words::span(level.figures.window_seconds)
    );
    list(spawn.into_iter().chain([window]))
}

fn results(level: &Level) -> Block {
    let figures = &level.figures;
    let all = figures.succeeded + figures.failed;
    let success = figures.error_rate.map(|rate| 1.0 - rate);
    let rows = [
        ["Total Requests", &all.to_string()],
        ["Success Rate", &words::or_not(success, words::percent)],
        [
            "Avg Response Time",
            &words::or_not(figures.e2e.map(|e2e| e2e.mean), words::micros),
        ],
        ["RPS", &format!("{:.2}", figures.requests_per_second)],
        [
            "Requests in flight",
            &format!("{:.1} on average", level.concurrency),
        ],
        ["TTFT P99", &words::ttft(level, Metric::TtftP99)],
        [
            "TTFT P95 from due",
            &words::or_not(
                figures.ttft_from_due.map(|ttft| ttft.p95 as f64),
                words::micros,
            ),
        ],
        [
            "ITL P99",
            &words::or_not(figures.itl.map(|gaps| gaps.p99 as f64), words::micros),
        ],
        [
            "NTPOT P50",
            &words::or_not(figures.ntpot.map(|ntpot| ntpot.p50 as f64), words::micros),
        ],
        [
            "Queue, prefill, decode (server, mean)",
            &[
                level.observed.queue_seconds,
                level.observed.prefill_seconds,
                level.observed.decode_seconds,
            ]
            .map(|value| words::or_not(value, words::seconds))
            .join(", "),
        ],
    ]
    .map(|row| row.map(Cell::from));
    table("Results", ["Figure", "Value"], rows)
}

fn degradation(baseline: &Level, level: &Level) -> Vec<String> {
    let change = |name: &str, before: Option<f64>, after: Option<f64>| match before
        .zip(after)
        .filter(|(before, _)| *before > 0.0)
    {
        Some((before, after)) => format!(
            "{name} {} by {}",
            if after >= before {
                "increased"
            } else {
                "decreased"
            },
            words::percent((after - before).abs() / before)
        ),
        None => format!("{name}: {}", words::NOT_MEASURED),
    };
    let p95 = |level: &Level| level.figures.ttft.map(|ttft| ttft.p95 as f64);
    let tpot = |level: &Level| level.figures.tpot.map(|tpot| tpot.mean);
    let rate = |level: &Level| Some(level.figures.output_tokens_per_second);
    vec![
        change("TTFT P95", p95(baseline), p95(level)),
        change("TPOT Avg", tpot(baseline), tpot(level)),
        change("Throughput", rate(baseline), rate(level)),
        format!(
            "Error rate went from {} to {}",
            words::or_not(baseline.figures.error_rate, words::percent),
            words::or_not(level.figures.error_rate, words::percent)
        ),
    ]
}

fn errors(level: &Level) -> Block {
    if level.figures.errors.is_empty() {
        return text("None.");
    }
    let all = level.figures.succeeded + level.figures.failed;
    let rows = level.figures.errors.iter().map(|(class, count)| {
        [
            words::error_name(*class).into(),
            count.to_string().into(),
            words::percent(*count as f64 / all.max(1) as f64).into(),
        ]
    });
    table("Failures by class", ["Class", "Requests", "Share"], rows)
}

/// Containers that ended under this load, whether or not a request failed for it.
fn ended(level: &Level) -> Vec<Block> {
    if level.ended.is_empty() {
        return vec![];
    }
    let ends = level.ended.iter().map(ToString::to_string);
    vec![
        text("Containers of the target ended meanwhile:"),
        list(ends.map(|end| sentence(&end))),
    ]
}

fn observations(level: &Level) -> Vec<String> {
    let mut seen = vec![];
    let missed = level.verdicts.iter().filter(|one| one.met() == Some(false));
    let missed: Vec<_> = missed
        .map(|one| words::metric_name(one.objective.metric))
        .collect();
    seen.push(if missed.is_empty() {
        "No objective was missed.".to_owned()
    } else {
        format!("Missed: {}.", missed.join(", "))
    });
    if let Some(least) = level.figures.ttft_more_than {
        seen.push(format!(
            "{} of {} requests still waited for their first token when they were cut off; \
             percentiles of TTFT count them by how long they had waited, and are more than that.",
            least.waiting, least.count
        ));
    }
    let observed = &level.observed;
    if let Some(most) = observed.waiting_max.filter(|most| *most >= 1.0) {
        seen.push(format!(
            "Queue buildup: up to {most:.0} requests waited in the server."
        ));
    }
    if let Some(lost) = observed.preemptions.filter(|lost| *lost > 0.0) {
        seen.push(format!(
            "{lost:.0} sequences lost their place in the batch."
        ));
    }
    if let Some(hits) = observed.prefix_cache_hits.filter(|hits| *hits > 0.01) {
        seen.push(format!(
            "The prefix cache held {} of the prompt tokens.",
            words::percent(hits)
        ));
    }
    if let Some(batch) = observed.batch {
        seen.push(format!("A step computed {batch:.1} sequences on average."));
    }
    if level.figures.without_usage > 0 {
        seen.push(format!(
            "{} answers came without usage; their tokens were counted by pieces of text.",
            level.figures.without_usage
        ));
    }
    seen.extend(level.saturated.clone());
    seen.extend(
        level
            .stopped
            .as_ref()
            .map(|why| format!("Ended early: {why}.")),
    );
    seen
}

fn breaking_points(report: &Report, place: usize) -> Section {
    let mut blocks = vec![match &report.breaking_point {
        Some(point) => Block::Callout {
            mark: Mark::Warning,
            text: format!(
                "Breaking point: {} ({}): {}.",
                point.scenario,
                point.load,
                point.reasons.join("; ")
            ),
        },
        None => Block::Callout {
            mark: Mark::Good,
            text: "No scenario was too much.".to_owned(),
        },
    }];
    if let Some(knee) = &report.run.knee {
        let found = match &knee.scenario {
            Some(scenario) => format!("The highest load within the objectives is {scenario}"),
            None => "Even the lowest load missed the objectives".to_owned(),
        };
        let missed = knee.missed_at.as_ref();
        let missed = missed.map(|load| format!("; {load} missed them"));
        blocks.push(text(format!(
            "{found}, with {:.2} requests/s that keep them{}.",
            knee.goodput,
            missed.unwrap_or_default()
        )));
    }
    blocks.push(out_of_memory(report));
    blocks.push(scalability(report));
    Section::new(&format!("5.{place}"), "Breaking Points and Scalability").with(blocks)
}

/// From which load on the kernel ended a server.
fn out_of_memory(report: &Report) -> Block {
    if report.container_ends.is_none() {
        let mut missing = report.missing.iter();
        let why = missing.find(|one| one.what == gaps::ENDS);
        let why = why.map_or("nobody told it", |one| one.why.as_str());
        return text(format!("Out of memory: not known, because {why}."));
    }
    let killed = report
        .levels
        .iter()
        .filter_map(|level| Some((level, level.out_of_memory()?)));
    match killed.min_by_key(|(_, first)| first.end.at) {
        Some((level, first)) => Block::Callout {
            mark: Mark::Bad,
            text: format!(
                "Out of memory: first under {} ({}), with {:.1} requests in flight: {first}.",
                level.load_text(),
                level.name,
                first.in_flight
            ),
        },
        None => text(
            "Out of memory: none. No server was ended for lack of memory while the load was on, as the statuses of its pods say.",
        ),
    }
}

fn scalability(report: &Report) -> Block {
    let Some(fit) = &report.scalability else {
        let why = report
            .missing
            .iter()
            .find(|one| one.what.contains("scalability"));
        let why = why.map_or("not fitted", |one| one.why.as_str());
        return text(format!("Universal Scalability Law: no fit, because {why}."));
    };
    let peak = match fit.peak {
        Some(peak) if fit.peak_is_measured() == Some(false) && peak <= 2.0 * fit.to => format!(
            "its peak would be at {peak:.0} requests in flight, outside of what was measured"
        ),
        Some(peak) if peak <= 2.0 * fit.to => format!(
            "its peak is at {peak:.0} requests in flight with {}",
            words::tokens_per_second(fit.at(peak))
        ),
        Some(_) => "its peak lies far beyond what was measured".to_owned(),
        None => "it has a plateau and no peak".to_owned(),
    };
    text(format!(
        "Universal Scalability Law X(N) = γN / (1 + σ(N−1) + κN(N−1)): γ = {:.2} tok/s, σ = {:.4}, κ = \
         {:.6}, R² = {:.3}; {peak}. Valid from {:.0} to {:.0} requests in flight; beyond it is a guess.",
        fit.gamma, fit.sigma, fit.kappa, fit.r_squared, fit.from, fit.to
    ))
}
