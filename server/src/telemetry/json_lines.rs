//! A log line as one JSON object, with the id of the request's trace at its top on every line: the
//! library's own form has it there on some lines, and within `span` on others.
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::{self, Debug};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormattedFields,
        format::{JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// The field of lines and of spans.
const TRACE_ID: &str = "trace_id";

/// Writes lines; spans have to be formatted by [`JsonFields`].
#[derive(Debug)]
pub(super) struct JsonLines;

#[derive(Serialize)]
struct Line<'a> {
    timestamp: String,
    level: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<Value>,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl<S> FormatEvent<S, JsonFields> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let trace_id = fields.0.remove(TRACE_ID).or_else(|| of_spans(context));
        let line = Line {
            timestamp,
            level: event.metadata().level().as_str(),
            target: event.metadata().target(),
            trace_id,
            fields: fields.0,
        };
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

/// The id in the innermost span that has one.
fn of_spans<S>(context: &FmtContext<'_, S, JsonFields>) -> Option<Value>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let mut spans = context.event_scope().into_iter().flatten();
    spans.find_map(|span| {
        let extensions = span.extensions();
        let text = extensions.get::<FormattedFields<JsonFields>>()?;
        let mut fields: Map<String, Value> = serde_json::from_str(&text.fields).ok()?;
        fields.remove(TRACE_ID)
    })
}

/// An event's own fields.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io,
        sync::{Arc, Mutex, PoisonError},
    };
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            lines.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Memory {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn written(act: impl FnOnce()) -> Vec<Value> {
        let memory = Memory::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(memory.clone())
            .fmt_fields(JsonFields::new())
            .event_format(JsonLines)
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        let lines = memory.0.lock().unwrap();
        std::str::from_utf8(&lines)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn a_line_has_its_fields_at_the_top() {
        let lines = written(|| {
            tracing::warn!(text = "say \"x\"", count = 3, ratio = 0.5, on = true, none = None::<u8>, error = %io::Error::other("broken"), "a {}", "line");
        });
        let [line] = &lines[..] else {
            panic!("{lines:?}")
        };
        for (name, value) in [
            ("level", Value::from("WARN")),
            ("target", module_path!().into()),
            ("message", "a line".into()),
            ("text", "say \"x\"".into()),
            ("count", 3.into()),
            ("ratio", 0.5.into()),
            ("on", true.into()),
            ("error", "broken".into()),
        ] {
            assert_eq!(line[name], value, "{name}");
        }
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.starts_with("20") && timestamp.ends_with('Z'));
        for absent in ["none", "trace_id", "span"] {
            assert!(line.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn a_line_within_a_request_has_its_trace_id_at_the_top() {
        let lines = written(|| {
            let request = tracing::error_span!("request", trace_id = "0af7");
            request.in_scope(|| {
                let within = tracing::info_span!("within", part = 1);
                within.in_scope(|| tracing::info!("inherited"));
            });
            request.in_scope(|| tracing::info!(trace_id = "77", "its own"));
            tracing::info!("outside");
        });
        let ids: Vec<_> = lines.iter().map(|line| line["trace_id"].as_str()).collect();
        assert_eq!(ids, [Some("0af7"), Some("77"), None]);
    }
}
