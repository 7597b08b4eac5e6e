//! Recorded traces to replay: JSON lines with time, prompt tokens and output tokens.
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One request of a trace, such as `{"time": 0.25, "promptTokens": 64, "outputTokens": 128}`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracedRequest {
    /// Seconds since the trace began.
    pub time: f64,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
}

/// Why a trace cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("the trace {0} cannot be read: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    /// A line is wrong.
    #[error(
        "line {line} of the trace is wrong ({problem}); each line is {{\"time\": SECONDS, \"promptTokens\": N, \"outputTokens\": N}}, in order of time"
    )]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// It has no line.
    #[error("the trace is empty")]
    Empty,
}

/// Reads a trace from a file.
pub fn read(path: &Path) -> Result<Vec<TracedRequest>, Error> {
    let text = std::fs::read_to_string(path);
    parse(&text.map_err(|error| Error::Io(path.to_owned(), error))?)
}

/// Reads a trace.
pub fn parse(text: &str) -> Result<Vec<TracedRequest>, Error> {
    let mut trace: Vec<TracedRequest> = Vec::new();
    for (place, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |problem: String| Error::Line {
            line: place + 1,
            problem,
        };
        let one: TracedRequest =
            serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        let before = trace.last().map_or(0.0, |last| last.time);
        if !(one.time.is_finite() && one.time >= before && one.time < 1e9) {
            return Err(wrong("its time is before the last one's".to_owned()));
        }
        if one.prompt_tokens == 0 || one.output_tokens == 0 {
            return Err(wrong("prompt and answer have 1 token or more".to_owned()));
        }
        trace.push(one);
    }
    if trace.is_empty() {
        return Err(Error::Empty);
    }
    Ok(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"time": 0.5, "promptTokens": 64, "outputTokens": 8}"#;

    #[test]
    fn each_line_is_a_request() {
        let trace = parse(&format!("{LINE}\n\n{LINE}\n")).unwrap();
        let one = TracedRequest {
            time: 0.5,
            prompt_tokens: 64,
            output_tokens: 8,
        };
        assert_eq!(trace, [one, one]);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        for bad in [
            r#"{"time": 0.4, "promptTokens": 64, "outputTokens": 8}"#,
            r#"{"time": 1, "promptTokens": 0, "outputTokens": 8}"#,
            r#"{"time": 1}"#,
        ] {
            let error = parse(&format!("{LINE}\n{bad}")).unwrap_err().to_string();
            assert!(error.starts_with("line 2 of the trace"), "{error}");
        }
        assert!(matches!(parse("\n"), Err(Error::Empty)));
    }
}
