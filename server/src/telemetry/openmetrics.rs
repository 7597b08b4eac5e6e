//! OpenMetrics 1.0, which can carry exemplars, from the families of the `prometheus` crate, which
//! only writes the older text format.
use super::exemplars::Exemplar;
use prometheus::proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType};
use std::{
    collections::HashMap,
    fmt::{self, Write},
    time::UNIX_EPOCH,
};

/// The `Content-Type` of what [`encode`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const MEDIA_TYPE: &str = "application/openmetrics-text";
const TEXT_TYPES: [&str; 4] = ["text/plain", "text/*", "*/*", ""];

/// The newest exemplar of each bucket, by the histogram's name.
pub type Exemplars = HashMap<String, Vec<Option<Exemplar>>>;

/// Whether a client that sends `accept` would rather have OpenMetrics than the text format.
pub fn is_preferred(accept: &str) -> bool {
    let quality = |types: &[&str]| {
        accept
            .split(',')
            .filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                types.contains(&parts.next()?).then_some(())?;
                let quality = parts.find_map(|part| part.strip_prefix("q="));
                Some(quality.map_or(1.0, |text| text.parse().unwrap_or(0.0)))
            })
            .fold(0.0, f64::max)
    };
    let wanted = quality(&[MEDIA_TYPE]);
    wanted > 0.0 && wanted >= quality(&TEXT_TYPES)
}

/// The whole exposition.
pub fn encode(families: &[MetricFamily], exemplars: &Exemplars) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(32 * 1024);
    for family in families {
        let kind = family.get_field_type();
        let full = family.name();
        // A counter's family is named without the suffix that its samples must have.
        let counter = full.strip_suffix("_total");
        let (base, kind_name) = match (kind, counter) {
            (MetricType::COUNTER, Some(base)) => (base, "counter"),
            (MetricType::GAUGE, _) => (full, "gauge"),
            (MetricType::HISTOGRAM, _) => (full, "histogram"),
            _ => (full, "unknown"),
        };
        writeln!(text, "# HELP {base} {}", escaped(family.help()))?;
        writeln!(text, "# TYPE {base} {kind_name}")?;
        for metric in family.get_metric() {
            match kind {
                MetricType::HISTOGRAM => {
                    let known = exemplars.get(full).map_or(&[][..], Vec::as_slice);
                    histogram(&mut text, full, metric, known)?;
                }
                MetricType::COUNTER => {
                    sample(&mut text, full, metric, metric.get_counter().get_value())?;
                }
                _ => sample(&mut text, full, metric, metric.get_gauge().get_value())?,
            }
        }
    }
    text.push_str("# EOF\n");
    Ok(text)
}

fn sample(text: &mut String, name: &str, metric: &Metric, value: f64) -> fmt::Result {
    text.push_str(name);
    labels(text, metric.get_label(), None)?;
    writeln!(text, " {}", number(value))
}

fn histogram(
    text: &mut String,
    name: &str,
    metric: &Metric,
    exemplars: &[Option<Exemplar>],
) -> fmt::Result {
    let found: &Histogram = metric.get_histogram();
    let finite = found
        .get_bucket()
        .iter()
        .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
        .filter(|(edge, _)| edge.is_finite());
    let all = finite.chain([(f64::INFINITY, found.get_sample_count())]);
    for (index, (edge, count)) in all.enumerate() {
        write!(text, "{name}_bucket")?;
        labels(text, metric.get_label(), Some(edge))?;
        write!(text, " {count}")?;
        if let Some(Some(exemplar)) = exemplars.get(index) {
            let at = exemplar.at.duration_since(UNIX_EPOCH).unwrap_or_default();
            write!(
                text,
                " # {{trace_id=\"{}\"}} {} {:.3}",
                exemplar.trace_id,
                number(exemplar.value),
                at.as_secs_f64()
            )?;
        }
        text.push('\n');
    }
    for (part, value) in [
        ("sum", number(found.get_sample_sum())),
        ("count", found.get_sample_count().to_string()),
    ] {
        write!(text, "{name}_{part}")?;
        labels(text, metric.get_label(), None)?;
        writeln!(text, " {value}")?;
    }
    Ok(())
}

fn labels(text: &mut String, pairs: &[LabelPair], edge: Option<f64>) -> fmt::Result {
    let mut before = '{';
    for pair in pairs {
        write!(
            text,
            "{before}{}=\"{}\"",
            pair.name(),
            escaped(pair.value())
        )?;
        before = ',';
    }
    if let Some(edge) = edge {
        write!(text, "{before}le=\"{}\"", number(edge))?;
        before = ',';
    }
    if before == ',' {
        text.push('}');
    }
    Ok(())
}

/// As OpenMetrics writes the numbers that Rust writes otherwise. Edges keep their point, so that
/// `le` is the same as in other programs.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{value:?}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::{Histogram, HistogramOpts, IntCounter, IntGaugeVec, Opts, core::Collector};
    use std::time::Duration;

    #[test]
    fn openmetrics_is_written_as_its_standard_shows_it() {
        let counter = IntCounter::new("llm_tokens_total", "Tokens.").unwrap();
        counter.inc_by(3);
        let gauge = IntGaugeVec::new(Opts::new("llm_up", "Up \"now\"."), &["model"]).unwrap();
        gauge.with_label_values(&["a\"b\\c"]).set(1);
        let options = HistogramOpts::new("llm_seconds", "Time.").buckets(vec![0.5, 1.0]);
        let times = Histogram::with_opts(options).unwrap();
        times.observe(0.7);
        times.observe(9.0);
        let exemplar = Exemplar {
            trace_id: "0af7".into(),
            value: 0.7,
            at: UNIX_EPOCH + Duration::from_millis(1500),
        };
        let exemplars = HashMap::from([("llm_seconds".into(), vec![None, Some(exemplar), None])]);
        let families: Vec<_> = [counter.collect(), gauge.collect(), times.collect()].concat();
        assert_eq!(
            encode(&families, &exemplars).unwrap(),
            r#"# HELP llm_tokens Tokens.
# TYPE llm_tokens counter
llm_tokens_total 3.0
# HELP llm_up Up \"now\".
# TYPE llm_up gauge
llm_up{model="a\"b\\c"} 1.0
# HELP llm_seconds Time.
# TYPE llm_seconds histogram
llm_seconds_bucket{le="0.5"} 0
llm_seconds_bucket{le="1.0"} 1 # {trace_id="0af7"} 0.7 1.500
llm_seconds_bucket{le="+Inf"} 2
llm_seconds_sum 9.7
llm_seconds_count 2
# EOF
"#
        );
    }

    #[test]
    fn a_client_gets_what_it_prefers() {
        for (accept, preferred) in [
            ("", false),
            ("*/*", false),
            ("text/plain;version=0.0.4", false),
            ("application/openmetrics-text", true),
            // As Prometheus asks.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
                true,
            ),
            (
                "text/plain;q=0.9, application/openmetrics-text;version=1.0.0;q=0.2",
                false,
            ),
            ("application/openmetrics-text;q=0", false),
        ] {
            assert_eq!(is_preferred(accept), preferred, "{accept}");
        }
    }
}
