//! The series of many objects in Prometheus' text form, a part at a time: the client library's own structures for some
//! twenty series of each of a thousand resources would all be in memory at each scrape.
//!
//! The form: <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>.
use std::{fmt::Write, sync::Arc};

/// The series of so many objects are one part.
const PART: usize = 64;

/// Series of one name.
pub(crate) struct Family<T> {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: Kind,
    /// Adds the series of one object.
    pub(crate) add: fn(&T, &mut Series),
}

/// What the values of a family are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Counter,
    Gauge,
}

/// Series of one family, as text.
#[derive(Debug)]
pub(crate) struct Series {
    name: &'static str,
    text: String,
}

impl Series {
    /// Adds a series with these labels.
    pub(crate) fn add(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(self.name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    other => self.text.push(other),
                }
            }
            self.text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{end} {value}");
    }
}

impl<T: Send + Sync + 'static> Family<T> {
    /// The series of all `objects`; nothing where none has any.
    pub(crate) fn parts(
        self,
        objects: &Arc<[Arc<T>]>,
    ) -> impl Iterator<Item = String> + Send + use<T> {
        let objects = objects.clone();
        let starts = (0..objects.len()).step_by(PART);
        let parts = starts.map(move |start| {
            let mut series = Series {
                name: self.name,
                text: String::new(),
            };
            for object in objects.iter().skip(start).take(PART) {
                (self.add)(object, &mut series);
            }
            series.text
        });
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let (name, help) = (self.name, self.help);
        let mut header = Some(format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        parts
            .filter(|text| !text.is_empty())
            .map(move |text| header.take().unwrap_or_default() + &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length() -> Family<String> {
        Family {
            name: "length",
            help: "Of a text.",
            kind: Kind::Gauge,
            add: |text, series| {
                if !text.is_empty() {
                    let length = u32::try_from(text.len()).unwrap();
                    series.add(&[("kind", "text"), ("text", text)], length.into());
                }
            },
        }
    }

    fn parts(texts: impl IntoIterator<Item = String>) -> Vec<String> {
        let objects = texts.into_iter().map(Arc::new).collect();
        length().parts(&objects).collect()
    }

    #[test]
    fn a_family_is_told_once_whatever_its_parts() {
        let parts = parts((0..=PART).map(|number| number.to_string()));
        assert_eq!(parts.len(), 2);
        let text = parts.concat();
        assert!(text.starts_with(
            "# HELP length Of a text.\n# TYPE length gauge\nlength{kind=\"text\",text=\"0\"} 1\n"
        ));
        assert_eq!(text.matches('#').count(), 2);
        assert_eq!(text.lines().count(), 2 + PART + 1);
    }

    #[test]
    fn labels_are_escaped_and_what_has_no_series_is_not_there() {
        let text = parts([String::new(), "a\"b\\c\n".to_owned()]).concat();
        assert!(text.ends_with("text=\"a\\\"b\\\\c\\n\"} 6\n"), "{text}");
        assert_eq!(parts([String::new()]), [""; 0]);
        assert_eq!(parts([]), [""; 0]);
    }

    #[test]
    fn values_may_be_fractions_and_labels_none() {
        let mut series = Series {
            name: "a",
            text: String::new(),
        };
        series.add(&[], 12.5);
        assert_eq!(series.text, "a 12.5\n");
    }
}
