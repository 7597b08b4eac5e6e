//! Sentences for people.

/// `1 pod`, `2 pods`.
pub(in crate::deployment) fn pods(count: usize) -> String {
    if count == 1 {
        "1 pod".to_owned()
    } else {
        format!("{count} pods")
    }
}

/// `text` without the end that nobody would read in a status.
pub(super) fn shortened(text: &str, longest: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The last line that says something.
pub(super) fn last_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_agree_with_their_nouns() {
        assert_eq!([pods(0), pods(1), pods(2)], ["0 pods", "1 pod", "2 pods"]);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened(" größer ", 3), "grö…");
        assert_eq!(shortened("short", 10), "short");
    }

    #[test]
    fn empty_lines_at_the_end_say_nothing() {
        assert_eq!(last_line("a\nb\n\n  \n"), Some("b"));
        assert_eq!(last_line("\n"), None);
    }
}
