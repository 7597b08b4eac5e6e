//! A report as headings, sentences, tables and plots, in the order of the latency report's template.
//!
//! Every form that people read is written from this, so that all of them say the same.
mod appendix;
mod architecture;
mod baseline;
mod bottlenecks;
mod comparison;
mod conclusions;
mod costs;
mod findings;
mod load;
mod monitoring;
mod recommendations;
mod resources;
mod setup;
mod summary;

use super::{model::Report, plot::Picture};
use crate::analysis::comparison::Comparison;
use serde::Serialize;

/// A whole report, to be read from top to bottom.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// Lines under the title: name and value.
    pub facts: Vec<(String, String)>,
    /// Its sections.
    pub sections: Vec<Section>,
}

/// A section, with what belongs under it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Section {
    /// Its name for links, unique within the document.
    pub id: String,
    /// Its number, such as `4.1`; empty for those without one.
    pub number: String,
    /// Its title.
    pub title: String,
    /// What it says.
    pub blocks: Vec<Block>,
    /// Sections below it.
    pub sections: Vec<Section>,
}

/// One part of a section.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Block {
    /// Sentences.
    Text {
        /// The sentences.
        text: String,
    },
    /// A word in bold before what it introduces.
    Label {
        /// The word.
        text: String,
    },
    /// Something to notice first.
    Callout {
        /// How good it is.
        mark: Mark,
        /// What it says.
        text: String,
    },
    /// Points.
    List {
        /// The points.
        items: Vec<Item>,
    },
    /// Things to do.
    Tasks {
        /// The things.
        items: Vec<String>,
    },
    /// A table.
    Table {
        /// What it shows, for those who cannot see it whole.
        caption: String,
        /// Titles of its columns.
        head: Vec<String>,
        /// Its rows.
        rows: Vec<Vec<Cell>>,
    },
    /// Text to be copied, or whose spaces matter.
    Code {
        /// Its language, such as `yaml`.
        language: String,
        /// The text.
        text: String,
    },
    /// A picture; forms without pictures have the table instead that comes with it.
    Picture {
        /// The picture.
        picture: Picture,
    },
}

/// How good something is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mark {
    /// Neither good nor bad.
    #[default]
    None,
    /// Good.
    Good,
    /// To be watched.
    Warning,
    /// Bad.
    Bad,
    /// Not known.
    Unknown,
}

/// A point of a list.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Item {
    /// How good it is.
    pub mark: Mark,
    /// What it says.
    pub text: String,
    /// Where it leads: an address by HTTP.
    pub href: Option<String>,
}

impl Item {
    /// A point that leads to `address`, if that is one by HTTP.
    fn link(text: impl Into<String>, address: &str) -> Self {
        let is_http = ["http://", "https://"]
            .iter()
            .any(|scheme| address.starts_with(scheme));
        // Anything else would have to be told from Markdown and HTML in each form.
        let is_plain = address
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._~:/?#@!$&+,;=%".contains(c));
        Self {
            mark: Mark::None,
            text: text.into(),
            href: (is_http && is_plain).then(|| address.to_owned()),
        }
    }
}

impl From<String> for Item {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cell {
    /// How good it is.
    pub mark: Mark,
    /// What it says.
    pub text: String,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self {
            mark: Mark::None,
            text,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Cell {
    /// Whether an objective was met.
    fn met(met: Option<bool>) -> Self {
        let (mark, text) = match met {
            Some(true) => (Mark::Good, "met"),
            Some(false) => (Mark::Bad, "missed"),
            None => (Mark::Unknown, "not known"),
        };
        Self {
            mark,
            text: text.to_owned(),
        }
    }

    fn marked(mark: Mark, text: impl Into<String>) -> Self {
        Self {
            mark,
            text: text.into(),
        }
    }
}

impl Section {
    fn new(number: &str, title: &str) -> Self {
        Self {
            number: number.to_owned(),
            title: title.to_owned(),
            ..Self::default()
        }
    }

    fn with(mut self, blocks: impl IntoIterator<Item = Block>) -> Self {
        self.blocks.extend(blocks);
        self
    }

    fn under(mut self, sections: impl IntoIterator<Item = Section>) -> Self {
        self.sections.extend(sections);
        self
    }
}

fn text(text: impl Into<String>) -> Block {
    Block::Text { text: text.into() }
}

fn label(text: &str) -> Block {
    Block::Label {
        text: text.to_owned(),
    }
}

fn list<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Block {
    let items = items.into_iter().map(|text| Item::from(text.into()));
    Block::List {
        items: items.collect(),
    }
}

fn table<const N: usize>(
    caption: &str,
    head: [&str; N],
    rows: impl IntoIterator<Item = [Cell; N]>,
) -> Block {
    Block::Table {
        caption: caption.to_owned(),
        head: head.map(ToOwned::to_owned).into(),
        rows: rows.into_iter().map(Vec::from).collect(),
    }
}

/// A table whose columns are known only now.
fn wide_table(caption: &str, head: &[&str], rows: Vec<Vec<Cell>>) -> Block {
    Block::Table {
        caption: caption.to_owned(),
        head: head.iter().map(|title| (*title).to_owned()).collect(),
        rows,
    }
}

fn code(language: &str, text: impl Into<String>) -> Block {
    Block::Code {
        language: language.to_owned(),
        text: text.into(),
    }
}

fn pictures(all: impl IntoIterator<Item = Picture>) -> impl Iterator<Item = Block> {
    all.into_iter().map(|picture| Block::Picture { picture })
}

/// A comparison alone.
pub fn of_comparison(comparison: &Comparison) -> Document {
    Document {
        title: format!("{} → {}", comparison.before, comparison.after),
        facts: vec![],
        sections: named(
            vec![Section::new("", "Before vs After").with(comparison::blocks_of(comparison))],
            "section",
        ),
    }
}

/// Gives every section its place as its name.
fn named(mut sections: Vec<Section>, above: &str) -> Vec<Section> {
    for (place, section) in sections.iter_mut().enumerate() {
        section.id = format!("{above}-{}", place + 1);
        section.sections = named(std::mem::take(&mut section.sections), &section.id);
    }
    sections
}

fn improvements(report: &Report) -> Section {
    Section::new("7", "Performance Improvements").under([
        Section::new("7.1", "Before vs After").with(comparison::measured(report)),
        Section::new("7.2", "Cost-Benefit Analysis").with(costs::blocks(report)),
    ])
}

/// Writes a report out.
pub fn document(report: &Report) -> Document {
    let sections = vec![
        summary::section(report),
        architecture::section(report),
        setup::section(report),
        baseline::section(report),
        bottlenecks::section(report),
        load::section(report),
        recommendations::section(report),
        improvements(report),
        monitoring::section(report),
        conclusions::section(report),
        appendix::section(report),
    ];
    Document {
        title: report.title.clone(),
        facts: summary::facts(report),
        sections: named(sections, "section"),
    }
}

#[cfg(test)]
mod tests;
