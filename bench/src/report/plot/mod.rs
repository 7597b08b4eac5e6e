//! Plots as shapes with their places, ready to be written as SVG. All are computed here, so that a page
//! needs no script and prints as it looks.
mod chart;
mod charts;
mod scale;
mod spans;

pub(super) use charts::{before_after, distributions, loads, timeline};
pub(super) use spans::waterfall;

use serde::Serialize;

/// A picture.
#[derive(Clone, Debug, Serialize)]
pub struct Picture {
    /// Its title.
    pub title: String,
    /// What it shows, for those who cannot see it.
    pub description: String,
    /// Width in units of the drawing.
    pub width: f64,
    /// Height in the same units.
    pub height: f64,
    /// What is in it, from back to front.
    pub shapes: Vec<Shape>,
    /// Names of its series and their classes.
    pub legend: Vec<(String, String)>,
}

/// One shape; `class` chooses its colour.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum Shape {
    /// A line with many corners.
    Path {
        /// SVG path data, made of numbers alone.
        data: String,
        /// Its class.
        class: String,
    },
    /// A filled rectangle.
    Rect {
        /// Left edge.
        x: f64,
        /// Upper edge.
        y: f64,
        /// Width.
        width: f64,
        /// Height.
        height: f64,
        /// Its class.
        class: String,
        /// What it says when it is pointed at.
        title: String,
    },
    /// A dot.
    Dot {
        /// Centre.
        x: f64,
        /// Centre.
        y: f64,
        /// Its class.
        class: String,
        /// What it says when it is pointed at.
        title: String,
    },
    /// Words.
    Words {
        /// Where they are anchored.
        x: f64,
        /// Their baseline.
        y: f64,
        /// `start`, `middle` or `end`.
        anchor: String,
        /// Their class.
        class: String,
        /// The words.
        text: String,
    },
}
