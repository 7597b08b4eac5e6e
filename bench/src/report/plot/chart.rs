//! Axes, a grid and lines: the frame that all charts have.
use super::{Picture, Shape, scale::Scale};
use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// An axis: its name and how values on it are written.
pub(super) struct Axis {
    pub(super) name: &'static str,
    pub(super) text: fn(f64) -> String,
}

/// A chart that is being drawn.
pub(super) struct Chart {
    picture: Picture,
    x: Scale,
    y: Scale,
}

/// Kinds of scales and the values that they have to hold.
pub(super) enum Range {
    /// Even.
    Even(f64, f64),
    /// By powers of ten.
    Logarithmic(f64, f64),
}

impl Range {
    fn scale(self, places: (f64, f64)) -> Scale {
        match self {
            Self::Even(least, most) => Scale::even((least, most), places),
            Self::Logarithmic(least, most) => Scale::logarithmic((least, most), places),
        }
    }
}

/// Where values lie on both axes.
pub(super) struct Frame {
    pub(super) height: f64,
    pub(super) x: (Axis, Range),
    pub(super) y: (Axis, Range),
}

impl Chart {
    pub(super) fn new(title: &str, description: String, frame: Frame) -> Self {
        let bottom = frame.height - BOTTOM;
        let x = frame.x.1.scale((LEFT, WIDTH - RIGHT));
        let y = frame.y.1.scale((bottom, TOP));
        let mut chart = Self {
            picture: Picture {
                title: title.to_owned(),
                description,
                width: WIDTH,
                height: frame.height,
                shapes: vec![],
                legend: vec![],
            },
            x,
            y,
        };
        chart.axes(&frame.x.0, &frame.y.0, bottom);
        chart
    }

    fn axes(&mut self, x: &Axis, y: &Axis, bottom: f64) {
        for value in self.x.ticks() {
            let place = self.x.place(value);
            self.line(&[(place, TOP), (place, bottom)], "grid");
            self.words((place, bottom + 16.0), "middle", "tick", (x.text)(value));
        }
        for value in self.y.ticks() {
            let place = self.y.place(value);
            self.line(&[(LEFT, place), (WIDTH - RIGHT, place)], "grid");
            self.words((LEFT - 6.0, place + 4.0), "end", "tick", (y.text)(value));
        }
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        self.words((middle, bottom + 36.0), "middle", "axis", x.name.to_owned());
        self.words((LEFT + 4.0, TOP + 12.0), "start", "axis", y.name.to_owned());
    }

    fn words(&mut self, (x, y): (f64, f64), anchor: &str, class: &str, text: String) {
        self.picture.shapes.push(Shape::Words {
            x,
            y,
            anchor: anchor.to_owned(),
            class: class.to_owned(),
            text,
        });
    }

    fn line(&mut self, places: &[(f64, f64)], class: &str) {
        let data = path(places);
        let class = class.to_owned();
        self.picture.shapes.push(Shape::Path { data, class });
    }

    /// A line through values.
    pub(super) fn curve(&mut self, values: &[(f64, f64)], class: &str) {
        let places: Vec<_> = values.iter().map(|&value| self.place(value)).collect();
        if places.len() > 1 {
            self.line(&places, class);
        }
    }

    /// A dot, with a whisker over its interval where it has one.
    pub(super) fn dot(
        &mut self,
        (x, y): (f64, f64),
        interval: Option<(f64, f64)>,
        class: &str,
        title: String,
    ) {
        let whisker = interval.map(|(low, high)| [(x, low), (x, high)]);
        self.mark((x, y), whisker, class, title);
    }

    /// A dot with a whisker along the x axis, in the row at `y`.
    pub(super) fn across(
        &mut self,
        (x, y): (f64, f64),
        interval: Option<(f64, f64)>,
        class: &str,
        title: String,
    ) {
        let whisker = interval.map(|(low, high)| [(low, y), (high, y)]);
        self.mark((x, y), whisker, class, title);
    }

    /// A dot, and behind it a whisker from one value to another.
    fn mark(
        &mut self,
        value: (f64, f64),
        whisker: Option<[(f64, f64); 2]>,
        class: &str,
        title: String,
    ) {
        if let Some(ends) = whisker {
            self.curve(&ends, &format!("{class} whisker"));
        }
        let (x, y) = self.place(value);
        self.picture.shapes.push(Shape::Dot {
            x,
            y,
            class: class.to_owned(),
            title,
        });
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.x.place(x), self.y.place(y))
    }

    /// Words at a value.
    pub(super) fn note(&mut self, value: (f64, f64), text: &str) {
        let (x, y) = self.place(value);
        self.words((x + 3.0, y + 11.0), "start", "note", text.to_owned());
    }

    /// A band from one x to another, over the whole height.
    pub(super) fn band(&mut self, from: f64, to: f64, title: &str) {
        let (from, to) = (self.x.place(from), self.x.place(to));
        let shape = Shape::Rect {
            x: from,
            y: TOP,
            width: (to - from).max(0.0),
            height: self.picture.height - BOTTOM - TOP,
            class: "band".to_owned(),
            title: title.to_owned(),
        };
        self.picture.shapes.insert(0, shape);
    }

    pub(super) fn legend(&mut self, name: impl Into<String>, class: impl Into<String>) {
        self.picture.legend.push((name.into(), class.into()));
    }

    pub(super) fn finish(self) -> Picture {
        self.picture
    }
}

/// SVG path data.
fn path(places: &[(f64, f64)]) -> String {
    let mut data = String::new();
    for (place, (x, y)) in places.iter().enumerate() {
        let command = if place == 0 { 'M' } else { 'L' };
        let _ = write!(data, "{command}{x:.1} {y:.1}");
    }
    data
}
