//! Prometheus' text format, as far as samples go.

/// One sample of a metrics page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Labels, in the order of the page.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// A label's value.
    pub fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// All samples of a page; lines that are none are passed over.
pub fn samples(page: &str) -> impl Iterator<Item = Sample> {
    page.lines().filter_map(sample)
}

fn sample(line: &str) -> Option<Sample> {
    let line = line.trim_start();
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' ', '\t'])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = vec![];
    if let Some(inside) = rest.strip_prefix('{') {
        (labels, rest) = read_labels(inside)?;
    }
    let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
    value.is_finite().then(|| Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

type Labels = Vec<(String, String)>;

/// `a="b",c="d"} rest`; values may hold escaped quotes, backslashes and line ends.
fn read_labels(mut text: &str) -> Option<(Labels, &str)> {
    let mut labels = vec![];
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.push((name.to_owned(), value));
        text = &rest[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "these are read, not calculated")]
    use super::*;

    #[test]
    fn samples_are_read_with_their_labels() {
        let page =
            "# HELP a b\na 1\nb{x=\"1\",y=\"q\\\"}, z\"} 2.5 1700000000\nc{} +Inf\nnonsense\n";
        let all: Vec<_> = samples(page).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].name.as_str(), all[0].value), ("a", 1.0));
        assert_eq!(all[1].label("y"), Some("q\"}, z"));
        assert_eq!(all[1].value, 2.5);
    }
}
