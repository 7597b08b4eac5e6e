//! Families of series that are read when somebody asks, rather than counted all along.
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// One sample: labels and value.
pub(super) type Sample<'a> = (Vec<(&'a str, String)>, f64);

/// A counter family; none without samples.
pub(super) fn counters(name: &str, help: &str, samples: Vec<Sample<'_>>) -> Option<MetricFamily> {
    family(name, help, MetricType::COUNTER, samples)
}

/// A gauge family; none without samples.
pub(super) fn gauges(name: &str, help: &str, samples: Vec<Sample<'_>>) -> Option<MetricFamily> {
    family(name, help, MetricType::GAUGE, samples)
}

fn family(
    name: &str,
    help: &str,
    kind: MetricType,
    samples: Vec<Sample<'_>>,
) -> Option<MetricFamily> {
    if samples.is_empty() {
        return None;
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    let metrics = samples.into_iter().map(|(labels, value)| {
        let mut metric = Metric::from_label(labels.into_iter().map(pair).collect());
        if kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    });
    family.set_metric(metrics.collect());
    Some(family)
}

fn pair((name, value): (&str, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value);
    pair
}
