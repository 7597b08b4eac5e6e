//! A report that fits into a ConfigMap, whose keys have 1 MiB together. What is left out is said.
use crate::report::{
    Format, Report,
    render::{Error, render},
};

/// Bytes of the report in JSON. The rest is for the Markdown, and for what is told besides.
const JSON_LIMIT: usize = 700_000;
/// Bytes of the report in Markdown.
const MARKDOWN_LIMIT: usize = 250_000;

/// A report, as texts that fit.
pub(super) struct Short {
    pub(super) json: Option<String>,
    pub(super) markdown: String,
    /// What was left out, in words.
    pub(super) left_out: Option<String>,
}

/// What may go, in words, and how it is taken out.
type Step = (&'static str, fn(&mut Report));

/// What may go, the most dispensable first.
const STEPS: [Step; 4] = [
    ("the timeline", |report| report.timeline.clear()),
    ("curves of distributions", |report| {
        for level in &mut report.levels {
            level.ttft_curve.clear();
            level.tpot_curve.clear();
        }
    }),
    ("single traces", |report| report.breakdowns.clear()),
    ("comparisons", |report| report.comparisons.clear()),
];

/// Writes `report` within the limits.
pub(super) fn fit(report: Report) -> Result<Short, Error> {
    within(report, JSON_LIMIT, MARKDOWN_LIMIT)
}

fn within(mut report: Report, json_limit: usize, markdown_limit: usize) -> Result<Short, Error> {
    let markdown = cut(render(&report, Format::Md)?, markdown_limit);
    let mut left_out = Vec::new();
    let mut json = serde_json::to_string(&report)?;
    for (what, step) in STEPS {
        if json.len() <= json_limit {
            break;
        }
        step(&mut report);
        left_out.push(what);
        json = serde_json::to_string(&report)?;
    }
    let fits = json.len() <= json_limit;
    if !fits {
        left_out = vec!["the whole report in JSON"];
    }
    Ok(Short {
        json: fits.then_some(json),
        markdown,
        left_out: (!left_out.is_empty()).then(|| left_out.join(", ")),
    })
}

/// Cuts between lines, and says so.
fn cut(text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    let lines = text.split_inclusive('\n');
    let mut length = 0;
    let kept: String = lines
        .take_while(|line| {
            length += line.len();
            length <= limit
        })
        .collect();
    kept + "\n*The rest did not fit into the ConfigMap; `report.json` has it.*\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_lines_and_says_so() {
        let text = "é line\n".repeat(10);
        let short = cut(text.clone(), 20);
        assert!(short.starts_with("é line\né line\n\n*The rest"), "{short}");
        assert_eq!(cut(text.clone(), text.len()), text);
    }
}
