//! Text for people: tables, ages, bars and colours.
use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use std::io::IsTerminal;

/// How a command prints what it found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), super::Error> {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(bool);

impl Paint {
    /// On a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    pub(super) fn for_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(!refused && std::io::stdout().is_terminal())
    }

    #[cfg(test)]
    pub(super) const fn off() -> Self {
        Self(false)
    }

    fn wrap(self, code: u8, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.wrap(1, text)
    }

    /// Green where it is good, red where it is not.
    pub(super) fn verdict(self, good: bool, text: &str) -> String {
        self.wrap(if good { 32 } else { 31 }, text)
    }
}

/// A table with two spaces between columns; the last column is not padded.
pub(super) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let widths: Vec<_> = (0..N)
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells
                .chain([head[column].chars().count()])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let body = rows
        .iter()
        .map(|row| line(row.iter().map(String::as_str).collect()));
    line(head.to_vec()) + &body.collect::<String>()
}

/// The time since `then`, as kubectl writes ages: `52s`, `7m`, `3h`, `2d`.
pub(super) fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second() - then.as_second();
    match seconds.max(0) {
        s if s < 120 => format!("{s}s"),
        s if s < 2 * 3600 => format!("{}m", s / 60),
        s if s < 48 * 3600 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// Nanoseconds as milliseconds.
pub(super) fn milliseconds(nanoseconds: u64) -> String {
    format!("{:.2} ms", nanoseconds as f64 / 1e6)
}

/// A bar from `start` to `end` within `width` characters that stand for `total`.
pub(super) fn bar(start: u64, end: u64, total: u64, width: usize) -> String {
    let place = |time: u64| {
        let share = time.min(total) as f64 / total.max(1) as f64;
        // Within 0..=width, so neither sign nor size is lost.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let cell = (share * width as f64).round() as usize;
        cell
    };
    let from = place(start).min(width.saturating_sub(1));
    let length = place(end).saturating_sub(from).max(1);
    " ".repeat(from) + &"█".repeat(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [
            ["a".to_owned(), "1".to_owned()],
            ["long".to_owned(), String::new()],
        ];
        assert_eq!(table(["X", "Y"], &rows), "X     Y\na     1\nlong\n");
    }

    #[test]
    fn ages_have_one_unit() {
        let ages = [5, 119, 120, 7200, 48 * 3600]
            .map(|s| age(Timestamp::UNIX_EPOCH, Timestamp::from_second(s).unwrap()));
        assert_eq!(ages, ["5s", "119s", "2m", "2h", "2d"]);
    }

    #[test]
    fn a_bar_lies_where_its_time_lies_and_is_never_invisible() {
        assert_eq!(bar(0, 100, 100, 4), "████");
        assert_eq!(bar(50, 100, 100, 4), "  ██");
        assert_eq!(bar(100, 100, 100, 4), "   █");
        assert_eq!(bar(0, 0, 0, 4), "█");
    }
}
