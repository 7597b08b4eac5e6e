//! Stop strings: found even when they are spread over several tokens, and never sent.

/// Watches the text of one answer for stop strings.
#[derive(Debug)]
pub struct StopMatcher {
    stops: Vec<String>,
    /// Text that may be the beginning of a stop string.
    held: String,
}

/// What [`StopMatcher::push`] found.
#[derive(Debug, Eq, PartialEq)]
pub struct Matched {
    /// Text that can be sent: no stop string can begin in it.
    pub text: String,
    /// Whether a stop string appeared; the answer ends before it.
    pub stopped: bool,
}

impl StopMatcher {
    /// Watches for `stops`. Empty strings are ignored.
    pub fn new(stops: Vec<String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            held: String::new(),
        }
    }

    /// Adds the next piece of the answer, which a stop string ends with it if it `may_end`. One
    /// that only begins in a piece before that still counts.
    pub fn push(&mut self, piece: &str, may_end: bool) -> Matched {
        self.held.push_str(piece);
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop));
        if let Some(start) = found.min().filter(|_| may_end) {
            self.held.truncate(start);
            return Matched {
                text: std::mem::take(&mut self.held),
                stopped: true,
            };
        }
        let keep = self
            .stops
            .iter()
            .map(|stop| overlap(&self.held, stop))
            .max()
            .unwrap_or(0);
        let held = self.held.split_off(self.held.len() - keep);
        Matched {
            text: std::mem::replace(&mut self.held, held),
            stopped: false,
        }
    }

    /// What was held back, when the answer ended without a stop string.
    pub fn finish(self) -> String {
        self.held
    }
}

/// Length of the longest proper beginning of `stop` that `text` ends with.
pub(super) fn overlap(text: &str, stop: &str) -> usize {
    stop.char_indices()
        .map(|(end, _)| end)
        .rev()
        .find(|&end| text.ends_with(&stop[..end]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut matcher = StopMatcher::new(stops.iter().map(|&stop| stop.to_owned()).collect());
        let mut sent = String::new();
        for piece in pieces {
            let found = matcher.push(piece, true);
            sent.push_str(&found.text);
            if found.stopped {
                return (sent, true);
            }
        }
        sent.push_str(&matcher.finish());
        (sent, false)
    }

    #[test]
    fn a_stop_string_over_several_pieces_is_found_and_not_sent() {
        assert_eq!(
            run(&["END"], &["text E", "N", "D more"]),
            ("text ".into(), true)
        );
    }

    #[test]
    fn the_earliest_of_several_stop_strings_wins() {
        assert_eq!(run(&["b", "a"], &["xxaxb"]), ("xx".into(), true));
    }

    #[test]
    fn a_beginning_that_does_not_go_on_is_sent_after_all() {
        assert_eq!(
            run(&["END"], &["EN", "EN", "x", "E"]),
            ("ENENxE".into(), false)
        );
    }

    #[test]
    fn text_that_cannot_begin_a_stop_string_is_sent_at_once() {
        let mut matcher = StopMatcher::new(vec!["\n\n".into()]);
        assert_eq!(
            matcher.push("line\n", true),
            Matched {
                text: "line".into(),
                stopped: false
            }
        );
        assert_eq!(
            matcher.push("é", true),
            Matched {
                text: "\né".into(),
                stopped: false
            }
        );
    }

    #[test]
    fn too_early_a_stop_string_is_text_unless_it_ends_later() {
        let mut matcher = StopMatcher::new(vec!["END".into()]);
        let passed = matcher.push("END E", false);
        assert_eq!((&*passed.text, passed.stopped), ("END ", false));
        let stopped = matcher.push("ND", true);
        assert_eq!((&*stopped.text, stopped.stopped), ("", true));
    }

    #[test]
    fn empty_stop_strings_do_not_stop_everything() {
        assert_eq!(run(&[""], &["a", "b"]), ("ab".into(), false));
    }
}
