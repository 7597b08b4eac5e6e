//! The report's charts.
use super::{
    Picture,
    chart::{Axis, Chart, Frame, Range},
};
use crate::{
    analysis::{
        comparison::{Compared, Comparison, LevelComparison},
        interval::Interval,
        level::{CURVE, Level},
    },
    figures::Distribution,
    record::Micros,
    report::{model::Report, timeline::Moment, words},
};

/// The class of the series at a place; there are eight colours.
fn series(place: usize) -> String {
    format!("s{}", place % 8)
}

fn plain(value: f64) -> String {
    if value >= 10.0 || value.fract().abs() < 1e-9 {
        format!("{value:.0}")
    } else {
        format!("{value}")
    }
}

/// Shares of requests by TTFT and by TPOT, a curve for each scenario.
pub(in crate::report) fn distributions(levels: &[Level]) -> Vec<Picture> {
    let ttft = distribution("TTFT distribution", levels, |level| &level.ttft_curve);
    let tpot = distribution("TPOT distribution", levels, |level| &level.tpot_curve);
    ttft.into_iter().chain(tpot).collect()
}

fn distribution(title: &str, levels: &[Level], of: fn(&Level) -> &Vec<Micros>) -> Option<Picture> {
    let drawn: Vec<_> = levels
        .iter()
        .filter(|level| !of(level).is_empty())
        .collect();
    let all = || {
        drawn
            .iter()
            .flat_map(|level| of(level))
            .map(|&value| value as f64 / 1e6)
    };
    let (least, most) = (all().reduce(f64::min)?, all().reduce(f64::max)?);
    let description = format!(
        "{title}: share of requests that took at most so long, for {} scenarios, from {} to {}.",
        drawn.len(),
        words::seconds(least),
        words::seconds(most)
    );
    let mut chart = Chart::new(
        title,
        description,
        Frame {
            height: 260.0,
            x: (
                Axis {
                    name: "time",
                    text: words::seconds,
                },
                Range::Logarithmic(least, most),
            ),
            y: (
                Axis {
                    name: "share of requests",
                    text: |share| format!("{:.0} %", share * 100.0),
                },
                Range::Even(0.0, 1.0),
            ),
        },
    );
    for (place, level) in drawn.iter().enumerate() {
        let values = of(level).iter().enumerate();
        let points: Vec<_> = values
            .map(|(point, &value)| (value as f64 / 1e6, point as f64 / CURVE as f64))
            .collect();
        chart.curve(&points, &series(place));
        chart.legend(&level.name, series(place));
    }
    Some(chart.finish())
}

/// Latency and throughput against load.
pub(in crate::report) fn loads(report: &Report) -> Vec<Picture> {
    let mut levels: Vec<_> = report
        .levels
        .iter()
        .filter(|level| level.concurrency > 0.0)
        .collect();
    levels.sort_by(|a, b| a.concurrency.total_cmp(&b.concurrency));
    let latency = latency(&levels);
    latency
        .into_iter()
        .chain(throughput(report, &levels))
        .collect()
}

fn concurrency(levels: &[&Level]) -> (Axis, Range) {
    let most = levels
        .iter()
        .map(|level| level.concurrency)
        .fold(0.0, f64::max);
    let axis = Axis {
        name: "requests in flight, on average",
        text: plain,
    };
    (axis, Range::Even(0.0, most))
}

fn bounds(interval: Option<Interval>, unit: f64) -> Option<(f64, f64)> {
    interval.map(|one| (one.low / unit, one.high / unit))
}

/// A scenario's TTFT and TPOT, and what a line shows of them.
type Latencies<'a> = (&'a Level, Distribution, Option<Distribution>);
type Value = fn(&Latencies<'_>) -> Option<(f64, Option<Interval>)>;

fn latency(levels: &[&Level]) -> Option<Picture> {
    let rows: Vec<_> = levels
        .iter()
        .filter_map(|level| Some((*level, level.figures.ttft?, level.figures.tpot)))
        .collect();
    let values = || {
        rows.iter().flat_map(|(_, ttft, tpot)| {
            [
                Some(ttft.p50 as f64),
                Some(ttft.p95 as f64),
                tpot.map(|tpot| tpot.mean),
            ]
        })
    };
    let least = values().flatten().reduce(f64::min)? / 1e6;
    let most = values().flatten().reduce(f64::max)? / 1e6;
    let mut chart = Chart::new(
        "Latency against load",
        format!(
            "TTFT P50 and P95 and mean TPOT of {} scenarios against their requests in flight; \
             whiskers are 95 % confidence intervals.",
            rows.len()
        ),
        Frame {
            height: 280.0,
            x: concurrency(levels),
            y: (
                Axis {
                    name: "seconds",
                    text: words::seconds,
                },
                Range::Logarithmic(least, most),
            ),
        },
    );
    let lines: [(&str, Value); 3] = [
        ("TTFT P50", |(level, ttft, _)| {
            Some((ttft.p50 as f64, level.intervals.ttft_p50))
        }),
        ("TTFT P95", |(level, ttft, _)| {
            Some((ttft.p95 as f64, level.intervals.ttft_p95))
        }),
        ("TPOT Avg", |(level, _, tpot)| {
            tpot.map(|tpot| (tpot.mean, level.intervals.tpot))
        }),
    ];
    for (place, (name, value)) in lines.into_iter().enumerate() {
        let class = series(place);
        let points: Vec<_> = rows
            .iter()
            .filter_map(|row| {
                let (micros, interval) = value(row)?;
                Some(((row.0.concurrency, micros / 1e6), interval, row.0))
            })
            .collect();
        let line: Vec<_> = points.iter().map(|(point, ..)| *point).collect();
        chart.curve(&line, &class);
        for (point, interval, level) in points {
            let title = format!("{name}, {}: {}", level.load_text(), words::seconds(point.1));
            chart.dot(point, bounds(interval, 1e6), &class, title);
        }
        chart.legend(name, class);
    }
    Some(chart.finish())
}

fn throughput(report: &Report, levels: &[&Level]) -> Option<Picture> {
    let rates = levels
        .iter()
        .map(|level| level.figures.output_tokens_per_second);
    let most = rates.reduce(f64::max).filter(|most| *most > 0.0)?;
    let mut chart = Chart::new(
        "Throughput against load",
        format!(
            "Output tokens per second of {} scenarios against their requests in flight, and the \
             scalability law where one was fitted; whiskers are 95 % confidence intervals.",
            levels.len()
        ),
        Frame {
            height: 280.0,
            x: concurrency(levels),
            y: (
                Axis {
                    name: "output tokens per second",
                    text: plain,
                },
                Range::Even(0.0, most),
            ),
        },
    );
    let line: Vec<_> = levels
        .iter()
        .map(|level| (level.concurrency, level.figures.output_tokens_per_second))
        .collect();
    chart.curve(&line, "s0");
    for (level, &point) in levels.iter().zip(&line) {
        let rate = words::tokens_per_second(point.1);
        let title = format!("{}: {rate}", level.load_text());
        chart.dot(point, bounds(level.intervals.throughput, 1.0), "s0", title);
    }
    chart.legend("measured", "s0");
    if let Some(fit) = &report.scalability {
        let points: Vec<_> = (0..=60)
            .map(|place| {
                let n = fit.from + (fit.to - fit.from) * f64::from(place) / 60.0;
                (n, fit.at(n))
            })
            .collect();
        chart.curve(&points, "s1 dashed");
        chart.legend("scalability law", "s1 dashed");
    }
    Some(chart.finish())
}

type Track = (&'static str, fn(f64) -> String, fn(&Moment) -> Option<f64>);

const TRACKS: [Track; 7] = [
    ("output tokens per second", plain, |moment| {
        Some(moment.tokens_per_second)
    }),
    ("requests in flight", plain, |moment| Some(moment.in_flight)),
    ("requests waiting in the server", plain, |moment| {
        moment.waiting
    }),
    ("CPU cores", plain, |moment| moment.cpu_cores),
    ("memory in MiB", plain, |moment| {
        Some(moment.memory? / f64::from(1 << 20))
    }),
    ("KV cache in use, %", plain, |moment| {
        Some(moment.kv_cache? * 100.0)
    }),
    ("GPU utilisation, %", plain, |moment| {
        Some(moment.gpu? * 100.0)
    }),
];

/// Load, throughput and resources over time, one above the other; what was not exported is left out.
pub(in crate::report) fn timeline(report: &Report) -> Vec<Picture> {
    let end = report
        .timeline
        .iter()
        .map(|moment| moment.at)
        .fold(1.0, f64::max);
    let tracks = TRACKS.into_iter().enumerate();
    tracks
        .filter_map(|(place, track)| one_track(report, place, track, end))
        .collect()
}

fn one_track(
    report: &Report,
    place: usize,
    (name, text, value): Track,
    end: f64,
) -> Option<Picture> {
    let moments = report.timeline.iter();
    let points: Vec<_> = moments
        .filter_map(|moment| Some((moment.at, value(moment)?)))
        .collect();
    let most = points.iter().map(|(_, value)| *value).reduce(f64::max)?;
    let mut chart = Chart::new(
        name,
        format!("{name} over {}, at most {most:.1}.", words::span(end)),
        Frame {
            height: 150.0,
            x: (
                Axis {
                    name: "seconds since the run began; measured windows are shaded",
                    text: plain,
                },
                Range::Even(0.0, end),
            ),
            y: (Axis { name: "", text }, Range::Even(0.0, most)),
        },
    );
    chart.curve(&points, &series(place));
    for level in &report.levels {
        let (from, to) = (level.window.0 as f64 / 1e6, level.window.1 as f64 / 1e6);
        chart.band(from, to, &level.name);
        chart.note((from, f64::INFINITY), &level.name);
    }
    Some(chart.finish())
}

/// Every figure after a change, as a percentage of the same figure before it.
pub(in crate::report) fn before_after(comparison: &Comparison, level: &LevelComparison) -> Picture {
    let rows: Vec<_> = level
        .rows
        .iter()
        .filter(|row| row.metric != Compared::ErrorRate)
        .filter_map(|row| {
            let before = row.before.value.filter(|before| *before > 0.0)?;
            Some((row, before, row.after.value?))
        })
        .collect();
    let share = |value: f64, before: f64| 100.0 * value / before;
    let ends = rows.iter().flat_map(|(row, before, after)| {
        let high = |one: Option<Interval>, value: f64| one.map_or(value, |one| one.high);
        [
            share(high(row.before.interval, *before), *before),
            share(high(row.after.interval, *after), *before),
        ]
    });
    let most = ends.fold(110.0, f64::max);
    let mut chart = Chart::new(
        "Before and after",
        format!(
            "Figures of {} in percent of the same figures of {}, under {}; whiskers are 95 % \
             confidence intervals.",
            comparison.after, comparison.before, level.load
        ),
        Frame {
            height: 70.0 + 48.0 * rows.len() as f64,
            x: (
                Axis {
                    name: "percent of the figure before",
                    text: plain,
                },
                Range::Even(0.0, most),
            ),
            y: (
                Axis {
                    name: "",
                    text: |_| String::new(),
                },
                Range::Even(0.0, rows.len().max(1) as f64),
            ),
        },
    );
    for (place, (row, before, after)) in rows.iter().enumerate() {
        let y = (rows.len() - place) as f64 - 0.35;
        let name = words::compared_name(row.metric);
        for (value, interval, class, below) in [
            (*before, row.before.interval, "s0", 0.0),
            (*after, row.after.interval, "s1", 0.3),
        ] {
            let whisker = interval.map(|one| (share(one.low, *before), share(one.high, *before)));
            let at = (share(value, *before), y - below);
            chart.across(at, whisker, class, format!("{name}: {:.0} %", at.0));
        }
        chart.note((0.0, y + 0.25), name);
    }
    chart.legend(&comparison.before, "s0");
    chart.legend(&comparison.after, "s1");
    chart.finish()
}
