//! Markdown, as GitHub and most wikis read it.
use crate::report::document::{Block, Cell, Document, Item, Mark, Section};
use std::fmt::Write as _;

pub(super) fn write(document: &Document) -> String {
    let mut text = format!("# {}\n\n", inline(&document.title));
    for (name, value) in &document.facts {
        let _ = writeln!(text, "**{}**: {}  ", inline(name), inline(value));
    }
    for section in &document.sections {
        write_section(&mut text, section, 2);
    }
    text
}

fn write_section(text: &mut String, section: &Section, depth: usize) {
    let marks = "#".repeat(depth.min(6));
    let number = if section.number.is_empty() {
        String::new()
    } else if depth == 2 {
        format!("{}. ", section.number)
    } else {
        format!("{} ", section.number)
    };
    let _ = writeln!(text, "\n{marks} {number}{}", inline(&section.title));
    for block in &section.blocks {
        text.push('\n');
        write_block(text, block);
    }
    for below in &section.sections {
        write_section(text, below, depth + 1);
    }
}

fn write_block(text: &mut String, block: &Block) {
    let _ = match block {
        Block::Text { text: said } => writeln!(text, "{}", inline(said)),
        Block::Label { text: said } => writeln!(text, "**{}**:", inline(said)),
        Block::Callout { mark, text: said } => {
            writeln!(text, "> {}{}", sign(*mark), inline(said))
        }
        Block::List { items } => {
            for item in items {
                let _ = writeln!(text, "- {}{}", sign(item.mark), linked(item));
            }
            Ok(())
        }
        Block::Tasks { items } => {
            for said in items {
                let _ = writeln!(text, "- [ ] {}", inline(said));
            }
            Ok(())
        }
        Block::Table {
            caption,
            head,
            rows,
        } => {
            let _ = writeln!(text, "*{}*\n", inline(caption));
            write_table(text, head, rows);
            Ok(())
        }
        Block::Code {
            language,
            text: code,
        } => {
            let fence = fence(code);
            writeln!(text, "{fence}{language}\n{}\n{fence}", code.trim_end())
        }
        // Its figures stand in the tables beside it.
        Block::Picture { .. } => Ok(()),
    };
}

fn write_table(text: &mut String, head: &[String], rows: &[Vec<Cell>]) {
    let head: Vec<_> = head.iter().map(|title| inline(title)).collect();
    let _ = writeln!(text, "| {} |", head.join(" | "));
    let _ = writeln!(text, "|{}", " --- |".repeat(head.len()));
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .map(|cell| format!("{}{}", sign(cell.mark), inline(&cell.text)))
            .collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

fn linked(item: &Item) -> String {
    let said = inline(&item.text);
    match &item.href {
        Some(address) => format!("[{said}]({address})"),
        None => said,
    }
}

const fn sign(mark: Mark) -> &'static str {
    match mark {
        Mark::None => "",
        Mark::Good => "✅ ",
        Mark::Warning => "🟡 ",
        Mark::Bad => "🔴 ",
        Mark::Unknown => "⚪ ",
    }
}

/// A fence that is longer than any inside the text.
fn fence(code: &str) -> String {
    let longest = code.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

/// Text without anything that Markdown or HTML would take for its own.
fn inline(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '$' => {
                safe.push('\\');
                safe.push(c);
            }
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '\n' | '\r' => safe.push(' '),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_taken_for_markdown_or_html() {
        assert_eq!(
            inline("a|b *c* <img src=x> [d](e)\n# f"),
            "a\\|b \\*c\\* &lt;img src=x&gt; \\[d\\](e) \\# f"
        );
    }

    #[test]
    fn a_fence_is_longer_than_those_in_the_code() {
        assert_eq!(fence("a ```` b"), "`````");
        assert_eq!(fence("a"), "```");
    }
}
