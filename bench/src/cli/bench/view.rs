//! What a run shows while it goes on: a block of lines that is drawn anew on a terminal, and a line
//! now and then elsewhere. It goes to stderr, so that stdout has the summary alone.
use crate::{
    load::{Observer, Phase, Progress},
    record::Run,
    record_files::{self, Writer},
};
use ratatui::crossterm::{
    cursor::MoveToPreviousLine,
    execute,
    terminal::{self, Clear, ClearType},
};
use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

/// Time between two lines where there is no terminal.
const QUIET: Duration = Duration::from_secs(10);

/// Shows a run and writes its files.
pub(super) struct View {
    terminal: bool,
    /// Lines of the block that is on the screen.
    drawn: u16,
    /// When the last line was printed, and in which phase.
    last: Option<(String, Phase, Duration)>,
    files: Option<Writer>,
    failure: Option<record_files::Error>,
}

impl View {
    pub(super) fn new(files: Option<Writer>) -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
            drawn: 0,
            last: None,
            files,
            failure: None,
        }
    }

    /// Removes the block from the screen.
    pub(super) fn end(&mut self) {
        let mut screen = std::io::stderr();
        if self.drawn > 0 {
            let back = MoveToPreviousLine(self.drawn);
            // A terminal that went away takes the view with it and not the run.
            let _ = execute!(screen, back, Clear(ClearType::FromCursorDown));
            self.drawn = 0;
        }
    }

    /// Tries once more to write what could not be written, and says why it cannot be.
    pub(super) fn into_files(self, run: &Run) -> Result<(), record_files::Error> {
        match self.files {
            Some(mut files) => files.write(run),
            None => Ok(()),
        }
    }

    fn draw(&mut self, lines: &[String]) {
        self.end();
        let width = terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let mut screen = std::io::stderr().lock();
        for line in lines {
            let line: String = line.chars().take(width.saturating_sub(1)).collect();
            let _ = writeln!(screen, "{line}");
        }
        self.drawn = u16::try_from(lines.len()).unwrap_or(0);
    }

    /// Whether a line is due where there is no terminal.
    fn due(&self, progress: &Progress) -> bool {
        self.last.as_ref().is_none_or(|(scenario, phase, at)| {
            *scenario != progress.scenario
                || *phase != progress.phase
                || progress.elapsed >= *at + QUIET
        })
    }
}

impl Observer for View {
    fn phase(&mut self, what: &str) {
        self.end();
        eprintln!("{what}");
    }

    fn progress(&mut self, progress: &Progress) {
        if self.terminal {
            self.draw(&block(progress));
        } else if self.due(progress) {
            eprintln!("{}", line(progress));
            let scenario = progress.scenario.clone();
            self.last = Some((scenario, progress.phase, progress.elapsed));
        }
    }

    fn scenario_ended(&mut self, run: &Run) {
        let Some(files) = &mut self.files else {
            return;
        };
        if let Err(error) = files.write(run)
            && self.failure.is_none()
        {
            self.end();
            eprintln!("{error}; the run goes on");
            self.failure = Some(error);
        }
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::WarmUp => "warm-up",
        Phase::Measuring => "measuring",
        Phase::CoolDown => "cool-down",
    }
}

fn head(progress: &Progress) -> String {
    let place = match progress.of {
        Some(of) => format!("{}/{of}", progress.place),
        None => progress.place.to_string(),
    };
    format!(
        "{place} {}  {}  {} of {} s",
        progress.scenario,
        phase(progress.phase),
        progress.elapsed.as_secs(),
        progress.duration.as_secs()
    )
}

fn rate(progress: &Progress) -> String {
    format!(
        "{:.1} tokens/s  {:.1} requests/s  {} users  {} in flight",
        progress.tokens_per_second,
        progress.requests_per_second,
        progress.users,
        progress.in_flight
    )
}

/// `P50 12 ms  P95 40 ms  P99 60 ms`
fn latency(of: Option<crate::figures::Distribution>) -> String {
    let Some(of) = of else {
        return "-".to_owned();
    };
    let parts = [("P50", of.p50), ("P95", of.p95), ("P99", of.p99)];
    let parts =
        parts.map(|(name, micros)| format!("{name} {}", super::words::milliseconds(micros as f64)));
    parts.join("  ")
}

fn ends(progress: &Progress) -> String {
    let errors: Vec<_> = progress
        .errors
        .iter()
        .map(|(class, count)| format!("{count} {class:?}"))
        .collect();
    let errors = if errors.is_empty() {
        "no errors".to_owned()
    } else {
        errors.join(", ")
    };
    format!("{} answered, {errors}", progress.succeeded)
}

fn block(progress: &Progress) -> Vec<String> {
    vec![
        head(progress),
        format!("  rate    {}", rate(progress)),
        format!("  TTFT    {}", latency(progress.ttft)),
        format!("  TPOT    {}", latency(progress.tpot)),
        format!("  ended   {}", ends(progress)),
        "  Ctrl-C ends it and keeps what there is".to_owned(),
    ]
}

fn line(progress: &Progress) -> String {
    let p95 = |of: Option<crate::figures::Distribution>| {
        of.map_or("-".to_owned(), |of| {
            super::words::milliseconds(of.p95 as f64)
        })
    };
    format!(
        "{}  {}  TTFT-P95 {}  TPOT-P95 {}  {}",
        head(progress),
        rate(progress),
        p95(progress.ttft),
        p95(progress.tpot),
        ends(progress)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{figures::Distribution, record::ErrorClass};
    use std::collections::BTreeMap;

    fn progress() -> Progress {
        Progress {
            scenario: "high".to_owned(),
            place: 3,
            of: Some(4),
            elapsed: Duration::from_secs(12),
            duration: Duration::from_secs(45),
            phase: Phase::Measuring,
            users: 50,
            in_flight: 49,
            succeeded: 120,
            errors: BTreeMap::from([(ErrorClass::Overloaded, 7)]),
            tokens_per_second: 812.34,
            requests_per_second: 6.5,
            ttft: Distribution::of([10_000, 20_000]),
            tpot: None,
        }
    }

    #[test]
    fn the_block_has_rate_latencies_and_errors() {
        let shown = block(&progress()).join("\n");
        for part in [
            "3/4 high  measuring  12 of 45 s",
            "812.3 tokens/s",
            "P50 10.0 ms",
            "TPOT    -",
            "120 answered, 7 Overloaded",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    #[test]
    fn where_there_is_no_terminal_a_line_comes_every_ten_seconds_and_with_each_phase() {
        let mut view = View {
            terminal: false,
            drawn: 0,
            last: None,
            files: None,
            failure: None,
        };
        let mut progress = progress();
        assert!(view.due(&progress));
        view.last = Some(("high".to_owned(), Phase::Measuring, progress.elapsed));
        progress.elapsed += Duration::from_secs(9);
        assert!(!view.due(&progress));
        progress.phase = Phase::CoolDown;
        assert!(view.due(&progress));
        progress.phase = Phase::Measuring;
        progress.elapsed += Duration::from_secs(1);
        assert!(view.due(&progress));
    }
}
