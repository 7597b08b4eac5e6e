//! `candlepower top`: all deployments as a table that follows what happens.
use super::{
    Error,
    connection::Connection,
    fleet::{HEAD, Row, plain},
    text::{Format, print_json},
};
use candlepower_api::value::Duration;
use ratatui::{
    Frame,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Color, Style, Stylize},
    text::Line,
    widgets::{Cell, Row as TableRow, Table},
};
use std::{io::IsTerminal, time};
use tokio::sync::watch;

/// How long a key may wait for its effect.
const KEY_WAIT: time::Duration = time::Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(super) struct Top {
    /// Print one table and end, as where the output is no terminal.
    #[arg(long)]
    once: bool,
    /// Time between two looks.
    #[arg(long, default_value = "2s")]
    interval: Duration,
    /// Text for people or JSON for programs; JSON is printed once.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What is shown: the last rows, and why they are not fresh.
#[derive(Clone, Debug, Default)]
struct View {
    rows: Vec<Row>,
    failure: Option<String>,
}

impl Top {
    pub(super) async fn run(&self, connection: &Connection) -> Result<(), Error> {
        let rows: Vec<_> = connection.list().await?.iter().map(Row::of).collect();
        match self.output {
            Format::Json => print_json(&rows),
            Format::Text if self.once || !std::io::stdout().is_terminal() => {
                print!("{}", plain(&rows));
                Ok(())
            }
            Format::Text => self.live(connection, rows),
        }
    }

    fn live(&self, connection: &Connection, rows: Vec<Row>) -> Result<(), Error> {
        let failure = None;
        let (sender, receiver) = watch::channel(View { rows, failure });
        let wait = self.interval.as_std().max(KEY_WAIT);
        let looking = tokio::spawn(look(connection.clone(), wait, sender));
        // Also restores the terminal where the program panics.
        let mut terminal = ratatui::try_init()?;
        let place = connection.place();
        let shown = tokio::task::block_in_place(|| -> std::io::Result<()> {
            loop {
                let view = receiver.borrow().clone();
                terminal.draw(|frame| draw(frame, &view, &place))?;
                if event::poll(KEY_WAIT)? && ends(&event::read()?) {
                    return Ok(());
                }
            }
        });
        ratatui::restore();
        looking.abort();
        Ok(shown?)
    }
}

/// Looks again and again; a cluster that does not answer leaves the last rows in place.
async fn look(connection: Connection, wait: time::Duration, sender: watch::Sender<View>) {
    loop {
        tokio::time::sleep(wait).await;
        let answer = connection.list().await;
        sender.send_modify(|view| match answer {
            Ok(all) => {
                *view = View {
                    rows: all.iter().map(Row::of).collect(),
                    failure: None,
                }
            }
            Err(error) => view.failure = Some(error.to_string()),
        });
    }
}

/// `q`, Escape and Ctrl-C.
fn ends(event: &Event) -> bool {
    let Event::Key(KeyEvent {
        code,
        modifiers,
        kind,
        ..
    }) = event
    else {
        return false;
    };
    let control_c = *code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL);
    *kind != KeyEventKind::Release
        && (control_c || matches!(code, KeyCode::Char('q') | KeyCode::Esc))
}

fn draw(frame: &mut Frame<'_>, view: &View, place: &str) {
    let areas = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
    ]);
    let [top, middle, bottom] = areas.areas(frame.area());
    let firing: usize = view.rows.iter().map(|row| row.alerts.len()).sum();
    let ready = view.rows.iter().filter(|row| row.ready).count();
    let title = format!(
        "candlepower: {ready} of {} LLMDeployments ready in {place}, alerts firing: {firing}",
        view.rows.len()
    );
    frame.render_widget(Line::from(title).bold(), top);
    frame.render_widget(body(&view.rows), middle);
    frame.render_widget(
        match &view.failure {
            Some(why) => Line::from(why.as_str()).red(),
            None => Line::from("q quits").dim(),
        },
        bottom,
    );
}

fn body(rows: &[Row]) -> Table<'static> {
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let widths = HEAD.iter().enumerate().map(|(column, head)| {
        let longest = cells.iter().map(|row| row[column].chars().count());
        let width = longest.chain([head.len()]).max().unwrap_or_default();
        Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX))
    });
    let widths: Vec<_> = widths.collect();
    let colour = |row: &Row| match (row.ready, row.alerts.is_empty()) {
        (true, true) => Style::new(),
        (true, false) => Style::new().fg(Color::Yellow),
        (false, _) => Style::new().fg(Color::Red),
    };
    let lines = rows
        .iter()
        .zip(cells)
        .map(|(row, cells)| TableRow::new(cells.map(Cell::from)).style(colour(row)));
    Table::new(lines.collect::<Vec<_>>(), widths)
        .header(TableRow::new(HEAD).style(Style::new().bold()))
        .column_spacing(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::serving;
    use ratatui::{Terminal, backend::TestBackend};

    fn shown(view: &View) -> String {
        let mut terminal = Terminal::new(TestBackend::new(150, 5)).unwrap();
        terminal
            .draw(|frame| draw(frame, view, "namespace team"))
            .unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_screen_has_a_line_for_each_deployment() {
        let rows = vec![Row::of(&serving())];
        let shown = shown(&View {
            rows,
            failure: None,
        });
        assert!(
            shown.contains("1 of 1 LLMDeployments ready in namespace team"),
            "{shown}"
        );
        assert!(shown.contains("tiny-1b  q4_1"), "{shown}");
        assert!(shown.contains("CandlepowerMemoryHigh"), "{shown}");
        assert!(shown.contains("q quits"), "{shown}");
    }

    #[test]
    fn a_cluster_that_does_not_answer_leaves_the_last_rows_and_says_so() {
        let rows = vec![Row::of(&serving())];
        let failure = Some("the cluster did not answer".to_owned());
        let shown = shown(&View { rows, failure });
        assert!(
            shown.contains("tiny-1b") && shown.contains("did not answer"),
            "{shown}"
        );
    }

    #[test]
    fn q_and_control_c_end_it_and_c_alone_does_not() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        assert!(ends(&key(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(ends(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!ends(&key(KeyCode::Char('c'), KeyModifiers::NONE)));
    }
}
