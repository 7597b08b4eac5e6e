//! A report as JSON, Markdown, one HTML page, or Confluence's storage format.
mod markdown;
mod templates;

use super::{
    document::{self, Document},
    model::Report,
};

/// What a report is written as.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum Format {
    /// One page without anything outside it, with plots.
    #[default]
    Html,
    /// Markdown.
    Md,
    /// JSON by the published schema.
    Json,
    /// Confluence's storage format, to be put into a page by its API.
    Confluence,
}

impl Format {
    /// The ending of a file in this format.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Md => "md",
            Self::Json => "json",
            Self::Confluence => "xml",
        }
    }
}

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A figure has no JSON form.
    #[error("the report has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
    /// A template does not fit the report.
    #[error("the report's template failed: {0:#}; this is a defect of Candlepower")]
    Template(#[from] minijinja::Error),
}

/// Writes a report.
pub fn render(report: &Report, format: Format) -> Result<String, Error> {
    match format {
        Format::Json => Ok(serde_json::to_string_pretty(report)? + "\n"),
        Format::Md => Ok(markdown::write(&document::document(report))),
        Format::Html => Ok(templates::html(&document::document(report))?),
        Format::Confluence => Ok(templates::confluence(&document::document(report))?),
    }
}

/// Writes something shorter than a report, such as a comparison alone; JSON is up to the caller.
pub fn render_document(document: &Document, format: Format) -> Result<String, Error> {
    match format {
        Format::Html => Ok(templates::html(document)?),
        Format::Confluence => Ok(templates::confluence(document)?),
        Format::Md | Format::Json => Ok(markdown::write(document)),
    }
}

#[cfg(test)]
mod tests;
